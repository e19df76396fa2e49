"""Sessions in which nothing has happened for longer than their agent waits."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class IdleRow(NamedTuple):
    """An open session, and the revision at which it was found idle."""

    organization_id: UUID
    session_id: UUID
    revision: int


# Who waits for an answer, or for a person's decision, is not idle. The hour comes first: it is in the index.
_IDLE = """
SELECT s.organization_id, s.id, s.revision
  FROM agent_versions v
  JOIN sessions s ON s.organization_id = v.organization_id AND s.agent_id = v.agent_id
                 AND s.agent_version = v.version
 CROSS JOIN LATERAL (
       SELECT $1::timestamptz - (v.definition #>> '{limits,idle_seconds}')::numeric * interval '1 second'
              AS active_until) w
 WHERE (v.definition #>> '{limits,idle_seconds}') IS NOT NULL
   AND s.state = 'open' AND s.unfinished_count = 0
   AND s.active_hour <= w.active_until AND s.updated_at <= w.active_until
 ORDER BY s.active_hour
 LIMIT $2
"""


async def idle(conn: Connection, *, at: datetime, limit: int) -> list[IdleRow]:
    """Find idle sessions of any organization, those that are idle longest first."""
    return [IdleRow(*row.values()) for row in await conn.fetch(_IDLE, at, limit)]
