"""A worker: runners without HTTP, beside any number of services and other workers."""

import asyncio
from collections.abc import Callable, Mapping

from loguru import logger as log

from api.app.process import assembled
from api.app.server import on_signals
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
                await stopping.wait()
        except asyncio.CancelledError:
            if not stopping.is_set():
                raise
    log.info("worker stopped")
