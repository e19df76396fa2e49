"""The ledger: a call settles in the statement that records its step's end; the feed that billing reads."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class Settlement(NamedTuple):
    """What a finished call cost, and what it answered."""

    state: str
    ended_at: datetime
    result: bytes | None
    entry_id: UUID
    model: str
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    unit_prices: bytes | None
    price_source: str | None
    cost: Decimal | None
    currency: str
    source: str
    billable: bool
    billable_reason: str
    latency_ms: int


# Guarded by neither revision nor epoch: what a call cost always commits. Only the first settlement of a
# step finds it `started`. The organization's counter is taken last and held until the commit, so that the
# sequence has no gaps and becomes visible in order.
_SETTLE = """
WITH ended AS (
    UPDATE steps
       SET state = $3, ended_at = $4, result = CASE WHEN is_redacted THEN NULL ELSE $5::json END
     WHERE organization_id = $1 AND id = $2 AND state = 'started'
 RETURNING organization_id, session_id, turn_id, run_id, id, attempt, purpose, speaker, provider, key_id
), totals AS (
    INSERT INTO session_totals AS t (organization_id, session_id, call_count, input_tokens, cached_tokens,
                                     cache_write_tokens, output_tokens, reasoning_tokens, cost, unknown_count)
    SELECT organization_id, session_id, 1, $8, $9, $10, $11, $12, COALESCE($15::numeric, 0),
           CASE WHEN $15::numeric IS NULL THEN 1 ELSE 0 END
      FROM ended
    ON CONFLICT (organization_id, session_id) DO UPDATE
       SET call_count = t.call_count + 1,
           input_tokens = t.input_tokens + EXCLUDED.input_tokens,
           cached_tokens = t.cached_tokens + EXCLUDED.cached_tokens,
           cache_write_tokens = t.cache_write_tokens + EXCLUDED.cache_write_tokens,
           output_tokens = t.output_tokens + EXCLUDED.output_tokens,
           reasoning_tokens = t.reasoning_tokens + EXCLUDED.reasoning_tokens,
           cost = t.cost + EXCLUDED.cost,
           unknown_count = t.unknown_count + EXCLUDED.unknown_count
 RETURNING t.organization_id
), counter AS (
    UPDATE organization_ledgers l
       SET last_seq = l.last_seq + 1,
           call_count = l.call_count + 1,
           input_tokens = l.input_tokens + $8,
           cached_tokens = l.cached_tokens + $9,
           cache_write_tokens = l.cache_write_tokens + $10,
           output_tokens = l.output_tokens + $11,
           reasoning_tokens = l.reasoning_tokens + $12,
           cost = l.cost + COALESCE($15::numeric, 0),
           unknown_count = l.unknown_count + CASE WHEN $15::numeric IS NULL THEN 1 ELSE 0 END
      FROM totals t
     WHERE l.organization_id = t.organization_id
 RETURNING l.last_seq
)
INSERT INTO usage_entries (organization_id, seq, id, session_id, turn_id, run_id, step_id, attempt, speaker,
                           purpose, provider, model, input_tokens, cached_tokens, cache_write_tokens,
                           output_tokens, reasoning_tokens, unit_prices, price_source, cost, currency, source,
                           outcome, billable, billable_reason, latency_ms, created_at, key_id)
SELECT e.organization_id, c.last_seq, $6, e.session_id, e.turn_id, e.run_id, e.id, e.attempt, e.speaker,
       e.purpose, e.provider, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $3, $18, $19, $20, $4,
       e.key_id
  FROM ended e, counter c
