"""Ends sessions in which nothing has happened for as long as their agent's `limits.idle_seconds` say."""

import asyncio
from datetime import datetime

from loguru import logger as log

from api.session import ids
from api.session.document import Actor
from api.session.errors import CommandRefused
from api.settings import Settings
from api.store import Caller, Delta, NotFound, RequestInFlight, RevisionConflict, Store, StoredAnswer
from api.store.base import utc_now
from db import idle
from db.pool import Pool

RESOLUTION = "inactive"

_BATCH = 200


async def end_idle_forever(pool: Pool, store: Store, settings: Settings) -> None:
    """Look for idle sessions again and again, until cancelled; a look that fails is made up for later."""
    while True:
        try:
            await end_idle(pool, store, now=utc_now())
        except Exception:
            # The edge of the loop: whatever was wrong with the database may be right in a minute.
            log.exception("idle sessions not ended")
        await asyncio.sleep(settings.idle_sweep_seconds)


async def end_idle(pool: Pool, store: Store, *, now: datetime) -> int:
    """End every session that is idle now; answers how many.

    However many there are, after a long downtime say, they are ended in batches, the longest idle ones first.
    Each is ended at the revision at which it was found idle, so one that has become active since stays.
    """
    count = 0
    while True:
        async with pool.acquire() as conn:
            found = await idle.idle(conn, at=now, limit=_BATCH)
        ended = 0
        for row in found:
            ended += await _end(store, row)
        count += ended
        # A batch of which none could be ended would be found again and again.
        if len(found) < _BATCH or not ended:
            break
    if count:
        log.info("idle sessions ended", count=count)
    return count


async def _end(store: Store, row: idle.IdleRow) -> bool:
    caller = Caller(organization_id=row.organization_id, actor=Actor(process="system"))
    try:
        await store.sessions.end(
            caller,
            ids.to_wire(ids.Kind.SESSION, row.session_id),
            resolution=RESOLUTION,
            expected=row.revision,
            idempotency=None,
            render=_nothing,
        )
    except (RevisionConflict, CommandRefused, NotFound, RequestInFlight):
        # It became active, or somebody else has ended or deleted it.
        return False
    return True


def _nothing(_: Delta) -> StoredAnswer:
    """Stands for the answer to a repetition, of which there is none without a key."""
    return StoredAnswer(status=200, headers={}, body=b"")
