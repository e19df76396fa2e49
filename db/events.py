"""Durable events, exactly one per revision of a session."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class EventRow(NamedTuple):
    """What one revision did."""

    revision: int
    type: str
    at: datetime
    actor: bytes
    effects: bytes
    line_from: int | None


_AFTER = """
SELECT revision, type, at, actor, effects, line_from
  FROM events
 WHERE organization_id = $1 AND session_id = $2 AND revision > $3
 ORDER BY revision
 LIMIT $4
"""


async def after(
    conn: Connection, organization_id: UUID, session_id: UUID, *, revision: int, limit: int
) -> list[EventRow]:
    """Read the events behind a revision, in order. The first of them may be kept no longer."""
    rows = await conn.fetch(_AFTER, organization_id, session_id, revision, limit)
    return [EventRow(*row.values()) for row in rows]


# Where an event is kept no longer, nobody knows what it changed: it may have been everything.
_LINE_FROM = """
SELECT CASE WHEN count(*) < $4::int - $3::int THEN 0 ELSE min(line_from) END
  FROM events
 WHERE organization_id = $1 AND session_id = $2 AND revision > $3::int AND revision <= $4::int
"""


async def line_from(
    conn: Connection, organization_id: UUID, session_id: UUID, *, revision: int, until: int
) -> int | None:
    """The lowest position whose occupant or content changed behind a revision, up to that of the session now
    (`until`); None when none did, 0 when the events that would tell are kept no longer.
    """
    value: int | None = await conn.fetchval(_LINE_FROM, organization_id, session_id, revision, until)
    return value
