"""Organizations and the API keys that are bound to them."""

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


class KeyRow(NamedTuple):
    """An API key as it is known after it was shown."""

    organization_id: UUID
    id: UUID
    name: str
    prefix: str
    created_at: datetime
    revoked_at: datetime | None


_CREATE_KEY = """
INSERT INTO api_keys (organization_id, id, name, key_sha256, prefix, created_at)
VALUES ($1, $2, $3, $4, $5, $6)
"""


async def create_key(
    conn: Connection,
    organization_id: UUID,
    key_id: UUID,
    *,
    name: str,
    key_sha256: bytes,
    prefix: str,
    at: datetime,
) -> None:
    """Write a new key by its digest."""
    await conn.execute(_CREATE_KEY, organization_id, key_id, name, key_sha256, prefix, at)


_FIND_KEY = """
SELECT organization_id, id, name, prefix, created_at, revoked_at
  FROM api_keys WHERE key_sha256 = $1 AND revoked_at IS NULL
"""


async def find_key(conn: Connection, *, key_sha256: bytes) -> KeyRow | None:
    """Look up whose key this is; None when it is unknown or revoked."""
    row = await conn.fetchrow(_FIND_KEY, key_sha256)
    return None if row is None else KeyRow(*row.values())


_KEYS = """
SELECT organization_id, id, name, prefix, created_at, revoked_at
  FROM api_keys WHERE organization_id = $1 ORDER BY id
"""


async def keys(conn: Connection, organization_id: UUID) -> list[KeyRow]:
    """Read every key of an organization, oldest first."""
    return [KeyRow(*row.values()) for row in await conn.fetch(_KEYS, organization_id)]


_REVOKE_KEY = """
UPDATE api_keys SET revoked_at = $3 WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL RETURNING id
"""


async def revoke_key(conn: Connection, organization_id: UUID, key_id: UUID, *, at: datetime) -> bool:
    """Refuse a key from now on; False when there is no such key or it is revoked already."""
    return await conn.fetchval(_REVOKE_KEY, organization_id, key_id, at) is not None
