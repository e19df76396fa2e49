"""Keys of the installation: they belong to no organization. Only digests of secrets are kept."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class InstallationKeyRow(NamedTuple):
    """A key of the installation as it is known after it was shown."""

    id: UUID
    name: str
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    rotated_at: datetime | None
    previous_expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


_CREATE = """
INSERT INTO installation_keys (id, name, key_sha256, prefix, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
"""


async def create(conn: Connection, row: InstallationKeyRow, *, key_sha256: bytes) -> None:
    """Write a new key by its digest."""
    await conn.execute(_CREATE, row.id, row.name, key_sha256, row.prefix, row.created_at, row.expires_at)


class FoundInstallationKey(NamedTuple):
    """What a secret opens."""

    id: UUID
    expires_at: datetime | None
    """When this secret is refused: with its key, or sooner when it has been replaced."""


_FIND = """
SELECT id,
       CASE WHEN key_sha256 = $1 THEN expires_at ELSE LEAST(expires_at, previous_expires_at) END AS ends_at
  FROM installation_keys
 WHERE (key_sha256 = $1 OR previous_sha256 = $1)
   AND revoked_at IS NULL
   AND (expires_at IS NULL OR expires_at > $2)
   AND (key_sha256 = $1 OR previous_expires_at > $2)
"""


async def find(conn: Connection, *, key_sha256: bytes, at: datetime) -> FoundInstallationKey | None:
    """Look up which key a secret is; None when it is unknown, replaced, expired or revoked."""
    row = await conn.fetchrow(_FIND, key_sha256, at)
    return None if row is None else FoundInstallationKey(*row.values())


_LIST = """
SELECT id, name, prefix, created_at, expires_at, rotated_at, previous_expires_at, last_used_at, revoked_at
  FROM installation_keys
 ORDER BY id
"""


async def listed(conn: Connection) -> list[InstallationKeyRow]:
    """Read every key, oldest first."""
    return [InstallationKeyRow(*row.values()) for row in await conn.fetch(_LIST)]


_REVOKE = """
UPDATE installation_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING id
"""


async def revoke(conn: Connection, key_id: UUID, *, at: datetime) -> bool:
    """Refuse a key from now on; False when there is no such key or it is revoked already."""
    return await conn.fetchval(_REVOKE, key_id, at) is not None


_ROTATE = """
UPDATE installation_keys
   SET previous_sha256 = key_sha256, previous_expires_at = $5, key_sha256 = $2, prefix = $3, rotated_at = $4
 WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $4)
RETURNING id
"""


async def rotate(
    conn: Connection,
    key_id: UUID,
    *,
    key_sha256: bytes,
    prefix: str,
    at: datetime,
    previous_expires_at: datetime,
) -> bool:
    """Replace the secret of a key, the one before being accepted for a while; False when not in force."""
    found = await conn.fetchval(_ROTATE, key_id, key_sha256, prefix, at, previous_expires_at)
    return found is not None


_RECORD_USES = """
WITH due AS (
    SELECT k.id, used.at
      FROM installation_keys k JOIN unnest($1::uuid[], $2::timestamptz[]) AS used (id, at) USING (id)
     WHERE k.last_used_at IS NULL OR k.last_used_at < used.at - interval '1 minute'
       FOR NO KEY UPDATE OF k SKIP LOCKED
)
UPDATE installation_keys k SET last_used_at = due.at FROM due WHERE k.id = due.id
"""


async def record_uses(conn: Connection, uses: Sequence[tuple[UUID, datetime]]) -> None:
    """Write when keys were last used, to the minute."""
    await conn.execute(_RECORD_USES, [key_id for key_id, _ in uses], [at for _, at in uses])
