"""Engines that run tasks: threads of this process, or the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any, Protocol

import torch

from gnnrec.data.out_of_core.size import memory_limit, num_workers
from gnnrec.data.prepare_options import PrepareOptions
from gnnrec.errors import UserError
from gnnrec.utils.resource_errors import reserve_for_threads


class Engine(Protocol):
    """Maps a function over items in parallel."""

    def map_unordered(self, function: Callable[..., Any], *shared: Any, items: Iterable) -> Iterator:
        """Yields ``function(*shared, item)`` for every item in order of completion."""
        ...


class Threads:
    """Threads of this process: reading, sorting and writing release the GIL.

    Args:
        number: Number of threads.
    """

    def __init__(self, number: int):
        self.number = number

    def map_unordered(self, function: Callable[..., Any], *shared: Any, items: Iterable) -> Iterator:
        """Yields ``function(*shared, item)`` in order of completion. After an exception no new item is started."""
        pending = iter(items)
        reserve_for_threads()
        with ThreadPoolExecutor(self.number) as pool:
            running = {pool.submit(function, *shared, item) for item in itertools.islice(pending, self.number)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
                    running |= {pool.submit(function, *shared, item) for item in itertools.islice(pending, 1)}


class Dask:
    """Workers of a Dask cluster.

    Args:
        client: The cluster's ``distributed.Client``.
    """

    def __init__(self, client: Any):
        self.client = client

    def map_unordered(self, function: Callable[..., Any], *shared: Any, items: Iterable) -> Iterator:
        """Yields ``function(*shared, item)`` in order of completion; Dask reruns tasks of lost workers."""
        from distributed import as_completed

        scattered = self.client.scatter(list(shared), broadcast=True, hash=False)
        futures = self.client.map(_call, list(items), function=function, shared=scattered, pure=False)
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            self.client.cancel(futures)


def _call(item: Any, function: Callable[..., Any], shared: list) -> Any:
    torch.set_num_threads(1)
    return function(*shared, item)


@contextlib.contextmanager
def open_engine(options: PrepareOptions) -> Iterator[Engine]:
    """Opens the engine that the options select.

    Raises:
        UserError: Dask is not installed, or its scheduler does not answer.
    """
    if options.engine != "dask":
        yield Threads(num_workers(options))
        return
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise UserError("--engine dask needs Dask: pip install gnnrec[dask]") from None
    with contextlib.ExitStack() as stack:
        if options.scheduler:
            try:
                client = stack.enter_context(Client(options.scheduler, timeout=30))
            except (OSError, ValueError) as error:
                reason = str(error).splitlines()[0]
                raise UserError(
                    f"--scheduler {options.scheduler} does not answer ({reason}): check the address"
                ) from None
        else:
            limit = f"{memory_limit(options)}GB"
            cluster = LocalCluster(
                num_workers(options), threads_per_worker=1, memory_limit=limit, dashboard_address=None
            )
            client = stack.enter_context(Client(stack.enter_context(cluster)))
        yield Dask(client)
