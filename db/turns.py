"""Turns on the line and in discarded futures: rows keyed by branch and position, never re-keyed.

A line is given by its last branch and its number of turns. The statements walk from that branch to its
ancestors, no further down than the lowest position asked for.
"""

from typing import NamedTuple
from uuid import UUID

from db.pool import Connection

# OFFSET 0 keeps the planner from joining by hash, for which it would read every turn of the session.
_LINE = """
WITH RECURSIVE stretch AS (
    SELECT b.number, b.parent, b.branch_point, $4::int AS until
      FROM branches b
     WHERE b.organization_id = $1 AND b.session_id = $2 AND b.number = $3
 UNION ALL
    SELECT b.number, b.parent, b.branch_point, s.branch_point
      FROM stretch s
      JOIN branches b ON b.organization_id = $1 AND b.session_id = $2 AND b.number = s.parent
     WHERE s.branch_point > $5
)
SELECT t.body
  FROM stretch s
 CROSS JOIN LATERAL (
    SELECT position, body
      FROM turns
     WHERE organization_id = $1 AND session_id = $2 AND branch = s.number
       AND position >= GREATEST(s.branch_point, $5) AND position < LEAST(s.until, $6::int)
    OFFSET 0
 ) t
 ORDER BY t.position
"""


async def on_line(
    conn: Connection,
    organization_id: UUID,
    session_id: UUID,
    *,
    branch: int,
    line_count: int,
    first: int,
    end: int,
) -> list[bytes]:
    """Read the bodies of the turns at positions `first .. end - 1` of the line, by position."""
    rows = await conn.fetch(_LINE, organization_id, session_id, branch, line_count, first, end)
    return [row[0] for row in rows]


class StretchRow(NamedTuple):
    """The part of a line that lies on one branch: positions `first .. end - 1`."""

    branch: int
    first: int
    end: int


_STRETCHES = """
WITH RECURSIVE stretch AS (
    SELECT b.number, b.parent, b.branch_point, $4::int AS until
      FROM branches b
     WHERE b.organization_id = $1 AND b.session_id = $2 AND b.number = $3
 UNION ALL
    SELECT b.number, b.parent, b.branch_point, s.branch_point
      FROM stretch s
      JOIN branches b ON b.organization_id = $1 AND b.session_id = $2 AND b.number = s.parent
     WHERE s.branch_point > $5
)
SELECT number, branch_point, until FROM stretch ORDER BY branch_point
"""


async def stretches(
    conn: Connection, organization_id: UUID, session_id: UUID, *, branch: int, line_count: int, down_to: int
) -> list[StretchRow]:
    """Read the stretches of a line from the one that holds position `down_to` up to its end, lowest first."""
    rows = await conn.fetch(_STRETCHES, organization_id, session_id, branch, line_count, down_to)
    return [StretchRow(*row.values()) for row in rows]


# Each branch of the line offers its newest turn, by the index of those that store a node.
_STANDING = """
WITH RECURSIVE stretch AS (
    SELECT b.number, b.parent, b.branch_point, $5::int AS until
      FROM branches b
     WHERE b.organization_id = $1 AND b.session_id = $2 AND b.number = $3
 UNION ALL
    SELECT b.number, b.parent, b.branch_point, s.branch_point
      FROM stretch s
      JOIN branches b ON b.organization_id = $1 AND b.session_id = $2 AND b.number = s.parent
)
SELECT t.body
  FROM stretch s
 CROSS JOIN LATERAL (
    SELECT position, body
      FROM turns
     WHERE organization_id = $1 AND session_id = $2 AND branch = s.number AND stores_node
       AND position >= s.branch_point AND position < LEAST(s.until, $4::int)
     ORDER BY position DESC
     LIMIT 1
 ) t
 ORDER BY t.position DESC
 LIMIT 1
"""


async def standing(
    conn: Connection, organization_id: UUID, session_id: UUID, *, branch: int, line_count: int, end: int
) -> bytes | None:
    """Read the newest turn before position `end` of the line that stores a node; None when none does."""
    body: bytes | None = await conn.fetchval(_STANDING, organization_id, session_id, branch, end, line_count)
    return body


_BY_ID = """
SELECT body FROM turns WHERE organization_id = $1 AND id = $3 AND session_id = $2
"""


async def by_id(conn: Connection, organization_id: UUID, session_id: UUID, turn_id: UUID) -> bytes | None:
    """Read one turn of the session, on the line or not; None when there is no such turn."""
    body: bytes | None = await conn.fetchval(_BY_ID, organization_id, session_id, turn_id)
    return body


_STATE = """
SELECT state FROM turns WHERE organization_id = $1 AND session_id = $2 AND id = $3
"""


async def state(conn: Connection, organization_id: UUID, session_id: UUID, turn_id: UUID) -> str | None:
    """Read a turn's state; None when its session has been deleted."""
    found: str | None = await conn.fetchval(_STATE, organization_id, session_id, turn_id)
    return found


class BranchRow(NamedTuple):
    """One branch of a session."""

    number: int
    parent: int | None
    branch_point: int


_BRANCHES = """
SELECT number, parent, branch_point
  FROM branches WHERE organization_id = $1 AND session_id = $2 ORDER BY number
"""


async def branches(conn: Connection, organization_id: UUID, session_id: UUID) -> list[BranchRow]:
    """Read every branch ever opened in the session, by number."""
    rows = await conn.fetch(_BRANCHES, organization_id, session_id)
    return [BranchRow(*row.values()) for row in rows]


_COUNT = """
SELECT count(*) FROM turns WHERE organization_id = $1 AND session_id = $2
"""


async def count(conn: Connection, organization_id: UUID, session_id: UUID) -> int:
    """How many turns were ever created in the session."""
    return int(await conn.fetchval(_COUNT, organization_id, session_id))
