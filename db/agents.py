"""Agents and their published versions, which never change."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class AgentRow(NamedTuple):
    """An agent and the number of its newest version."""

    id: UUID
    name: str
    latest_version: int
    created_at: datetime


class VersionRow(NamedTuple):
    """One published version of an agent."""

    agent_id: UUID
    name: str
    version: int
    definition: bytes
    published_at: datetime
    published_by: bytes


_CREATE = """
WITH made AS (
    INSERT INTO agents (organization_id, id, name, latest_version, created_at) VALUES ($1, $2, $3, 1, $4)
 RETURNING organization_id, id
)
INSERT INTO agent_versions (organization_id, agent_id, version, definition, published_at, published_by)
SELECT organization_id, id, 1, $5, $4, $6 FROM made
"""


async def create(
    conn: Connection,
    organization_id: UUID,
    agent_id: UUID,
    *,
    name: str,
    definition: bytes,
    at: datetime,
    by: bytes,
) -> None:
    """Write a new agent with its version 1."""
    await conn.execute(_CREATE, organization_id, agent_id, name, at, definition, by)


_PUBLISH = """
WITH raised AS (
    UPDATE agents SET latest_version = latest_version + 1
     WHERE organization_id = $1 AND id = $2
 RETURNING organization_id, id, latest_version
)
INSERT INTO agent_versions (organization_id, agent_id, version, definition, published_at, published_by)
SELECT organization_id, id, latest_version, $3, $4, $5 FROM raised
RETURNING version
"""


async def publish(
    conn: Connection, organization_id: UUID, agent_id: UUID, *, definition: bytes, at: datetime, by: bytes
) -> int | None:
    """Write the next version of an agent and answer its number; None when there is no such agent."""
    version: int | None = await conn.fetchval(_PUBLISH, organization_id, agent_id, definition, at, by)
    return version


_LIST = """
SELECT id, name, latest_version, created_at
  FROM agents
 WHERE organization_id = $1 AND ($2::uuid IS NULL OR id < $2)
 ORDER BY id DESC
 LIMIT $3
"""


async def listed(
    conn: Connection, organization_id: UUID, *, before: UUID | None, limit: int
) -> list[AgentRow]:
    """Read agents, newest created first."""
    rows = await conn.fetch(_LIST, organization_id, before, limit)
    return [AgentRow(*row.values()) for row in rows]


_FIND = """
SELECT id, name, latest_version, created_at FROM agents WHERE organization_id = $1 AND id = $2
"""


async def find(conn: Connection, organization_id: UUID, agent_id: UUID) -> AgentRow | None:
    """Read an agent; None when the organization has no such agent."""
    row = await conn.fetchrow(_FIND, organization_id, agent_id)
    return None if row is None else AgentRow(*row.values())


_VERSION = """
SELECT v.agent_id, a.name, v.version, v.definition, v.published_at, v.published_by
  FROM agents a
  JOIN agent_versions v ON v.organization_id = a.organization_id AND v.agent_id = a.id
                       AND v.version = COALESCE($3::int, a.latest_version)
 WHERE a.organization_id = $1 AND a.id = $2
"""


async def version(
    conn: Connection, organization_id: UUID, agent_id: UUID, number: int | None
) -> VersionRow | None:
    """Read a published version, the newest for `number` of None; None when there is none."""
    row = await conn.fetchrow(_VERSION, organization_id, agent_id, number)
    return None if row is None else VersionRow(*row.values())


_VERSIONS = """
SELECT v.agent_id, a.name, v.version, v.definition, v.published_at, v.published_by
  FROM agents a
  JOIN agent_versions v ON v.organization_id = a.organization_id AND v.agent_id = a.id
 WHERE a.organization_id = $1 AND a.id = $2 AND ($3::int IS NULL OR v.version < $3)
 ORDER BY v.version DESC
 LIMIT $4
"""


async def versions(
    conn: Connection, organization_id: UUID, agent_id: UUID, *, before: int | None, limit: int
) -> list[VersionRow]:
    """Read the published versions of an agent, newest first."""
    rows = await conn.fetch(_VERSIONS, organization_id, agent_id, before, limit)
    return [VersionRow(*row.values()) for row in rows]
