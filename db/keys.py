"""Idempotency keys: what a call was, and the answer that a repetition of it gets."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class StoredKey(NamedTuple):
    """A key that was used, with the answer kept for it."""

    fingerprint: bytes
    session_id: UUID | None
    turn_id: UUID | None
    base_revision: int | None
    status: int | None
    """None when the answer is joined from the turn, or was emptied because the session is deleted."""
    headers: bytes | None
    answer: bytes | None


_FIND = """
SELECT fingerprint, session_id, turn_id, base_revision, status, headers, answer
  FROM idempotency_keys WHERE organization_id = $1 AND key = $2
"""


async def find(conn: Connection, organization_id: UUID, key: str) -> StoredKey | None:
    """Look a key up; None when it was not used, or longer ago than keys are kept."""
    row = await conn.fetchrow(_FIND, organization_id, key)
    return None if row is None else StoredKey(*row.values())


_INSERT = """
INSERT INTO idempotency_keys (organization_id, session_id, key, fingerprint, created_at, turn_id,
                              base_revision, status, headers, answer)
VALUES ($1, $8, $2, $3, $4, NULL, NULL, $5, $6, $7)
"""


async def insert(
    conn: Connection,
    organization_id: UUID,
    *,
    key: str,
    fingerprint: bytes,
    at: datetime,
    status: int,
    headers: bytes,
    answer: bytes,
    session_id: UUID | None = None,
) -> None:
    """Keep the answer of a call that is not on a session, in the transaction that did its work.

    With a `session_id` the answer goes when that session, which the call has made, is deleted.
    """
    await conn.execute(_INSERT, organization_id, key, fingerprint, at, status, headers, answer, session_id)


_SWEEP = """
DELETE FROM idempotency_keys WHERE created_at < $1
"""


async def sweep(conn: Connection, *, before: datetime) -> int:
    """Forget the keys of every organization that were used before this instant; answers how many."""
    return int((await conn.execute(_SWEEP, before)).rpartition(" ")[2])
