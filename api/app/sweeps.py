"""What passes with time: old keys and deltas are forgotten, approvals that nobody decides are denied, text
that an organization does not want kept is deleted.
"""

import asyncio
from datetime import datetime, timedelta

from loguru import logger as log

from api.app.partitions import DELTA_HOURS
from api.settings import Settings
from api.store import Store
from api.store.base import utc_now
from db import deltas, keys
from db.pool import Pool

_INTERVAL_SECONDS = 3600

EXPIRY_SECONDS = 5
"""How long an approval that has expired may stay open."""

RETENTION_SECONDS = 60
"""How often sessions are looked for whose text is to go."""

_EXPIRED_MAX = 200
"""How many are denied between two looks."""


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
    """Forget idempotency keys, and deltas outside of partitions, that are older than their time."""
    async with pool.acquire() as conn:
        key_count = await keys.sweep(conn, before=now - timedelta(hours=idempotency_hours))
        delta_count = await deltas.sweep(conn, before=now - timedelta(hours=DELTA_HOURS))
    if key_count or delta_count:
        log.info("old rows forgotten", idempotency_keys=key_count, deltas=delta_count)


async def deny_expired_forever(store: Store) -> None:
    """Deny approvals that nobody decided in time, now and then every few seconds, until cancelled."""
    while True:
        try:
            await deny_expired(store)
        except Exception:
            # The edge of the loop: the database may answer the next time.
            log.exception("expired approvals were not looked for")
        await asyncio.sleep(EXPIRY_SECONDS)


async def deny_expired(store: Store) -> int:
    """Deny what nobody decided in time, the longest overdue first; answers how many."""
    count = 0
    for organization_id, approval_id in await store.approvals.expired(limit=_EXPIRED_MAX):
        try:
            count += await store.approvals.expire(organization_id, approval_id)
        except Exception:
            # One session that is locked or broken must not keep the others waiting.
            log.exception("an expired approval was not denied", approval_id=approval_id)
    if count:
        log.info("expired approvals denied", approvals=count)
    return count


async def erase_due_forever(store: Store) -> None:
    """Delete what is kept no longer, now and then every minute, until cancelled."""
    while True:
        try:
            # After a long downtime there may be many rounds; each is short, and they follow on one another.
            while await erase_due(store):
                pass
        except Exception:
            # The edge of the loop: the database may answer the next time.
            log.exception("sessions kept too long were not looked for")
        await asyncio.sleep(RETENTION_SECONDS)


async def erase_due(store: Store) -> int:
    """Delete a round of what is due; answers how many sessions and captured calls were deleted."""
    count = await store.retention.forget_captured()
    for due in await store.retention.due():
        try:
            count += await store.retention.erase_due(due)
        except Exception:
            # One session that is locked or broken must not keep the others.
            log.exception("a session was kept too long", session_id=str(due.session_id))
    if count:
        log.info("text deleted that is kept no longer", items=count)
    return count
