"""Runs: a runner's right to a turn. The lease gives liveness, the session's epoch gives safety."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class ClaimedRow(NamedTuple):
    """A turn that this runner may now execute."""

    organization_id: UUID
    session_id: UUID
    turn_id: UUID
    run_id: UUID
    attempt: int
    epoch: int
    is_first: bool
    """Nobody has run the turn before."""
    is_take_over: bool
    """It was taken from a run whose lease had run out."""


# A skip scan finds the organizations that wait, each with its oldest pending turn, in one look at the index
# per organization. Of those with the fewest running the oldest claimable turn is taken.
# The session's row is the one that is locked: whoever commits or claims at this moment holds it, and the
# next candidate is taken instead. Two claims that both believe in one turn meet at the index runs_running.
# `offered` asks its questions by subqueries, row by row along the index of pending turns: joined, they would
# be answered for the whole backlog at every claim. It offers more than one turn, since some may be locked,
# and looks at more than an organization may have running and queued behind.
# The turn's row is locked too, so that its state is judged as it is then: a turn that was parked meanwhile
# stays the active one, and must not be claimed before its approvals are decided.
_CLAIM = """
WITH RECURSIVE waiting AS (
    (SELECT t.organization_id, t.created_at
       FROM turns t
      WHERE t.state = 'pending'
      ORDER BY t.organization_id, t.created_at
      LIMIT 1)
 UNION ALL
    SELECT n.organization_id, n.created_at
      FROM waiting w
     CROSS JOIN LATERAL (
         SELECT t.organization_id, t.created_at
           FROM turns t
          WHERE t.state = 'pending' AND t.organization_id > w.organization_id
          ORDER BY t.organization_id, t.created_at
          LIMIT 1
     ) n
), ranked AS (
    SELECT w.organization_id, w.created_at,
           (SELECT count(*) FROM runs r
             WHERE r.organization_id = w.organization_id AND r.state = 'running'
               AND r.lease_expires_at > now()) AS running_count
      FROM waiting w
), chosen AS MATERIALIZED (
    SELECT organization_id, running_count
      FROM ranked
     WHERE running_count < $4
     ORDER BY running_count, created_at
     LIMIT 8
), offered AS MATERIALIZED (
    SELECT c.running_count, t.organization_id, t.session_id, t.turn_id, t.created_at
      FROM chosen c
     CROSS JOIN LATERAL (
         SELECT t.organization_id, t.session_id, t.id AS turn_id, t.created_at
           FROM (SELECT organization_id, session_id, id, created_at
                   FROM turns
                  WHERE organization_id = c.organization_id AND state = 'pending'
                  ORDER BY created_at
                  LIMIT 2000) t
          WHERE t.id = (SELECT s.active_turn_id FROM sessions s
                         WHERE s.organization_id = t.organization_id AND s.id = t.session_id)
            AND now() >= COALESCE((SELECT r.lease_expires_at FROM runs r
                                    WHERE r.organization_id = t.organization_id AND r.turn_id = t.id
                                      AND r.state = 'running'), '-infinity')
          ORDER BY t.created_at
          LIMIT 8
     ) t
), candidate AS (
    SELECT s.organization_id, s.id AS session_id, o.turn_id
      FROM offered o
      JOIN sessions s ON s.organization_id = o.organization_id AND s.id = o.session_id
                     AND s.active_turn_id = o.turn_id
      JOIN turns t ON t.organization_id = o.organization_id AND t.id = o.turn_id AND t.state = 'pending'
     ORDER BY o.running_count, o.created_at
     LIMIT 1
       FOR UPDATE OF s, t SKIP LOCKED
), lost AS (
    UPDATE runs r SET state = 'lost', ended_at = now()
      FROM candidate c
     WHERE r.organization_id = c.organization_id AND r.turn_id = c.turn_id AND r.state = 'running'
 RETURNING r.attempt
), raised AS (
    UPDATE sessions s SET epoch = s.epoch + 1
      FROM candidate c
     WHERE s.organization_id = c.organization_id AND s.id = c.session_id
 RETURNING s.organization_id, s.id AS session_id, c.turn_id, s.epoch
)
INSERT INTO runs (organization_id, id, session_id, turn_id, attempt, epoch, runner, started_at, state,
                  lease_expires_at)
