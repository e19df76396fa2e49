"""Sockets, signals and uvicorn: how the service listens, and how it stops when it is told to."""

import asyncio
import contextlib
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from litestar.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.routes.streams import ABORT

_BACKLOG = 2048
_FILES_MAX = 65_536
# Longer than clients (5 s, 15 s) and load balancers (60 s) keep a connection that does nothing: they close it
# and no request meets one that the service is just closing.
_KEEP_ALIVE_SECONDS = 75
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class AddressUnavailable(Exception):
    """The service cannot listen where it should."""

    def __init__(self, *, host: str, port: int, reason: str) -> None:
        self.host = host
        self.port = port
        self.reason = reason
        super().__init__(f"Cannot listen on {host} port {port}: {reason}.")


def bind(host: str, port: int) -> socket.socket:
    """Take the address without listening yet: a port that is taken is told before anything is started.

    Raises:
        AddressUnavailable: the address is taken, or is none of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise AddressUnavailable(host=host, port=port, reason=_reason(error)) from error
    bound.setblocking(False)
    return bound


def listen(bound: socket.socket) -> None:
    """Begin to listen on a socket that `bind` made.

    Raises:
        AddressUnavailable: another process, which took the address at the same moment, was faster.
    """
    try:
        bound.listen(_BACKLOG)
    except OSError as error:
        host, port = bound.getsockname()[:2]
        raise AddressUnavailable(host=host, port=port, reason=_reason(error)) from error


def address_of(bound: socket.socket) -> str:
    """Give the URL under which this machine reaches the socket."""
    host, port = bound.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared with, not bound to
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Protocol(HttpToolsProtocol):
    """HTTP of which a response can drop the connection, as it must with a reader that takes nothing."""

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"abort": self.transport.abort}}


class Server(uvicorn.Server):
    """uvicorn that leaves signals to its caller: its own way raises them again when it is done, and the
    process would end before the database has been let go.
    """

    def __init__(self, config: uvicorn.Config, *, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self.is_listening = asyncio.Event()
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so."""
        await super().startup(sockets)
        self.is_listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none; see the class."""
        yield

    def stop(self) -> None:
        """Take no more requests and finish those that are open; asked again, drop them."""
        self._on_stop()
        self.handle_exit(signal.SIGINT, None)


def make_server(app: ASGIApp, *, grace_seconds: float, on_stop: Callable[[], None]) -> Server:
    """Configure uvicorn: its logging stays ours, and open requests get `grace_seconds` when it stops.

    `on_stop` is called first and has whoever waits, or streams, come to an end.
    """
    return Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            http=Protocol,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(grace_seconds)),
        ),
        on_stop=on_stop,
    )


def allow_many_files() -> None:
    """Let this process open as many files as it may: each reader of a stream is one, and many systems begin
    with a limit of 1,024.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, _FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def on_signals(handle: Callable[[], None]) -> Iterator[None]:
    """Call `handle` on SIGINT and SIGTERM, within the running loop, for the length of the block."""
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def run_on_fast_loop(main: Any) -> None:
    """Run a coroutine on uvloop."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
