"""Writes when API keys were last used: now and then for all of them at once, never within a call."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from loguru import logger as log

from api.routes.auth import KeyCache
from api.store import Store

_INTERVAL_SECONDS = 30
_LAST_SECONDS_MAX = 5


@contextlib.asynccontextmanager
async def recording_uses(keys: KeyCache, store: Store) -> AsyncIterator[None]:
    """Write what `keys` has seen for the length of the block, and once more at its end."""
    task = asyncio.create_task(_record_forever(keys, store))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        try:
            async with asyncio.timeout(_LAST_SECONDS_MAX):
                await record_uses(keys, store)
        except Exception:
            # The service stops whether the database answers or not.
            log.exception("last uses of keys were not written")


async def record_uses(keys: KeyCache, store: Store) -> None:
    """Write what was seen since the last time; what could not be written is kept for the next."""
    used = keys.take_uses()
    try:
        await store.access.record_uses(used)
    except BaseException:
        keys.give_back_uses(used)
        raise


async def _record_forever(keys: KeyCache, store: Store) -> None:
    while True:
        await asyncio.sleep(_INTERVAL_SECONDS)
        try:
            await record_uses(keys, store)
        except Exception:
            # The edge of the loop: the database may answer the next time.
            log.exception("uses of keys were not written")