SELECT d.organization_id, $1, d.session_id, d.turn_id,
       COALESCE((SELECT max(attempt) + 1 FROM lost),
                (SELECT max(r.attempt) FROM runs r
                  WHERE r.organization_id = d.organization_id AND r.turn_id = d.turn_id),
                1),
       d.epoch, $2, now(), 'running', now() + $3 * interval '1 second'
  FROM raised d
RETURNING organization_id, session_id, turn_id, id, attempt, epoch,
          NOT EXISTS (SELECT FROM runs r WHERE r.organization_id = runs.organization_id
                                           AND r.turn_id = runs.turn_id AND r.id <> runs.id),
          EXISTS (SELECT FROM lost)
"""


async def claim(
    conn: Connection, *, run_id: UUID, runner: str, lease_seconds: float, organization_turns_max: int
) -> ClaimedRow | None:
    """Take the oldest turn that waits, of the organization with the fewest running; None when none waits.

    Organizations with `organization_turns_max` running are passed over. Claims at the same moment do not see
    each other's, so an organization may run as many more as there are processes.

    Raises:
        asyncpg.UniqueViolationError: another runner took the same turn at this moment; claim again.
    """
    row = await conn.fetchrow(_CLAIM, run_id, runner, lease_seconds, organization_turns_max)
    return None if row is None else ClaimedRow(*row.values())


_HEARTBEAT = """
UPDATE runs SET lease_expires_at = now() + $3 * interval '1 second'
 WHERE organization_id = $1 AND id = $2 AND state = 'running'
RETURNING id
"""


async def heartbeat(conn: Connection, organization_id: UUID, run_id: UUID, *, lease_seconds: float) -> bool:
    """Prolong a lease; False when the run has lost its turn."""
    return await conn.fetchval(_HEARTBEAT, organization_id, run_id, lease_seconds) is not None


class LeakedRow(NamedTuple):
    """A call whose end nobody will tell: its process is gone, and no run will take its turn up."""

    organization_id: UUID
    session_id: UUID
    turn_id: UUID
    run_id: UUID
    step_id: UUID
    kind: str
    model: str | None


_LEAKED = """
SELECT s.organization_id, s.session_id, s.turn_id, s.run_id, s.id, s.kind, s.model
  FROM steps s
 WHERE s.state = 'started' AND s.started_at < now() - $1 * interval '1 second'
   AND EXISTS (SELECT FROM runs r
                WHERE r.organization_id = s.organization_id AND r.id = s.run_id
                  AND r.ended_at < now() - $1 * interval '1 second')
   AND NOT EXISTS (SELECT FROM turns t
                    WHERE t.organization_id = s.organization_id AND t.id = s.turn_id
                      AND t.state IN ('pending', 'awaiting_approval'))
 ORDER BY s.started_at
 LIMIT $2
"""


async def leaked(conn: Connection, *, older_than_seconds: float, limit: int) -> list[LeakedRow]:
    """Find calls of any organization whose run ended this long ago, with its turn, and that never ended."""
    return [LeakedRow(*row.values()) for row in await conn.fetch(_LEAKED, older_than_seconds, limit)]


_RELEASE = """
UPDATE runs SET state = 'finished', ended_at = now()
 WHERE organization_id = $1 AND id = $2 AND state = 'running'
"""


async def release(conn: Connection, organization_id: UUID, run_id: UUID) -> None:
    """End a run that still holds its turn, so that another may claim the turn at once."""
    await conn.execute(_RELEASE, organization_id, run_id)


class StepIntent(NamedTuple):
    """A model or tool call that is about to be made."""

    id: UUID
    kind: str
    purpose: str
    speaker: str
    provider: str | None
    model: str | None
    started_at: datetime
    request: bytes


# The key is copied from the turn, which a DELETE of the session may remove before the call is settled. What
# has not the form of our keys is left out: nothing may keep a call from being recorded.
_START_STEP = """
INSERT INTO steps (organization_id, session_id, turn_id, run_id, attempt, id, kind, purpose, speaker,
                   provider, model, started_at, request, state, key_id, reserved)
