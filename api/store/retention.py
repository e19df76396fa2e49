"""How long the text of sessions is kept: set by an organization, carried out by a sweep.

What is due is deleted like by DELETE: ledger, totals and a tombstone stay. A session that is used
again, up to the moment of its deletion, is due no more.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from api.events import Notice
from api.session.document import Actor
from api.store import rows
from api.store.base import Base, Caller
from db import retention, sessions
from db.pool import retry_serialization

GRACE_SECONDS = 60
"""How long text is still there after the turn where none is kept: whoever waits for the answer gets it."""

ROUND_MAX = 200
"""Sessions that a round of the sweep deletes at most."""

_ORGANIZATION_MAX = 50


class RetentionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How long an organization wants the text of its sessions kept."""

    content_days: int | None
    """Days since a session's last change; 0: none after its turn. None: until somebody deletes it."""
    set_at: datetime | None
    """None when it was never set."""
    set_by: Actor | None


class Retention(Base):
    """The part of the store that keeps text no longer than it may."""

    async def policy(self, caller: Caller) -> RetentionPolicy:
        """Read the organization's policy."""
        async with self._pool.acquire() as conn:
            found = await retention.find(conn, caller.organization_id)
        if found is None:
            return RetentionPolicy(content_days=None, set_at=None, set_by=None)
        return RetentionPolicy(
            content_days=found.content_days, set_at=found.set_at, set_by=rows.actor(found.set_by)
        )

    async def set_policy(self, caller: Caller, *, content_days: int | None) -> RetentionPolicy:
        """Set the organization's policy; what is due by it goes with the next rounds of the sweep."""
        now = self._clock()
        async with self._pool.acquire() as conn:
            await retention.put(
                conn,
                caller.organization_id,
                content_days=content_days,
                at=now,
                by=msgspec.json.encode(caller.actor),
            )
        return RetentionPolicy(content_days=content_days, set_at=now, set_by=caller.actor)

    async def due(self) -> list[retention.DueRow]:
        """Find sessions whose time is over, at most as many as a round deletes."""
        async with self._pool.acquire() as conn:
            return await retention.due(
                conn,
                now=self._clock(),
                grace_seconds=GRACE_SECONDS,
                organization_limit=_ORGANIZATION_MAX,
                limit=ROUND_MAX,
            )

    async def erase_due(self, due: retention.DueRow) -> bool:
        """Delete one of them; False when it was used, or deleted, in between."""

        async def attempt() -> UUID | None:
            async with self._pool.acquire() as conn, conn.transaction():
                scope = (conn, due.organization_id, due.session_id)
                revision = await retention.hold_due(*scope, cutoff=due.cutoff)
                if revision is None:
                    return None
                await sessions.erase(*scope, revision=revision, at=self._clock())
                return due.session_id

        erased = await retry_serialization(attempt)
        if erased is not None:
            self._hub.tell(Notice(session_id=erased, is_claimable=False))
        return erased is not None

    async def forget_captured(self) -> int:
        """Delete captured calls of no session whose time is over, a few of each organization."""
        async with self._pool.acquire() as conn:
            return await retention.forget_captured(
                conn,
                now=self._clock(),
                grace_seconds=GRACE_SECONDS,
                organization_limit=_ORGANIZATION_MAX,
            )
