"""Limits of API keys: requests given out by the minute, and streams held by processes."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class Lot(NamedTuple):
    """Requests that a process may let through before the minute ends."""

    request_count: int
    """0 when the minute has none left."""
    granted: int
    """What of the minute is given out, to all processes."""
    seconds_left: float
    """Until the minute ends, in database time."""


# A clock that was set back stays in the later minute until it has caught up.
_GRANT = """
INSERT INTO key_minutes (organization_id, key_id, minute, granted, lot)
VALUES ($1, $2, date_trunc('minute', clock_timestamp()), LEAST($3::int, $4::int), LEAST($3, $4))
ON CONFLICT (organization_id, key_id) DO UPDATE
   SET minute = GREATEST(key_minutes.minute, EXCLUDED.minute),
       granted = CASE WHEN EXCLUDED.minute > key_minutes.minute THEN EXCLUDED.granted
                      ELSE GREATEST(key_minutes.granted, LEAST(key_minutes.granted + $3, $4)) END,
       lot = CASE WHEN EXCLUDED.minute > key_minutes.minute THEN EXCLUDED.lot
                  ELSE GREATEST(0, LEAST($3, $4 - key_minutes.granted)) END
RETURNING lot, granted, EXTRACT(EPOCH FROM minute + interval '1 minute' - clock_timestamp())::float8
"""


async def grant(
    conn: Connection, organization_id: UUID, key_id: UUID, *, count_wanted: int, count_max: int
) -> Lot:
    """Take some of the requests that are left of this minute, of `count_max` in all."""
    row = await conn.fetchrow(_GRANT, organization_id, key_id, count_wanted, count_max)
    assert row is not None, "an upsert answers its row"
    return Lot(*row.values())


class TokensUsed(NamedTuple):
    """What of a minute's tokens a key has used."""

    token_count: int
    seconds_left: float
    """Until the minute ends, in database time."""


_TOKENS = """
SELECT COALESCE(sum(input_tokens + output_tokens), 0)::bigint,
       EXTRACT(EPOCH FROM date_trunc('minute', clock_timestamp()) + interval '1 minute'
                          - clock_timestamp())::float8
  FROM usage_entries
 WHERE organization_id = $1 AND key_id = $2 AND created_at >= date_trunc('minute', statement_timestamp())
"""


async def tokens_used(conn: Connection, organization_id: UUID, key_id: UUID) -> TokensUsed:
    """Sum what the ledger has of this minute for turns that a key began."""
    row = await conn.fetchrow(_TOKENS, organization_id, key_id)
    assert row is not None, "a sum is one row"
    return TokensUsed(*row.values())


_LOCK = """
SELECT id FROM api_keys WHERE organization_id = $1 AND id = $2 FOR NO KEY UPDATE
"""

_FORGET_DEAD = """
DELETE FROM key_streams WHERE organization_id = $1 AND key_id = $2 AND expires_at <= clock_timestamp()
"""

_TAKE = """
INSERT INTO key_streams (organization_id, key_id, holder, stream_count, expires_at)
SELECT $1, $2, $3, $4::int, clock_timestamp() + make_interval(secs => $6)
 WHERE $4 + (SELECT COALESCE(sum(stream_count), 0) FROM key_streams
              WHERE organization_id = $1 AND key_id = $2 AND holder <> $3) <= $5::int
ON CONFLICT (organization_id, key_id, holder) DO UPDATE
   SET stream_count = EXCLUDED.stream_count, expires_at = EXCLUDED.expires_at
RETURNING stream_count
"""


async def take_stream(
    conn: Connection,
    organization_id: UUID,
    key_id: UUID,
    *,
    holder: UUID,
    count: int,
    count_max: int,
    seconds: float,
) -> bool:
    """Let a process hold `count` streams of a key, its new one among them; False when that are too many.

    In a transaction: whoever takes one for the same key waits, so that they are never too many.
    """
    async with conn.transaction():
        await conn.fetchval(_LOCK, organization_id, key_id)
        await conn.execute(_FORGET_DEAD, organization_id, key_id)
        taken = await conn.fetchval(_TAKE, organization_id, key_id, holder, count, count_max, seconds)
    return taken is not None


class Held(NamedTuple):
    """How many streams of a key a process holds."""

    organization_id: UUID
    key_id: UUID
    stream_count: int


_HOLD = """
INSERT INTO key_streams (organization_id, key_id, holder, stream_count, expires_at)
SELECT organization_id, key_id, $1, stream_count, clock_timestamp() + make_interval(secs => $5)
  FROM unnest($2::uuid[], $3::uuid[], $4::int[]) AS held (organization_id, key_id, stream_count)
 ORDER BY organization_id, key_id
ON CONFLICT (organization_id, key_id, holder) DO UPDATE
   SET stream_count = EXCLUDED.stream_count, expires_at = EXCLUDED.expires_at
"""


async def hold_streams(conn: Connection, holder: UUID, held: Sequence[Held], *, seconds: float) -> None:
    """Say how many streams of which keys a process holds, for this long."""
    await conn.execute(
        _HOLD,
        holder,
        [row.organization_id for row in held],
        [row.key_id for row in held],
        [row.stream_count for row in held],
        seconds,
    )
