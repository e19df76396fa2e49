"""Forgets what nobody asks for any more: old idempotency keys and old deltas."""

import asyncio
from datetime import datetime, timedelta

from loguru import logger as log

from api.settings import Settings
from api.store.base import utc_now
from db import deltas, keys
from db.pool import Pool

DELTA_HOURS = 1
"""Time that streamed text is kept beside the turn that holds it, for listeners who resume."""

_INTERVAL_SECONDS = 3600


async def sweep_forever(pool: Pool, settings: Settings) -> None:
    """Sweep now and then every hour, until cancelled. A sweep that fails is logged and made up for later."""
    while True:
        try:
            await sweep(pool, now=utc_now(), idempotency_hours=settings.idempotency_hours)
        except Exception:
            # The edge of the loop: whatever was wrong with the database may be right in an hour.
            log.exception("sweep failed")
        await asyncio.sleep(_INTERVAL_SECONDS)


async def sweep(pool: Pool, *, now: datetime, idempotency_hours: int) -> None:
    """Forget idempotency keys and deltas that are older than their time."""
    async with pool.acquire() as conn:
        key_count = await keys.sweep(conn, before=now - timedelta(hours=idempotency_hours))
        delta_count = await deltas.sweep(conn, before=now - timedelta(hours=DELTA_HOURS))
    if key_count or delta_count:
        log.info("old rows forgotten", idempotency_keys=key_count, deltas=delta_count)
