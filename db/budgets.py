"""Budgets: what may be spent, what was, and what the calls under way are taken to cost.

What was spent is summed from the ledger. A budget remembers the sum up to a sequence number; the ledger is
dense and in commit order, so what is added behind that number is all that is missing. Reserved is what the
calls that are started and not settled are taken to cost: a settlement moves a call from there to the ledger
in one statement.
"""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class BudgetRow(NamedTuple):
    """A budget as it stands at an instant."""

    key_id: UUID | None
    period: str
    time_zone: str
    hard_limit: Decimal | None
    warn_at: Decimal | None
    reserve_per_call: Decimal
    set_at: datetime
    set_by: bytes
    counted_from: datetime | None
    counted_seq: int
    starts_at: datetime
    """The beginning of the period; 1970 for all time."""
    ends_at: datetime | None
    """None for all time."""
    last_seq: int
    """Of the ledger; `spent` counts up to there."""
    spent: Decimal
    reserved: Decimal
    call_count: int
    """Calls under way."""


_STATES = """
SELECT b.key_id, b.period, b.time_zone, b.hard_limit, b.warn_at, b.reserve_per_call, b.set_at, b.set_by,
       b.counted_from, b.counted_seq, p.starts_at, p.ends_at, l.last_seq, s.spent, r.reserved, r.call_count
  FROM budgets b
  JOIN organization_ledgers l ON l.organization_id = b.organization_id
 CROSS JOIN LATERAL (
       SELECT CASE b.period
              WHEN 'total' THEN 'epoch'::timestamptz
              ELSE date_trunc(b.period, $3::timestamptz AT TIME ZONE b.time_zone) AT TIME ZONE b.time_zone
              END AS starts_at,
              CASE b.period
              WHEN 'total' THEN NULL
              ELSE (date_trunc(b.period, $3::timestamptz AT TIME ZONE b.time_zone)
                    + CASE b.period WHEN 'day' THEN interval '1 day' ELSE interval '1 month' END)
                   AT TIME ZONE b.time_zone
              END AS ends_at) p
 CROSS JOIN LATERAL (
       SELECT CASE WHEN b.counted_from = p.starts_at
              THEN b.counted_cost + (
                   SELECT COALESCE(sum(u.cost), 0) FROM usage_entries u
                    WHERE u.organization_id = b.organization_id AND u.seq > b.counted_seq
                      AND u.created_at >= p.starts_at AND (b.key_id IS NULL OR u.key_id = b.key_id))
              ELSE (
                   SELECT COALESCE(sum(u.cost), 0) FROM usage_entries u
                    WHERE u.organization_id = b.organization_id AND u.created_at >= p.starts_at
                      AND (b.key_id IS NULL OR u.key_id = b.key_id))
                 + (-- What has left the ledger is older than any day or month.
                   SELECT COALESCE(sum(a.cost), 0) FROM archived_usage a
                    WHERE a.organization_id = b.organization_id AND b.period = 'total'
                      AND (b.key_id IS NULL OR a.key_id = b.key_id))
              END AS spent) s
 CROSS JOIN LATERAL (
       SELECT COALESCE(sum(c.reserved), 0) AS reserved, count(*) AS call_count
         FROM steps c
        WHERE c.organization_id = b.organization_id AND c.state = 'started' AND c.reserved IS NOT NULL
          AND (b.key_id IS NULL OR c.key_id = b.key_id)) r
 WHERE b.organization_id = $1 AND ($2::uuid IS NULL OR b.key_id IS NULL OR b.key_id = $2)
 ORDER BY b.key_id NULLS FIRST, b.period
"""


async def states(
    conn: Connection, organization_id: UUID, *, key_id: UUID | None, at: datetime
) -> list[BudgetRow]:
    """Read the organization's budgets as they stand: all of them, or those that a key is under."""
    rows = await conn.fetch(_STATES, organization_id, key_id, at)
    return [BudgetRow(*row.values()) for row in rows]


_ARE_THERE = """
SELECT EXISTS (SELECT FROM budgets WHERE organization_id = $1)
"""


async def are_there(conn: Connection, organization_id: UUID) -> bool:
    """Whether the organization has any budget."""
    found: bool = await conn.fetchval(_ARE_THERE, organization_id)
    return found


