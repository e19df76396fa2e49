"""Organizations: the paying customers."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class OrganizationRow(NamedTuple):
    """The paying customer and the boundary of every query."""

    id: UUID
    name: str
    created_at: datetime


_CREATE = """
WITH made AS (
    INSERT INTO organizations (id, name, created_at) VALUES ($1, $2, $3) RETURNING id
)
INSERT INTO organization_ledgers (organization_id) SELECT id FROM made
"""


async def create(conn: Connection, organization_id: UUID, *, name: str, at: datetime) -> None:
    """Write a new organization with an empty ledger."""
    await conn.execute(_CREATE, organization_id, name, at)


_LIST = """
SELECT id, name, created_at FROM organizations ORDER BY id
"""


async def listed(conn: Connection) -> list[OrganizationRow]:
    """Read every organization, oldest first."""
    return [OrganizationRow(*row.values()) for row in await conn.fetch(_LIST)]


_BY_ID = """
SELECT id, name, created_at FROM organizations WHERE id = $1
"""


async def by_id(conn: Connection, organization_id: UUID) -> OrganizationRow | None:
    """Read an organization; None when there is none of this id."""
    row = await conn.fetchrow(_BY_ID, organization_id)
    return None if row is None else OrganizationRow(*row.values())
