"""The drafts of agents, at most one each; a row outlives its draft, so that its revision only ever rises."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class DraftRow(NamedTuple):
    """The draft of an agent, or what is left of the last one."""

    revision: int
    base_version: int
    definition: bytes | None
    """None: there is no draft now."""
    updated_at: datetime
    updated_by: bytes


_FIND = """
SELECT revision, base_version, definition, updated_at, updated_by
  FROM agent_drafts
 WHERE organization_id = $1 AND agent_id = $2
"""


async def find(conn: Connection, organization_id: UUID, agent_id: UUID) -> DraftRow | None:
    """Read an agent's draft; None where there never was one."""
    row = await conn.fetchrow(_FIND, organization_id, agent_id)
    return None if row is None else DraftRow(*row.values())


_LOCK = """
SELECT revision, base_version, definition, updated_at, updated_by
  FROM agent_drafts
 WHERE organization_id = $1 AND agent_id = $2
   FOR UPDATE
"""


async def lock(conn: Connection, organization_id: UUID, agent_id: UUID) -> DraftRow | None:
    """Read an agent's draft and keep others from changing it; None where there never was one."""
    row = await conn.fetchrow(_LOCK, organization_id, agent_id)
    return None if row is None else DraftRow(*row.values())


_SAVE = """
INSERT INTO agent_drafts AS draft (
       organization_id, agent_id, revision, base_version, definition, updated_at, updated_by)
SELECT $1, id, 1, latest_version, $4, $5, $6
  FROM agents
 WHERE organization_id = $1 AND id = $2
   AND ($3::int = 0
        OR EXISTS (SELECT FROM agent_drafts d WHERE d.organization_id = $1 AND d.agent_id = $2))
    ON CONFLICT (organization_id, agent_id) DO UPDATE
   SET revision = draft.revision + 1,
       base_version = CASE WHEN draft.definition IS NULL THEN excluded.base_version
                           ELSE draft.base_version END,
       definition = excluded.definition,
       updated_at = excluded.updated_at,
       updated_by = excluded.updated_by
 WHERE CASE WHEN $3 IS NULL THEN draft.definition IS NOT NULL
            WHEN $3 = 0 THEN draft.definition IS NULL
            ELSE draft.revision = $3 AND draft.definition IS NOT NULL END
RETURNING revision, base_version, definition, updated_at, updated_by
"""


async def save(
    conn: Connection,
    organization_id: UUID,
    agent_id: UUID,
    *,
    expected: int | None,
    definition: bytes,
    at: datetime,
    by: bytes,
) -> DraftRow | None:
    """Write a draft over the one that is expected, or none for 0; None where it is not as expected.

    `expected` of None takes whatever draft there is, but there must be one.
    """
    row = await conn.fetchrow(_SAVE, organization_id, agent_id, expected, definition, at, by)
    return None if row is None else DraftRow(*row.values())


_DISCARD = """
UPDATE agent_drafts
   SET revision = revision + 1, definition = NULL, updated_at = $4, updated_by = $5
 WHERE organization_id = $1 AND agent_id = $2
   AND definition IS NOT NULL AND revision = COALESCE($3::int, revision)
RETURNING revision
"""


async def discard(
    conn: Connection,
    organization_id: UUID,
    agent_id: UUID,
    *,
    expected: int | None,
    at: datetime,
    by: bytes,
) -> bool:
    """Take the expected draft away, any for None; False where it is not as expected."""
    return await conn.fetchval(_DISCARD, organization_id, agent_id, expected, at, by) is not None