# Only if nobody has remembered another sum since: it would be one of another moment.
_REMEMBER = """
UPDATE budgets SET counted_from = $4, counted_seq = $5, counted_cost = $6
 WHERE organization_id = $1 AND key_id IS NOT DISTINCT FROM $2 AND period = $3
   AND counted_seq = $7 AND counted_from IS NOT DISTINCT FROM $8
"""


async def remember(conn: Connection, organization_id: UUID, row: BudgetRow) -> None:
    """Remember what was counted, so that the next check reads less."""
    await conn.execute(
        _REMEMBER,
        organization_id,
        row.key_id,
        row.period,
        row.starts_at,
        row.last_seq,
        row.spent,
        row.counted_seq,
        row.counted_from,
    )


_PUT = """
INSERT INTO budgets (organization_id, key_id, period, time_zone, hard_limit, warn_at, reserve_per_call,
                     set_at, set_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (organization_id, key_id, period) DO UPDATE
   SET time_zone = EXCLUDED.time_zone, hard_limit = EXCLUDED.hard_limit, warn_at = EXCLUDED.warn_at,
       reserve_per_call = EXCLUDED.reserve_per_call, set_at = EXCLUDED.set_at, set_by = EXCLUDED.set_by
"""


async def put(
    conn: Connection,
    organization_id: UUID,
    *,
    key_id: UUID | None,
    period: str,
    time_zone: str,
    hard_limit: Decimal | None,
    warn_at: Decimal | None,
    reserve_per_call: Decimal,
    at: datetime,
    by: bytes,
) -> None:
    """Set the budget of a period, for a key or for all of the organization.

    Raises:
        asyncpg.ForeignKeyViolationError: the organization has no such key.
    """
    await conn.execute(
        _PUT,
        organization_id,
        key_id,
        period,
        time_zone,
        hard_limit,
        warn_at,
        reserve_per_call,
        at,
        by,
    )


_DELETE = """
DELETE FROM budgets WHERE organization_id = $1 AND key_id IS NOT DISTINCT FROM $2 AND period = $3
RETURNING period
"""


async def delete(conn: Connection, organization_id: UUID, *, key_id: UUID | None, period: str) -> bool:
    """Remove a budget; False when there is none."""
    return await conn.fetchval(_DELETE, organization_id, key_id, period) is not None


# All of them, in one order, so that calls of different keys do not wait for each other in rings.
_LOCK = """
SELECT period FROM budgets WHERE organization_id = $1 ORDER BY key_id, period FOR NO KEY UPDATE
"""


async def lock(conn: Connection, organization_id: UUID) -> bool:
    """Hold the budgets until the transaction ends: calls begin one after the other. False without any."""
    return bool(await conn.fetch(_LOCK, organization_id))


class BeginningRow(NamedTuple):
    """A run that is about to make a call."""

    key_id: UUID | None
    has_called: bool
    """The turn has made a model call before, in this run or in an earlier one."""
    estimate: Decimal | None
    """The highest cost of the last calls of the same model; None when nothing is known of it."""


# The model as it was asked for is in the step: a ledger row has the name that the provider gave.
_BEGINNING = """
SELECT substring(t.body #>> '{created_by,key_id}' FROM '^key_([0-9a-f]{32})$')::uuid AS key_id,
       EXISTS (SELECT FROM steps s
                WHERE s.organization_id = r.organization_id AND s.turn_id = r.turn_id AND s.kind = 'model')
           AS has_called,
       (SELECT max(u.cost)
          FROM usage_entries u
          JOIN steps s ON s.organization_id = u.organization_id AND s.id = u.step_id
         WHERE u.organization_id = r.organization_id AND u.seq > l.last_seq - 200 AND u.corrects_id IS NULL
           AND s.provider = $3 AND s.model = $4) AS estimate
  FROM runs r
  JOIN organization_ledgers l ON l.organization_id = r.organization_id
  LEFT JOIN turns t ON t.organization_id = r.organization_id AND t.id = r.turn_id
 WHERE r.organization_id = $1 AND r.id = $2 AND r.state = 'running'
"""


async def beginning(
    conn: Connection, organization_id: UUID, run_id: UUID, *, provider: str | None, model: str | None
) -> BeginningRow | None:
    """Read what there is to know before a call; None when the run has lost its turn."""
    row = await conn.fetchrow(_BEGINNING, organization_id, run_id, provider, model)
    return None if row is None else BeginningRow(*row.values())
