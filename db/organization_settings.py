"""What the operator of the installation has set for one organization."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from db.pool import Connection

_TOOL_HOSTS_ALLOWED = """
SELECT tool_hosts_allowed FROM organization_settings WHERE organization_id = $1
"""


async def tool_hosts_allowed(conn: Connection, organization_id: UUID) -> list[str]:
    """Read the hosts that an organization's tools may call although they are not public."""
    return await conn.fetchval(_TOOL_HOSTS_ALLOWED, organization_id) or []


_SET_TOOL_HOSTS_ALLOWED = """
INSERT INTO organization_settings (organization_id, tool_hosts_allowed, updated_at)
VALUES ($1, $2, $3)
    ON CONFLICT (organization_id)
    DO UPDATE SET tool_hosts_allowed = excluded.tool_hosts_allowed, updated_at = excluded.updated_at
"""


async def set_tool_hosts_allowed(
    conn: Connection, organization_id: UUID, hosts: Sequence[str], *, at: datetime
) -> None:
    """Replace the hosts that an organization's tools may call although they are not public."""
    await conn.execute(_SET_TOOL_HOSTS_ALLOWED, organization_id, hosts, at)