RETURNING seq
"""


async def settle(
    conn: Connection, organization_id: UUID, step_id: UUID, settlement: Settlement
) -> int | None:
    """End a step, add its row to the ledger and its amounts to the totals; answers the row's sequence number.

    None when the step is settled already: nothing is written a second time.
    """
    seq: int | None = await conn.fetchval(_SETTLE, organization_id, step_id, *settlement)
    return seq


# A run that was taken for dead, and its call settled as unknown, may still come and tell what the call cost.
# It stays unbilled: whoever took the turn over has made a call of its own, and a turn is billed once.
_CORRECT = """
WITH original AS (
    SELECT organization_id, session_id, turn_id, run_id, step_id, id, attempt, speaker, purpose, provider,
           input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
           billable, billable_reason, key_id
      FROM usage_entries o
     WHERE organization_id = $1 AND step_id = $2 AND corrects_id IS NULL AND source = 'unknown'
       AND cost IS NULL AND $15::text <> 'unknown'
       AND NOT EXISTS (SELECT FROM usage_entries c
                        WHERE c.organization_id = o.organization_id AND c.corrects_id = o.id)
), totals AS (
    UPDATE session_totals t
       SET input_tokens = t.input_tokens + $7 - o.input_tokens,
           cached_tokens = t.cached_tokens + $8 - o.cached_tokens,
           cache_write_tokens = t.cache_write_tokens + $9 - o.cache_write_tokens,
           output_tokens = t.output_tokens + $10 - o.output_tokens,
           reasoning_tokens = t.reasoning_tokens + $11 - o.reasoning_tokens,
           cost = t.cost + COALESCE($14::numeric, 0),
           unknown_count = t.unknown_count - CASE WHEN $14::numeric IS NULL THEN 0 ELSE 1 END
      FROM original o
     WHERE t.organization_id = o.organization_id AND t.session_id = o.session_id
 RETURNING t.organization_id
), counter AS (
    UPDATE organization_ledgers l
       SET last_seq = l.last_seq + 1,
           input_tokens = l.input_tokens + $7 - o.input_tokens,
           cached_tokens = l.cached_tokens + $8 - o.cached_tokens,
           cache_write_tokens = l.cache_write_tokens + $9 - o.cache_write_tokens,
           output_tokens = l.output_tokens + $10 - o.output_tokens,
           reasoning_tokens = l.reasoning_tokens + $11 - o.reasoning_tokens,
           cost = l.cost + COALESCE($14::numeric, 0),
           unknown_count = l.unknown_count - CASE WHEN $14::numeric IS NULL THEN 0 ELSE 1 END
      FROM totals t, original o
     WHERE l.organization_id = t.organization_id
 RETURNING l.last_seq
)
INSERT INTO usage_entries (organization_id, seq, id, session_id, turn_id, run_id, step_id, attempt,
                           corrects_id, speaker, purpose, provider, model, input_tokens, cached_tokens,
                           cache_write_tokens, output_tokens, reasoning_tokens, unit_prices, price_source,
                           cost, currency, source, outcome, billable, billable_reason, latency_ms, created_at,
                           key_id)
SELECT o.organization_id, c.last_seq, $5, o.session_id, o.turn_id, o.run_id, o.step_id, o.attempt, o.id,
       o.speaker, o.purpose, o.provider, $6, $7 - o.input_tokens, $8 - o.cached_tokens,
       $9 - o.cache_write_tokens, $10 - o.output_tokens, $11 - o.reasoning_tokens, $12, $13, $14, $17, $15,
       $3, o.billable, o.billable_reason, $16, $4, o.key_id
  FROM original o, counter c