SELECT r.organization_id, r.session_id, r.turn_id, r.id, r.attempt, $3, $4, $5, $6, $7, $8, $9, $10,
       'started',
       (SELECT substring(t.body #>> '{created_by,key_id}' FROM '^key_([0-9a-f]{32})$')::uuid
          FROM turns t
         WHERE t.organization_id = r.organization_id AND t.id = r.turn_id),
       $11
  FROM runs r
 WHERE r.organization_id = $1 AND r.id = $2 AND r.state = 'running'
   AND ($11::numeric IS NOT NULL
        OR NOT EXISTS (SELECT FROM budgets b WHERE b.organization_id = r.organization_id))
   FOR SHARE OF r
RETURNING id
"""


async def start_step(
    conn: Connection,
    organization_id: UUID,
    run_id: UUID,
    step: StepIntent,
    *,
    reserved: Decimal | None = None,
) -> bool:
    """Record the intent of a call before it is made; False when the run has lost its turn.

    Without an amount that is `reserved` for it also False when the organization has a budget.
    """
    return await conn.fetchval(_START_STEP, organization_id, run_id, *step, reserved) is not None


_END_STEP = """
UPDATE steps
   SET state = $3, ended_at = $4, result = CASE WHEN is_redacted THEN NULL ELSE $5::json END
 WHERE organization_id = $1 AND id = $2 AND state = 'started' AND kind = 'tool'
RETURNING id
"""


async def end_step(
    conn: Connection,
    organization_id: UUID,
    step_id: UUID,
    *,
    state: str,
    ended_at: datetime,
    result: bytes | None,
) -> bool:
    """Record how a tool call ended, whoever holds its turn now; False when that is recorded already.

    Model calls end by `usage.settle`, which writes what they cost.
    """
    return await conn.fetchval(_END_STEP, organization_id, step_id, state, ended_at, result) is not None


class StepRow(NamedTuple):
    """A step of a turn, with its ledger row where it has one."""

    id: UUID
    run_id: UUID
    kind: str
    purpose: str
    speaker: str
    provider: str | None
    model: str | None
    state: str
    started_at: datetime
    ended_at: datetime | None
    request: bytes
    result: bytes | None
    latency_ms: int | None
    input_tokens: int | None
    cached_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    cost: object
    currency: str | None


# Runs come in the order of their epochs: the clocks of two machines need not agree on it.
_STEPS = """
SELECT s.id, s.run_id, s.kind, s.purpose, s.speaker, s.provider, s.model, s.state, s.started_at, s.ended_at,
       s.request, s.result, u.latency_ms, u.input_tokens, u.cached_tokens, u.cache_write_tokens,
       u.output_tokens, u.reasoning_tokens, u.cost, u.currency
  FROM steps s
  JOIN runs r ON r.organization_id = s.organization_id AND r.id = s.run_id
  LEFT JOIN usage_entries u ON u.organization_id = s.organization_id AND u.step_id = s.id
                           AND u.corrects_id IS NULL
 WHERE s.organization_id = $1 AND s.turn_id = $2
 ORDER BY r.epoch, s.started_at, s.id
"""


async def steps(conn: Connection, organization_id: UUID, turn_id: UUID) -> list[StepRow]:
    """Read the steps of a turn, of every run, in the order in which they were started."""
    rows = await conn.fetch(_STEPS, organization_id, turn_id)
    return [StepRow(*row.values()) for row in rows]


_LOCK_CURRENT = """
SELECT id FROM runs WHERE organization_id = $1 AND turn_id = $2 AND state = 'running' FOR UPDATE
"""


async def lock_current(conn: Connection, organization_id: UUID, turn_id: UUID) -> UUID | None:
    """Hold the run of a turn until the transaction ends; None when no runner holds the turn."""
    run_id: UUID | None = await conn.fetchval(_LOCK_CURRENT, organization_id, turn_id)
    return run_id
