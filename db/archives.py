"""Archives of the ledger: old entries are read out whole, and leave with their partition."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from db.pool import Connection
from db.usage import EntryRow

LOWEST = UUID(int=0)


class PartitionChanged(Exception):
    """The partition is gone, has other entries than were read, or has some of late, which budgets count."""


# Entries lie in the partition of their call's step; the instants are those between which it lies.
_PAGE = """
SELECT organization_id, seq, id, session_id, turn_id, run_id, step_id, attempt, corrects_id, speaker, purpose,
       provider, model, input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
       unit_prices, price_source, cost, currency, source, outcome, billable, billable_reason, latency_ms,
       created_at, key_id, correction_number, corrected_by, correction_reason
  FROM usage_entries
 WHERE step_id >= COALESCE(lowest_uuid($1), '00000000-0000-0000-0000-000000000000')
   AND step_id < lowest_uuid($2) AND (organization_id, seq) > ($3, $4)
 ORDER BY organization_id, seq
 LIMIT $5
"""


async def page(
    conn: Connection,
    *,
    begins_at: datetime | None,
    ends_at: datetime,
    organization_id: UUID,
    seq: int,
    limit: int,
) -> list[tuple[UUID, EntryRow]]:
    """Read entries of all organizations whose calls began in a stretch of time, behind a place in it."""
    rows: Sequence[asyncpg.Record] = await conn.fetch(_PAGE, begins_at, ends_at, organization_id, seq, limit)
    return [(row[0], EntryRow(*tuple(row)[1:])) for row in rows]


_LEAVE = """
SELECT archive_partition($1, $2)
"""


async def leave(conn: Connection, name: str, *, entry_count: int) -> None:
    """Drop a partition of the ledger that has been read out, and keep its sums.

    Raises:
        PartitionChanged: it has not this number of entries, or some of late; nothing was changed.
        asyncpg.LockNotAvailableError: the ledger was too busy to be held; nothing was changed.
    """
    try:
        await conn.execute(_LEAVE, name, entry_count)
    except (asyncpg.ObjectNotInPrerequisiteStateError, asyncpg.NoDataFoundError) as error:
        raise PartitionChanged(str(error)) from error