RETURNING seq
"""


async def correct(
    conn: Connection, organization_id: UUID, step_id: UUID, settlement: Settlement
) -> int | None:
    """Add what a call cost that was settled as unknown: a row of differences; answers its sequence number.

    Who pays is not corrected: it stays as the original row says.

    None, with nothing written, when the call's cost is known or was corrected before.

    Raises:
        asyncpg.UniqueViolationError: constraint `usage_entries_correction`: it was corrected at this moment.
    """
    seq: int | None = await conn.fetchval(
        _CORRECT,
        organization_id,
        step_id,
        settlement.state,
        settlement.ended_at,
        settlement.entry_id,
        settlement.model,
        settlement.input_tokens,
        settlement.cached_tokens,
        settlement.cache_write_tokens,
        settlement.output_tokens,
        settlement.reasoning_tokens,
        settlement.unit_prices,
        settlement.price_source,
        settlement.cost,
        settlement.source,
        settlement.latency_ms,
        settlement.currency,
    )
    return seq


class EntryRow(NamedTuple):
    """One row of the ledger."""

    seq: int
    id: UUID
    session_id: UUID
    turn_id: UUID
    run_id: UUID
    step_id: UUID
    attempt: int
    corrects_id: UUID | None
    speaker: str
    purpose: str
    provider: str
    model: str
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    unit_prices: bytes | None
    price_source: str | None
    cost: Decimal | None
    currency: str
    source: str
    outcome: str
    billable: bool
    billable_reason: str
    latency_ms: int | None
    created_at: datetime
    key_id: UUID | None
    correction_number: int
    corrected_by: bytes | None
    correction_reason: str | None


_ENTRIES = """
SELECT seq, id, session_id, turn_id, run_id, step_id, attempt, corrects_id, speaker, purpose, provider, model,
       input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, unit_prices,
       price_source, cost, currency, source, outcome, billable, billable_reason, latency_ms, created_at,
       key_id, correction_number, corrected_by, correction_reason
  FROM usage_entries
 WHERE organization_id = $1 AND seq > $2
 ORDER BY seq
 LIMIT $3
"""

# A session's few entries are found by its id and put in order: the ledger is long, and they lie far apart.
_ENTRIES_OF_SESSION = """
WITH found AS MATERIALIZED (
    SELECT seq, id, session_id, turn_id, run_id, step_id, attempt, corrects_id, speaker, purpose, provider,
           model, input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
           unit_prices, price_source, cost, currency, source, outcome, billable, billable_reason, latency_ms,
           created_at, key_id, correction_number, corrected_by, correction_reason
      FROM usage_entries
     WHERE organization_id = $1 AND session_id = $3 AND seq > $2
)
SELECT * FROM found ORDER BY seq LIMIT $4
"""


async def entries(
    conn: Connection, organization_id: UUID, *, after: int, session_id: UUID | None, limit: int
) -> list[EntryRow]:
    """Read the ledger behind a sequence number, in order; of one session if given."""
    if session_id is None:
        rows = await conn.fetch(_ENTRIES, organization_id, after, limit)
    else:
        rows = await conn.fetch(_ENTRIES_OF_SESSION, organization_id, after, session_id, limit)
    return [EntryRow(*row.values()) for row in rows]


# Along the index by turn: the ledger of a large organization is not read for one session of it.
_OF_SESSION = """
SELECT seq, id, session_id, turn_id, run_id, step_id, attempt, corrects_id, speaker, purpose, provider, model,
       input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, unit_prices,
       price_source, cost, currency, source, outcome, billable, billable_reason, latency_ms, created_at,
       key_id, correction_number, corrected_by, correction_reason
  FROM usage_entries
 WHERE organization_id = $1 AND session_id = $2 AND turn_id >= $3 AND (turn_id, seq) > ($3, $4)
 ORDER BY turn_id, seq
 LIMIT $5
"""


async def entries_of_session(
    conn: Connection, organization_id: UUID, session_id: UUID, *, turn_id: UUID, after: int, limit: int
) -> list[EntryRow]:
    """Read a session's rows of the ledger turn by turn, behind row `after` of a turn."""
    rows = await conn.fetch(_OF_SESSION, organization_id, session_id, turn_id, after, limit)
    return [EntryRow(*row.values()) for row in rows]


class TotalsRow(NamedTuple):
    """Sums over ledger rows."""

    call_count: int
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: Decimal
    unknown_count: int


class HeadRow(NamedTuple):
    """The end of an organization's ledger, and its totals."""

    last_seq: int
    archived_through: int
    """The highest number that has left the ledger; 0 when none has."""
    totals: TotalsRow


