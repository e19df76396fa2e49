"""Writes what was seen of API keys: when they were last used, and which streams they still hold.

Now and then for all of them at once, never within a call.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from loguru import logger as log

from api.routes.auth import KeyCache
from api.routes.state import RoutesState
from api.stopping import stopped
from api.store import Store

_INTERVAL_SECONDS = 30
_LAST_SECONDS_MAX = 5


@contextlib.asynccontextmanager
async def keeping_keys(state: RoutesState, store: Store) -> AsyncIterator[None]:
    """Write what `state` has seen for the length of the block, and once more at its end."""
    work = [_record_forever(state.keys, store), state.rates.prolong_forever()]
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        await stopped(*tasks)
        try:
            async with asyncio.timeout(_LAST_SECONDS_MAX):
                await state.rates.settled()
                await record_uses(state.keys, store)
        except Exception:
            # The service stops whether the database answers or not.
            log.exception("what was seen of keys last was not written")


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
