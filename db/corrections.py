"""Corrections of ledger rows by people: further rows of signed differences, in a chain without gaps."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection
from db.usage import EntryRow

_CHAIN = """
SELECT seq, id, session_id, turn_id, run_id, step_id, attempt, corrects_id, speaker, purpose, provider, model,
       input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, unit_prices,
       price_source, cost, currency, source, outcome, billable, billable_reason, latency_ms, created_at,
       key_id, correction_number, corrected_by, correction_reason
  FROM usage_entries
 WHERE organization_id = $1 AND (id = $2 OR corrects_id = $2)
 ORDER BY seq
"""


async def chain(conn: Connection, organization_id: UUID, entry_id: UUID) -> list[EntryRow]:
    """Read a row and, if it is an original, its corrections in order; nothing when there is no such row."""
    return [EntryRow(*row.values()) for row in await conn.fetch(_CHAIN, organization_id, entry_id)]


_LOCK_TOTALS = """
SELECT session_id FROM session_totals WHERE organization_id = $1 AND session_id = $2 FOR UPDATE
"""


async def lock_totals(conn: Connection, organization_id: UUID, session_id: UUID) -> None:
    """Hold a session's totals until the transaction ends, so that nobody else corrects its rows."""
    await conn.execute(_LOCK_TOTALS, organization_id, session_id)


class Difference(NamedTuple):
    """What a correction adds to the row that it corrects."""

    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: Decimal | None
    """None leaves an unknown cost unknown."""


# The order of locks is that of a settlement: totals, then the organization's counter.
_INSERT = """
WITH original AS (
    SELECT organization_id, session_id, turn_id, run_id, step_id, id, attempt, speaker, purpose, provider,
           model, currency, outcome, billable, billable_reason, key_id
      FROM usage_entries
     WHERE organization_id = $1 AND id = $2 AND corrects_id IS NULL
), totals AS (
    UPDATE session_totals t
       SET input_tokens = t.input_tokens + $3,
           cached_tokens = t.cached_tokens + $4,
           cache_write_tokens = t.cache_write_tokens + $5,
           output_tokens = t.output_tokens + $6,
           reasoning_tokens = t.reasoning_tokens + $7,
           cost = t.cost + COALESCE($8::numeric, 0),
           unknown_count = t.unknown_count - CASE WHEN $8::numeric IS NULL OR $9::boolean THEN 0 ELSE 1 END
      FROM original o
     WHERE t.organization_id = o.organization_id AND t.session_id = o.session_id
 RETURNING t.organization_id
), counter AS (
    UPDATE organization_ledgers l
       SET last_seq = l.last_seq + 1,
           input_tokens = l.input_tokens + $3,
           cached_tokens = l.cached_tokens + $4,
           cache_write_tokens = l.cache_write_tokens + $5,
           output_tokens = l.output_tokens + $6,
           reasoning_tokens = l.reasoning_tokens + $7,
           cost = l.cost + COALESCE($8::numeric, 0),
           unknown_count = l.unknown_count - CASE WHEN $8::numeric IS NULL OR $9::boolean THEN 0 ELSE 1 END
      FROM totals t
     WHERE l.organization_id = t.organization_id
 RETURNING l.last_seq
)
INSERT INTO usage_entries (organization_id, seq, id, session_id, turn_id, run_id, step_id, attempt,
                           corrects_id, speaker, purpose, provider, model, input_tokens, cached_tokens,
                           cache_write_tokens, output_tokens, reasoning_tokens, price_source, cost, currency,
                           source, outcome, billable, billable_reason, created_at, key_id, correction_number,
                           corrects_known, corrected_by, correction_reason)
SELECT o.organization_id, c.last_seq, $10, o.session_id, o.turn_id, o.run_id, o.step_id, o.attempt, o.id,
       o.speaker, o.purpose, o.provider, o.model, $3, $4, $5, $6, $7, 'correction', $8, o.currency, 'manual',
       o.outcome, o.billable, o.billable_reason, $11, o.key_id, $12, $9, $13, $14
  FROM original o, counter c
RETURNING seq
"""


async def insert(
    conn: Connection,
    organization_id: UUID,
    original_id: UUID,
    difference: Difference,
    *,
    corrects_known: bool,
    entry_id: UUID,
    at: datetime,
    number: int,
    by: bytes,
    reason: str,
) -> int:
    """Add a correction to the ledger and its differences to the totals; answers its sequence number.

    `corrects_known` says that the cost was known before. The caller holds the session's totals and has read
    the chain since: the database refuses a number that is not the next, and amounts below nothing.
    """
    seq: int = await conn.fetchval(
        _INSERT, organization_id, original_id, *difference, corrects_known, entry_id, at, number, by, reason
    )
    return seq
