"""API keys: whose a secret is, what it may do and until when. Only digests of secrets are kept."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class KeyRow(NamedTuple):
    """An API key as it is known after it was shown."""

    organization_id: UUID
    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    created_by: bytes | None
    expires_at: datetime | None
    rotated_at: datetime | None
    previous_expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


_CREATE = """
INSERT INTO api_keys (organization_id, id, name, key_sha256, prefix, scopes, created_at, created_by,
                      expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""


async def create(conn: Connection, row: KeyRow, *, key_sha256: bytes) -> None:
    """Write a new key by its digest; the database fills in nothing."""
    await conn.execute(
        _CREATE,
        row.organization_id,
        row.id,
        row.name,
        key_sha256,
        row.prefix,
        row.scopes,
        row.created_at,
        row.created_by,
        row.expires_at,
    )


class FoundKey(NamedTuple):
    """What a secret opens."""

    organization_id: UUID
    id: UUID
    scopes: list[str]
    expires_at: datetime | None
    """When this secret is refused: with its key, or sooner when it has been replaced."""


# Each of the two digests has an index of its own.
_FIND = """
SELECT organization_id, id, scopes,
       CASE WHEN key_sha256 = $1 THEN expires_at ELSE LEAST(expires_at, previous_expires_at) END AS ends_at
  FROM api_keys
 WHERE (key_sha256 = $1 OR previous_sha256 = $1)
   AND revoked_at IS NULL
   AND (expires_at IS NULL OR expires_at > $2)
   AND (key_sha256 = $1 OR previous_expires_at > $2)
"""


async def find(conn: Connection, *, key_sha256: bytes, at: datetime) -> FoundKey | None:
    """Look up whose secret this is; None when it is unknown, replaced, expired or revoked."""
    row = await conn.fetchrow(_FIND, key_sha256, at)
    return None if row is None else FoundKey(*row.values())


_BY_ID = """
SELECT organization_id, id, name, prefix, scopes, created_at, created_by, expires_at, rotated_at,
       previous_expires_at, last_used_at, revoked_at
  FROM api_keys WHERE organization_id = $1 AND id = $2
"""


async def by_id(conn: Connection, organization_id: UUID, key_id: UUID) -> KeyRow | None:
    """Read a key, in force or not; None when the organization has none of this id."""
    row = await conn.fetchrow(_BY_ID, organization_id, key_id)
    return None if row is None else KeyRow(*row.values())


_LIST = """
SELECT organization_id, id, name, prefix, scopes, created_at, created_by, expires_at, rotated_at,
       previous_expires_at, last_used_at, revoked_at
  FROM api_keys
 WHERE organization_id = $1 AND ($2::uuid IS NULL OR id < $2)
 ORDER BY id DESC
 LIMIT $3
"""


async def listed(
    conn: Connection, organization_id: UUID, *, before: UUID | None, limit: int | None
) -> list[KeyRow]:
    """Read the keys of an organization, newest first; all for a limit of None."""
    rows = await conn.fetch(_LIST, organization_id, before, limit)
    return [KeyRow(*row.values()) for row in rows]


_REVOKE = """
UPDATE api_keys SET revoked_at = $3 WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL RETURNING id
"""


async def revoke(conn: Connection, organization_id: UUID, key_id: UUID, *, at: datetime) -> bool:
    """Refuse a key from now on; False when there is no such key or it is revoked already."""
    return await conn.fetchval(_REVOKE, organization_id, key_id, at) is not None


_ROTATE = """
UPDATE api_keys
   SET previous_sha256 = key_sha256, previous_expires_at = $6, key_sha256 = $3, prefix = $4, rotated_at = $5
 WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $5)
RETURNING organization_id, id, name, prefix, scopes, created_at, created_by, expires_at, rotated_at,
          previous_expires_at, last_used_at, revoked_at
"""


async def rotate(
    conn: Connection,
    organization_id: UUID,
    key_id: UUID,
    *,
    key_sha256: bytes,
    prefix: str,
    at: datetime,
    previous_expires_at: datetime,
) -> KeyRow | None:
    """Replace the secret of a key, the one before being accepted for a while; None when it is not in force.

    A secret that was replaced before is refused from now on.
    """
    row = await conn.fetchrow(_ROTATE, organization_id, key_id, key_sha256, prefix, at, previous_expires_at)
    return None if row is None else KeyRow(*row.values())


class Use(NamedTuple):
    """When a key was last used, as one process has seen it."""

    organization_id: UUID
    key_id: UUID
    at: datetime


# Rows that somebody else is about to write are left out: what they write is as good. What is known to the
# minute is not written again.
_RECORD_USES = """
WITH used AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS u (organization_id, id, at)
), due AS (
    SELECT k.organization_id, k.id, used.at
      FROM api_keys k JOIN used USING (organization_id, id)
     WHERE k.last_used_at IS NULL OR k.last_used_at < used.at - interval '1 minute'
       FOR NO KEY UPDATE OF k SKIP LOCKED
)
UPDATE api_keys k SET last_used_at = due.at
  FROM due
 WHERE k.organization_id = due.organization_id AND k.id = due.id
"""


async def record_uses(conn: Connection, uses: Sequence[Use]) -> None:
    """Write when keys of any organizations were last used, to the minute."""
    await conn.execute(
        _RECORD_USES,
        [use.organization_id for use in uses],
        [use.key_id for use in uses],
        [use.at for use in uses],
    )