_HEAD = """
SELECT last_seq, archived_through, call_count, input_tokens, cached_tokens, cache_write_tokens, output_tokens,
       reasoning_tokens, cost, unknown_count
  FROM organization_ledgers WHERE organization_id = $1
"""


async def head(conn: Connection, organization_id: UUID) -> HeadRow:
    """Read the last sequence number and the totals of an organization that is known to exist."""
    row = await conn.fetchrow(_HEAD, organization_id)
    assert row is not None
    last_seq, archived_through, *totals = row.values()
    return HeadRow(last_seq, archived_through, TotalsRow(*totals))


_SESSION_TOTALS = """
SELECT call_count, input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost,
       unknown_count
  FROM session_totals WHERE organization_id = $1 AND session_id = $2
"""


async def session_totals(conn: Connection, organization_id: UUID, session_id: UUID) -> TotalsRow:
    """Read the sums of a session's ledger rows; zeros when it has none."""
    row = await conn.fetchrow(_SESSION_TOTALS, organization_id, session_id)
    return TotalsRow(0, 0, 0, 0, 0, 0, Decimal(0), 0) if row is None else TotalsRow(*row.values())


_IMPORTED_TOTALS = """
SELECT count(*) FILTER (WHERE i.corrects_id IS NULL), COALESCE(sum(i.input_tokens), 0)::bigint,
       COALESCE(sum(i.cached_tokens), 0)::bigint, COALESCE(sum(i.cache_write_tokens), 0)::bigint,
       COALESCE(sum(i.output_tokens), 0)::bigint, COALESCE(sum(i.reasoning_tokens), 0)::bigint,
       COALESCE(sum(i.cost), 0),
       count(*) FILTER (WHERE i.corrects_id IS NULL AND i.cost IS NULL AND NOT EXISTS (
           SELECT FROM imported_usage_entries c
            WHERE c.organization_id = i.organization_id AND c.session_id = i.session_id
              AND c.corrects_id = i.id AND c.cost IS NOT NULL))
  FROM imported_usage_entries i
 WHERE i.organization_id = $1 AND i.session_id = $2
"""


async def imported_totals(conn: Connection, organization_id: UUID, session_id: UUID) -> TotalsRow:
    """Sum what an imported session had cost where it came from; zeros for any other."""
    row = await conn.fetchrow(_IMPORTED_TOTALS, organization_id, session_id)
    assert row is not None
    return TotalsRow(*row.values())


_OF_STRETCHES = """
SELECT count(*) FILTER (WHERE u.corrects_id IS NULL), COALESCE(sum(u.input_tokens), 0)::bigint,
       COALESCE(sum(u.cached_tokens), 0)::bigint,
       COALESCE(sum(u.cache_write_tokens), 0)::bigint, COALESCE(sum(u.output_tokens), 0)::bigint,
       COALESCE(sum(u.reasoning_tokens), 0)::bigint, COALESCE(sum(u.cost), 0),
       count(*) FILTER (WHERE u.cost IS NULL AND u.corrects_id IS NULL)
           - count(*) FILTER (WHERE u.cost IS NOT NULL AND u.corrects_id IS NOT NULL AND NOT u.corrects_known)
  FROM unnest($3::int[], $4::int[], $5::int[]) AS s(branch, first, until)
  JOIN turns t ON t.organization_id = $1 AND t.session_id = $2 AND t.branch = s.branch
              AND t.position >= s.first AND t.position < s.until
  JOIN usage_entries u ON u.organization_id = t.organization_id AND u.session_id = t.session_id
                      AND u.turn_id = t.id
"""


async def of_stretches(
    conn: Connection,
    organization_id: UUID,
    session_id: UUID,
    *,
    branches: list[int],
    firsts: list[int],
    ends: list[int],
) -> TotalsRow:
    """Sum the ledger rows of the turns at positions `first .. end - 1` of some branches."""
    row = await conn.fetchrow(_OF_STRETCHES, organization_id, session_id, branches, firsts, ends)
    assert row is not None
    return TotalsRow(*row.values())
