"""Approval rules: what an organization has settled about its tools once; never edited, only revoked."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class RuleRow(NamedTuple):
    """A rule of an organization."""

    id: UUID
    tool: str
    arguments_schema: bytes | None
    cost_max: Decimal | None
    action: str
    approval_id: UUID | None
    """The decision that made it; None for a rule that was written as one."""
    created_at: datetime
    created_by: bytes
    revoked_at: datetime | None
    revoked_by: bytes | None


# Rules at the same moment do not see each other, so there may be a few more than allowed. One decision that
# holds for good is enough: another of the same tool and action changes nothing.
_CREATE = """
INSERT INTO approval_rules (organization_id, id, tool, arguments_schema, cost_max, action, approval_id,
                            created_at, created_by)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9
 WHERE $10::int IS NULL
    OR $10 > (SELECT count(*) FROM approval_rules WHERE organization_id = $1 AND revoked_at IS NULL)
ON CONFLICT (organization_id, tool, action) WHERE revoked_at IS NULL AND approval_id IS NOT NULL DO NOTHING
RETURNING id
"""


async def create(conn: Connection, organization_id: UUID, rule: RuleRow, *, count_max: int | None) -> bool:
    """Write a rule; False when `count_max` (if any) are in force, or a decision has settled the same."""
    values = rule[:8]
    return await conn.fetchval(_CREATE, organization_id, *values, count_max) is not None


_REVOKE = """
UPDATE approval_rules SET revoked_at = $3, revoked_by = $4
 WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL
"""


async def revoke(conn: Connection, organization_id: UUID, rule_id: UUID, *, at: datetime, by: bytes) -> None:
    """End a rule, unless it has ended before."""
    await conn.execute(_REVOKE, organization_id, rule_id, at, by)


_BY_ID = """
SELECT id, tool, arguments_schema, cost_max, action, approval_id, created_at, created_by, revoked_at,
       revoked_by
  FROM approval_rules
 WHERE organization_id = $1 AND id = $2
"""


async def by_id(conn: Connection, organization_id: UUID, rule_id: UUID) -> RuleRow | None:
    """Read a rule, revoked or not; None when the organization has none of this id."""
    row = await conn.fetchrow(_BY_ID, organization_id, rule_id)
    return None if row is None else RuleRow(*row.values())


_LIST = """
SELECT id, tool, arguments_schema, cost_max, action, approval_id, created_at, created_by, revoked_at,
       revoked_by
  FROM approval_rules
 WHERE organization_id = $1 AND revoked_at IS NULL AND ($2::uuid IS NULL OR id < $2)
 ORDER BY id DESC
 LIMIT $3
"""


async def listed(
    conn: Connection, organization_id: UUID, *, before: UUID | None, limit: int | None
) -> list[RuleRow]:
    """Read the rules in force, newest first; all for a limit of None."""
    rows = await conn.fetch(_LIST, organization_id, before, limit)
    return [RuleRow(*row.values()) for row in rows]
