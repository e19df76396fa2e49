"""How long the text of sessions is kept, by organization, and which of them are due."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class PolicyRow(NamedTuple):
    """What an organization has set."""

    content_days: int | None
    set_at: datetime
    set_by: bytes


_FIND = """
SELECT content_days, set_at, set_by FROM retention_policies WHERE organization_id = $1
"""


async def find(conn: Connection, organization_id: UUID) -> PolicyRow | None:
    """Read an organization's policy; None when it never set one."""
    row = await conn.fetchrow(_FIND, organization_id)
    return None if row is None else PolicyRow(*row.values())


_PUT = """
INSERT INTO retention_policies (organization_id, content_days, set_at, set_by)
VALUES ($1, $2, $3, $4)
ON CONFLICT (organization_id) DO UPDATE
   SET content_days = EXCLUDED.content_days, set_at = EXCLUDED.set_at, set_by = EXCLUDED.set_by
"""


async def put(
    conn: Connection, organization_id: UUID, *, content_days: int | None, at: datetime, by: bytes
) -> None:
    """Write an organization's policy over the one it had."""
    await conn.execute(_PUT, organization_id, content_days, at, by)


class DueRow(NamedTuple):
    """A session whose time is over."""

    organization_id: UUID
    session_id: UUID
    cutoff: datetime
    """What has changed since is not due."""


# Each organization offers a few, so that a large one does not keep the others waiting. A session that has
# unfinished turns is still used.
_DUE = """
SELECT p.organization_id, s.id, p.cutoff
  FROM (SELECT organization_id,
               $1::timestamptz - CASE WHEN content_days = 0 THEN $2 * interval '1 second'
                                      ELSE content_days * interval '1 day' END AS cutoff
          FROM retention_policies
         WHERE content_days IS NOT NULL) p
 CROSS JOIN LATERAL (
       SELECT id
         FROM sessions
        WHERE organization_id = p.organization_id AND deleted_at IS NULL
          AND active_hour <= p.cutoff AND updated_at < p.cutoff AND unfinished_count = 0
        ORDER BY active_hour
        LIMIT $3) s
 LIMIT $4
"""


async def due(
    conn: Connection, *, now: datetime, grace_seconds: int, organization_limit: int, limit: int
) -> list[DueRow]:
    """Find sessions of any organization whose text is to go, oldest first within an organization."""
    rows = await conn.fetch(_DUE, now, grace_seconds, organization_limit, limit)
    return [DueRow(*row.values()) for row in rows]


_IS_DUE = """
SELECT revision FROM sessions
 WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL AND updated_at < $3 AND unfinished_count = 0
   FOR UPDATE
"""


async def hold_due(
    conn: Connection, organization_id: UUID, session_id: UUID, *, cutoff: datetime
) -> int | None:
    """Hold a session until the transaction ends; answers its revision, None when it is due no more."""
    revision: int | None = await conn.fetchval(_IS_DUE, organization_id, session_id, cutoff)
    return revision


_FORGET_CAPTURED = """
DELETE FROM interactions i
 USING (SELECT c.organization_id, c.id
          FROM retention_policies p
         CROSS JOIN LATERAL (
               SELECT organization_id, id
                 FROM interactions
                WHERE organization_id = p.organization_id AND is_captured AND session_id IS NULL
                  AND at < $1::timestamptz - CASE WHEN p.content_days = 0 THEN $2 * interval '1 second'
                                                  ELSE p.content_days * interval '1 day' END
                LIMIT $3) c
         WHERE p.content_days IS NOT NULL) d
 WHERE i.organization_id = d.organization_id AND i.id = d.id
"""


async def forget_captured(
    conn: Connection, *, now: datetime, grace_seconds: int, organization_limit: int
) -> int:
    """Delete captured calls that belong to no session and are kept no longer; answers how many."""
    done = await conn.execute(_FORGET_CAPTURED, now, grace_seconds, organization_limit)
    return int(done.rpartition(" ")[2])
