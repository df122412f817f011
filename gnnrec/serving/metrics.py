"""Metrics for Prometheus, added up over the workers where ``PROMETHEUS_MULTIPROC_DIR`` is set."""

from __future__ import annotations

import os
from functools import lru_cache

#: Bounds of the buckets of times in seconds.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class RequestMetrics:
    """Counts and times of requests.

    Its package is imported here: it reads the environment then.
    """

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()
        self._requests = Counter(
            "gnnrec_requests", "Requests by route and HTTP status.", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "gnnrec_request_seconds", "Seconds to answer.", ("route",), registry=self._registry, buckets=_BUCKETS
        )
        self._exports = Gauge(
            "gnnrec_exports", "Exports that were swapped in, or refused as damaged, by the worker with most of them.",
            ("result",), registry=self._registry, multiprocess_mode="max",
        )  # fmt: skip
        self._rows = Gauge(
            "gnnrec_rows", "Users and movies that are served.", ("kind",), registry=self._registry,
            multiprocess_mode="mostrecent",
        )  # fmt: skip

        self._children = lru_cache(maxsize=1000)(
            lambda route, status: (self._requests.labels(route, str(status)), self._seconds.labels(route))
        )

    def add(self, route: str, status: int, seconds: float) -> None:
        """Adds a request."""
        counted, timed = self._children(route, status)
        counted.inc()
        timed.observe(seconds)

    def text(self, users: int, movies: int, swapped: int, refused: int) -> bytes:
        """Returns all metrics in the text format of Prometheus."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        for kind, rows in (("users", users), ("movies", movies)):
            self._rows.labels(kind).set(rows)
        for result, exports in (("swapped", swapped), ("refused", refused)):
            self._exports.labels(result).set(exports)
        registry = self._registry
        if place := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=place)
        return generate_latest(registry)
