"""Discarded futures: the parts of lines that were displaced and can be restored."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class FutureRow(NamedTuple):
    """A future that can be restored."""

    ordinal: int
    branch: int
    branch_point: int
    line_count: int
    discarded_at: datetime
    discarded_by: bytes


_OPEN = """
SELECT ordinal, branch, branch_point, line_count, discarded_at, discarded_by
  FROM discarded_futures
 WHERE organization_id = $1 AND session_id = $2 AND restored_revision IS NULL
   AND ($3::int IS NULL OR ordinal < $3)
 ORDER BY ordinal DESC
 LIMIT $4
"""


async def restorable(
    conn: Connection, organization_id: UUID, session_id: UUID, *, before: int | None, limit: int | None
) -> list[FutureRow]:
    """Read the futures that can be restored, newest first; `limit` of None reads all."""
    rows = await conn.fetch(_OPEN, organization_id, session_id, before, limit)
    return [FutureRow(*row.values()) for row in rows]


_BY_ORDINAL = """
SELECT ordinal, branch, branch_point, line_count, discarded_at, discarded_by
  FROM discarded_futures
 WHERE organization_id = $1 AND session_id = $2 AND ordinal = $3 AND restored_revision IS NULL
"""


async def by_ordinal(
    conn: Connection, organization_id: UUID, session_id: UUID, ordinal: int
) -> FutureRow | None:
    """Read one future; None when there is none of that ordinal that can be restored."""
    row = await conn.fetchrow(_BY_ORDINAL, organization_id, session_id, ordinal)
    return None if row is None else FutureRow(*row.values())
