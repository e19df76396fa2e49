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
    """Read the events behind a revision, in order."""
    rows = await conn.fetch(_AFTER, organization_id, session_id, revision, limit)
    return [EventRow(*row.values()) for row in rows]


_LINE_FROM = """
SELECT min(line_from) FROM events WHERE organization_id = $1 AND session_id = $2 AND revision > $3
"""


async def line_from(
    conn: Connection, organization_id: UUID, session_id: UUID, *, revision: int
) -> int | None:
    """The lowest position whose occupant or content changed behind a revision; None when none did."""
    value: int | None = await conn.fetchval(_LINE_FROM, organization_id, session_id, revision)
    return value
