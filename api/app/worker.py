"""A worker: runners without HTTP, beside any number of services and other workers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

from loguru import logger as log

from api.app.asgi import build_measures_app
from api.app.host_guard import guard_host
from api.app.observing import observe
from api.app.process import Parts, assembled
from api.app.server import address_of, bind, listen, make_server, on_signals
from api.settings import Settings


async def work(settings: Settings, *, environ: Mapping[str, str], announce: Callable[[], None]) -> None:
    """Run turns until SIGTERM or SIGINT; then let those that run finish, and hand back what does not.

    Raises:
        EmbeddedPostgresError, MigrationError, OSError, asyncpg.PostgresError: there is no database to be had.
    """
    stopping = asyncio.Event()
    this_task = asyncio.current_task()
    assert this_task is not None
    is_running = False

    def stop() -> None:
        """End the wait; before there is one, give the start up."""
        if not (is_running or stopping.is_set()):
            this_task.cancel()
        stopping.set()

    with on_signals(stop):
        try:
            async with (
                assembled(settings, environ, application_name="turnledger worker") as parts,
                parts.runner,
            ):
                is_running = True
                log.info("worker started", runners=settings.runners)
                announce()
                async with _telling_figures(settings, parts):
                    await stopping.wait()
        except asyncio.CancelledError:
            if not stopping.is_set():
                raise
    log.info("worker stopped")


@contextlib.asynccontextmanager
async def _telling_figures(settings: Settings, parts: Parts) -> AsyncIterator[None]:
    """Answer `/metrics` for the length of the block, where a port is set for it.

    Raises:
        AddressUnavailable: it cannot listen there.
    """
    if settings.metrics_port == 0:
        yield
        return
    app = observe(guard_host(build_measures_app(settings, pool=parts.pool), bound_to=settings.host))
    with contextlib.closing(bind(settings.host, settings.metrics_port)) as bound:
        listen(bound)
        server = make_server(app, grace_seconds=1, on_stop=lambda: None)
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        log.info("worker tells its figures", address=address_of(bound))
        try:
            yield
        finally:
            server.stop()
            await serving
