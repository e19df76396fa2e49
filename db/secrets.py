"""Secrets of organizations, as ciphertext."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class SecretRow(NamedTuple):
    """A secret without its value."""

    name: str
    created_at: datetime
    updated_at: datetime


class Sealed(NamedTuple):
    """A secret's value as it is stored."""

    organization_id: UUID
    name: str
    ciphertext: bytes
    key_id: str


# A new name beyond the limit is not written; one that is known can always be replaced.
_PUT = """
INSERT INTO secrets (organization_id, name, ciphertext, key_id, created_at, updated_at, updated_by)
SELECT $1, $2::text, $3, $4, $5::timestamptz, $5::timestamptz, $6
 WHERE (SELECT count(*) FROM secrets WHERE organization_id = $1 AND name <> $2) < $7::bigint
    ON CONFLICT (organization_id, name)
    DO UPDATE SET ciphertext = excluded.ciphertext, key_id = excluded.key_id,
                  updated_at = excluded.updated_at, updated_by = excluded.updated_by
RETURNING name, created_at, updated_at
"""


async def put(
    conn: Connection,
    sealed: Sealed,
    *,
    at: datetime,
    by: bytes,
    count_max: int,
) -> SecretRow | None:
    """Write a secret, or replace it; None when the organization has `count_max` others."""
    row = await conn.fetchrow(
        _PUT, sealed.organization_id, sealed.name, sealed.ciphertext, sealed.key_id, at, by, count_max
    )
    return None if row is None else SecretRow(*row.values())


_LIST = """
SELECT name, created_at, updated_at FROM secrets WHERE organization_id = $1 ORDER BY name LIMIT $2
"""


async def listed(conn: Connection, organization_id: UUID, *, limit: int) -> list[SecretRow]:
    """Read the names of an organization's secrets, in order."""
    return [SecretRow(*row.values()) for row in await conn.fetch(_LIST, organization_id, limit)]


_DELETE = """
DELETE FROM secrets WHERE organization_id = $1 AND name = $2 RETURNING name
"""


async def delete(conn: Connection, organization_id: UUID, name: str) -> bool:
    """Remove a secret; False when there is none of this name."""
    return await conn.fetchval(_DELETE, organization_id, name) is not None


_SEALED = """
SELECT organization_id, name, ciphertext, key_id FROM secrets
 WHERE organization_id = $1 AND name = ANY($2::text[])
"""


async def sealed(conn: Connection, organization_id: UUID, names: Sequence[str]) -> list[Sealed]:
    """Read those of the named secrets that are there."""
    return [Sealed(*row.values()) for row in await conn.fetch(_SEALED, organization_id, names)]


_OTHERWISE_SEALED = """
SELECT organization_id, name, ciphertext, key_id FROM secrets
 WHERE key_id <> $1 AND (organization_id, name) > ($2, $3)
 ORDER BY organization_id, name
 LIMIT $4
"""


async def otherwise_sealed(
    conn: Connection, *, key_id: str, after: tuple[UUID, str], limit: int
) -> list[Sealed]:
    """Read secrets of every organization that another key encrypted, in order, behind `after`."""
    return [Sealed(*row.values()) for row in await conn.fetch(_OTHERWISE_SEALED, key_id, *after, limit)]


_RESEAL = """
UPDATE secrets SET ciphertext = $4, key_id = $5
 WHERE organization_id = $1 AND name = $2 AND ciphertext = $3
RETURNING name
"""


async def reseal(conn: Connection, before: Sealed, after: Sealed) -> bool:
    """Store the same value under another key; False when it was changed meanwhile."""
    row = await conn.fetchval(
        _RESEAL, before.organization_id, before.name, before.ciphertext, after.ciphertext, after.key_id
    )
    return row is not None
