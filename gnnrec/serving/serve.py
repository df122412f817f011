"""``gnnrec serve``: answers over HTTP from an export."""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import logging
import socket
import time
from functools import partial
from pathlib import Path

from gnnrec.errors import UserError
from gnnrec.serving.tokens import read_token
from gnnrec.utils.bounds import bounded, check_bounds
from gnnrec.utils.log import print_line


@dataclasses.dataclass
class ServeOptions:
    """Options of ``gnnrec serve``.

    Args:
        host: Address to listen at; 0.0.0.0 for all of this machine.
        port: Port to listen at; 0 for any that is free.
        workers: Processes that answer, one for each core.
        cache_dir: Directory of the arrays that the export is converted to; by default beside the export.
        convert_only: Convert the export and end, so that the service starts at once later.
        data: Prepared dataset, if it has moved since the export; by default the one that is recorded.
        token_file: File with a token that requests carry as Authorization: Bearer; by default the environment variable
            GNNREC_TOKEN, or none.
        max_body: Bytes of a request's body.
        max_batch: Users of a request.
        max_requests: Requests that a worker answers at a time.
        timeout: Seconds in which a request has to arrive, and in which its answer has to be read. A list of users that
            takes longer is not answered.
    """

    host: str = "127.0.0.1"
    port: int = bounded(8000, least=0, most=65535)
    workers: int = bounded(1, least=1, most=256)
    cache_dir: Path | None = None
    convert_only: bool = False
    data: Path | None = None
    token_file: Path | None = None
    max_body: int = bounded(1_000_000, least=1)
    max_batch: int = bounded(100, least=1)
    max_requests: int = bounded(1000, least=1)
    timeout: float = bounded(10.0, above=0)

    def token(self) -> str | None:
        """Returns the token; None for none.

        Raises:
            UserError: The file or the variable has none, or the file cannot be read.
        """
        return read_token(self.token_file)


def serve(path: Path, options: ServeOptions) -> None:
    """Serves an export until SIGTERM or SIGINT.

    Args:
        path: An export, a link to one, or a directory of ``gnnrec update``.
        options: The options.

    Raises:
        UserError: Bad options, no complete export, or an address that cannot be listened at.
    """
    started = time.perf_counter()
    check_bounds(options)
    import_packages()
    from gnnrec.serving.accepting import ConnectionCounts
    from gnnrec.serving.live import WatchedPointer, find_export
    from gnnrec.serving.snapshot import Snapshot
    from gnnrec.serving.supervisor import Supervisor

    def work(listening: socket.socket, watched: WatchedPointer, place: int) -> None:
        import uvicorn

        from gnnrec.serving.accepting import SharingServer
        from gnnrec.serving.app import Limits, ServingApp
        from gnnrec.serving.http_protocol import uvicorn_options
        from gnnrec.serving.live import Live

        logging.getLogger("uvicorn").setLevel(logging.ERROR)
        limits = Limits(options.max_body, options.max_batch, options.timeout, options.max_requests)
        app = ServingApp(Live(watched), limits, token)
        gc.collect()
        gc.freeze()  # what stays is not looked through again and again
        counts.set(place, 0)
        config = uvicorn.Config(app, **uvicorn_options(options.timeout, partial(counts.set, place)))
        SharingServer(config, listening, partial(counts.is_least, place)).run()

    token = options.token()
    counts = ConnectionCounts(options.workers)
    supervisor = Supervisor(path, options.cache_dir, options.data, options.workers, work, counts.remove)
    if options.convert_only:
        before = time.perf_counter()
        arrays = supervisor.prepare()
        print_line(f"{arrays}: the arrays of {find_export(path)}, {time.perf_counter() - before:.1f} s")
        return
    with _listen(options) as listening:
        before = time.perf_counter()
        arrays = supervisor.prepare(listening)
        seconds = time.perf_counter() - before
        snapshot = Snapshot(arrays)
        host, port = listening.getsockname()[:2]
        size = f"{len(snapshot.movies):,} movies, {len(snapshot.users):,} users, {snapshot.mapped_bytes / 1e6:,.0f} MB"
        print_line(
            f"serving {find_export(path)} ({size}) at http://{f'[{host}]' if ':' in host else host}:{port} with "
            f"{options.workers} workers; arrays {seconds:.2f} s, start {time.perf_counter() - started:.2f} s"
        )
        del snapshot
        supervisor.run(listening)


def import_packages() -> None:
    """Imports what every worker needs before it is forked, and limits the threads of NumPy to one for each.

    Raises:
        UserError: The packages of the extra ``serve`` are missing.
    """
    for name in ("httptools", "orjson", "starlette", "uvicorn", "prometheus_client"):
        if importlib.util.find_spec(name) is None:
            raise UserError(f"gnnrec serve needs the package {name}: pip install 'gnnrec[serve]'")
    import starlette.responses  # noqa: F401
    import uvicorn  # noqa: F401
    from threadpoolctl import threadpool_limits

    import gnnrec.serving.app
    import gnnrec.serving.http_protocol  # noqa: F401

    threadpool_limits(1)


def _listen(options: ServeOptions) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"--host {options.host} --port {options.port}: cannot listen there ({reason})") from None
    listening.listen(2048)
    listening.setblocking(False)
    return listening
