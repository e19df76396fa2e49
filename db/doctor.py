"""Reconciliation: queries over every organization that must return no rows.

Each answers (organization_id, subject, detail): what is wrong with which row, in words for an operator. They
read whole tables and are run by hand or on a schedule, never by a request.
"""

from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class FindingRow(NamedTuple):
    """One thing that should not be."""

    organization_id: UUID
    subject: str
    detail: str


# A gap, a repetition or a counter that ran ahead would let a billing reader miss or repeat a row.
_LEDGER_DENSITY = """
SELECT l.organization_id, 'organization' AS subject,
       format('counter %s, %s rows and %s in archives, the last %s', l.last_seq, count(u.seq),
              l.archived_count, GREATEST(max(u.seq), l.archived_through)) AS detail
  FROM organization_ledgers l
  LEFT JOIN usage_entries u ON u.organization_id = l.organization_id
 GROUP BY l.organization_id, l.last_seq, l.archived_count, l.archived_through
HAVING count(u.seq) + l.archived_count <> l.last_seq
    OR GREATEST(max(u.seq), l.archived_through) <> l.last_seq
    OR count(u.seq) FILTER (WHERE u.seq > l.archived_through) <> l.last_seq - l.archived_through
"""

# A correction with a cost makes one unknown less, unless the cost that it corrects was known.
_ORGANIZATION_TOTALS = """
SELECT l.organization_id, 'organization' AS subject,
       format('totals say %s calls, %s input, %s output, cost %s, %s unknown; the ledger %s, %s, %s, %s, %s',
              l.call_count, l.input_tokens, l.output_tokens, l.cost, l.unknown_count,
              s.call_count, s.input_tokens, s.output_tokens, s.cost, s.unknown_count) AS detail
  FROM organization_ledgers l
 CROSS JOIN LATERAL (
       SELECT COALESCE(sum(call_count), 0) AS call_count,
              COALESCE(sum(input_tokens), 0) AS input_tokens,
              COALESCE(sum(cached_tokens), 0) AS cached_tokens,
              COALESCE(sum(cache_write_tokens), 0) AS cache_write_tokens,
              COALESCE(sum(output_tokens), 0) AS output_tokens,
              COALESCE(sum(reasoning_tokens), 0) AS reasoning_tokens,
              COALESCE(sum(cost), 0) AS cost,
              COALESCE(sum(unknown_count), 0) AS unknown_count
         FROM counted_usage u WHERE u.organization_id = l.organization_id) s
 WHERE (l.call_count, l.input_tokens, l.cached_tokens, l.cache_write_tokens, l.output_tokens,
        l.reasoning_tokens, l.cost, l.unknown_count)
    <> (s.call_count, s.input_tokens, s.cached_tokens, s.cache_write_tokens, s.output_tokens,
        s.reasoning_tokens, s.cost, s.unknown_count)
"""

_SESSION_TOTALS = """
SELECT COALESCE(t.organization_id, s.organization_id) AS organization_id,
       format('session %s', COALESCE(t.session_id, s.session_id)) AS subject,
       format('totals say %s calls, cost %s; the ledger %s calls, cost %s',
              t.call_count, t.cost, s.call_count, s.cost) AS detail
  FROM session_totals t
  FULL JOIN (
       SELECT organization_id, session_id, sum(call_count) AS call_count,
              sum(input_tokens) AS input_tokens, sum(cached_tokens) AS cached_tokens,
              sum(cache_write_tokens) AS cache_write_tokens, sum(output_tokens) AS output_tokens,
              sum(reasoning_tokens) AS reasoning_tokens, COALESCE(sum(cost), 0) AS cost,
              sum(unknown_count) AS unknown_count
         FROM counted_usage GROUP BY organization_id, session_id) s
    ON s.organization_id = t.organization_id AND s.session_id = t.session_id
 WHERE (t.call_count, t.input_tokens, t.cached_tokens, t.cache_write_tokens, t.output_tokens,
        t.reasoning_tokens, t.cost, t.unknown_count)
       IS DISTINCT FROM
       (s.call_count, s.input_tokens, s.cached_tokens, s.cache_write_tokens, s.output_tokens,
        s.reasoning_tokens, s.cost, s.unknown_count)
"""

# The unique index forbids it; a dropped index would not be noticed otherwise.
_DOUBLE_BILL = """
SELECT organization_id, format('step %s', step_id) AS subject, format('%s original rows', count(*)) AS detail
  FROM usage_entries
 WHERE corrects_id IS NULL
 GROUP BY organization_id, step_id
HAVING count(*) > 1
"""

# The trigger forbids it; what a dropped trigger let in would not be noticed otherwise.
_CORRECTIONS = """
SELECT c.organization_id, format('entry %s', c.corrects_id) AS subject,
       format('%s corrections, numbered to %s; nets: input %s, output %s, cost %s', count(*),
              max(c.correction_number), min(o.input_tokens) + sum(c.input_tokens),
              min(o.output_tokens) + sum(c.output_tokens),
              COALESCE(min(o.cost), 0) + COALESCE(sum(c.cost), 0)) AS detail
  FROM usage_entries c
  LEFT JOIN usage_entries o ON o.organization_id = c.organization_id AND o.id = c.corrects_id
                           AND o.corrects_id IS NULL AND o.seq < c.seq AND o.step_id = c.step_id
 WHERE c.corrects_id IS NOT NULL
 GROUP BY c.organization_id, c.corrects_id
HAVING count(o.id) < count(*) OR max(c.correction_number) <> count(*)
    OR count(*) FILTER (WHERE c.cost IS NOT NULL AND NOT c.corrects_known)
           > count(*) FILTER (WHERE o.cost IS NULL)
    OR LEAST(min(o.input_tokens) + sum(c.input_tokens), min(o.cached_tokens) + sum(c.cached_tokens),
             min(o.cache_write_tokens) + sum(c.cache_write_tokens),
             min(o.output_tokens) + sum(c.output_tokens),
             min(o.reasoning_tokens) + sum(c.reasoning_tokens),
             COALESCE(min(o.cost), 0) + COALESCE(sum(c.cost), 0)) < 0
"""

# What a budget remembers of the ledger is what the ledger says.
_BUDGETS = """
SELECT b.organization_id, format('budget of %s, %s', COALESCE(b.key_id::text, 'all'), b.period) AS subject,
       format('remembers %s up to %s; the ledger says %s', b.counted_cost, b.counted_seq, s.cost) AS detail
  FROM budgets b
 CROSS JOIN LATERAL (
       SELECT COALESCE(sum(u.cost), 0) AS cost
         FROM (SELECT cost, key_id FROM usage_entries
                WHERE organization_id = b.organization_id AND seq <= b.counted_seq
                  AND created_at >= b.counted_from
            UNION ALL
               SELECT cost, key_id FROM archived_usage
                WHERE organization_id = b.organization_id AND b.period = 'total') u
        WHERE b.key_id IS NULL OR u.key_id = b.key_id) s
 WHERE b.counted_from IS NOT NULL AND b.counted_cost <> s.cost
"""

# A step of a session that was imported belongs to a run of another installation, which has paid for it. Steps
# may be kept for longer than the entries of their calls.
_UNBILLED_CALL = """
SELECT s.organization_id, format('step %s', s.id) AS subject,
       format('%s at %s without a ledger row', s.state, s.ended_at) AS detail
  FROM steps s
 WHERE s.kind = 'model' AND s.state <> 'started'
   AND NOT EXISTS (SELECT FROM usage_entries u
                    WHERE u.organization_id = s.organization_id AND u.step_id = s.id)
   AND s.id >= (SELECT COALESCE(lowest_uuid(max(p.ends_at)), '00000000-0000-0000-0000-000000000000')
                  FROM partitions p WHERE p.parent = 'usage_entries' AND p.dropped_at IS NOT NULL)
   AND EXISTS (SELECT FROM runs r WHERE r.organization_id = s.organization_id AND r.id = s.run_id)
"""

# An intent belongs to a run that lives, or to a turn that the next run will take up.
_LEAKED_INTENT = """
SELECT s.organization_id, format('step %s', s.id) AS subject,
       format('started at %s; its turn %s has ended', s.started_at, s.turn_id) AS detail
  FROM steps s
  JOIN runs r ON r.organization_id = s.organization_id AND r.id = s.run_id
  LEFT JOIN turns t ON t.organization_id = s.organization_id AND t.id = s.turn_id
 WHERE s.state = 'started' AND r.state <> 'running' AND r.ended_at < now() - interval '1 minute'
   AND (t.id IS NULL OR t.state NOT IN ('pending', 'awaiting_approval'))
"""

_STUCK_TURN = """
SELECT t.organization_id, format('turn %s', t.id) AS subject,
       format('pending since %s, its lease ended at %s', t.created_at, r.lease_expires_at) AS detail
  FROM turns t
  JOIN runs r ON r.organization_id = t.organization_id AND r.turn_id = t.id AND r.state = 'running'
 WHERE t.state = 'pending' AND r.lease_expires_at < now() - interval '1 minute'
"""

_RUN_OF_FINAL_TURN = """
SELECT r.organization_id, format('run %s', r.id) AS subject,
       format('running, though its turn %s is %s', r.turn_id, COALESCE(t.state, 'gone')) AS detail
  FROM runs r
  LEFT JOIN turns t ON t.organization_id = r.organization_id AND t.id = r.turn_id
 WHERE r.state = 'running' AND (t.id IS NULL OR t.state <> 'pending')
"""

# The first events may be missing of sessions that are as old as a partition that was dropped, and of those
# that come from elsewhere, where they may have been; but none between two that are there, and not all of a
# session that has changed since.
_EVENT_DENSITY = """
SELECT s.organization_id, format('session %s', s.id) AS subject,
       format('revision %s, %s events, from %s to %s', s.revision, count(e.revision), min(e.revision),
              max(e.revision)) AS detail
  FROM sessions s
  LEFT JOIN events e ON e.organization_id = s.organization_id AND e.session_id = s.id
  LEFT JOIN session_imports i ON i.organization_id = s.organization_id AND i.session_id = s.id
 CROSS JOIN (SELECT COALESCE(max(ends_at), '-infinity') AS since
               FROM partitions WHERE parent = 'events' AND dropped_at IS NOT NULL) p
 WHERE s.deleted_at IS NULL
 GROUP BY s.organization_id, s.id, s.revision, s.created_at, s.updated_at, i.session_id, p.since
HAVING max(e.revision) <> s.revision
    OR count(DISTINCT e.revision) <> count(e.revision)
    OR count(e.revision) <> s.revision - COALESCE(min(e.revision) - 1, s.revision)
    OR (i.session_id IS NULL AND min(e.revision) IS DISTINCT FROM 1
        AND (s.created_at >= p.since OR (min(e.revision) IS NULL AND s.updated_at >= p.since)))
"""

_HEADER_COPIES = """
SELECT organization_id, format('session %s', id) AS subject,
       format('the columns differ from the document at revision %s', revision) AS detail
  FROM sessions
 WHERE deleted_at IS NULL
   AND (revision, state, branch, turn_count, cursor, unfinished_count, name,
        'trn_' || replace(active_turn_id::text, '-', ''))
       IS DISTINCT FROM
       ((document ->> 'revision')::int, document ->> 'state', (document ->> 'branch')::int,
        (document ->> 'turn_count')::int, (document ->> 'cursor')::int,
        (document ->> 'unfinished_count')::int, document ->> 'name', document ->> 'active_turn_id')
"""

_ACTIVE_TURN = """
SELECT s.organization_id, format('session %s', s.id) AS subject,
       format('active turn %s is %s', s.active_turn_id, COALESCE(t.state, 'missing')) AS detail
  FROM sessions s
  LEFT JOIN turns t ON t.organization_id = s.organization_id AND t.id = s.active_turn_id
 WHERE s.active_turn_id IS NOT NULL
   AND (t.id IS NULL OR t.session_id <> s.id OR t.state NOT IN ('pending', 'awaiting_approval'))
"""

_LEFT_TEXT = """
SELECT s.organization_id, format('session %s', s.id) AS subject,
       format('deleted at %s, but it still has text', s.deleted_at) AS detail
  FROM sessions s
 WHERE s.deleted_at IS NOT NULL
   AND (EXISTS (SELECT FROM turns t WHERE t.organization_id = s.organization_id AND t.session_id = s.id)
     OR EXISTS (SELECT FROM deltas d WHERE d.organization_id = s.organization_id AND d.session_id = s.id)
     OR EXISTS (SELECT FROM steps p WHERE p.organization_id = s.organization_id AND p.session_id = s.id
                                      AND p.result IS NOT NULL)
     OR EXISTS (SELECT FROM interactions i WHERE i.organization_id = s.organization_id
                                             AND i.session_id = s.id)
     OR EXISTS (SELECT FROM approvals a WHERE a.organization_id = s.organization_id AND a.session_id = s.id
                                          AND (a.arguments IS NOT NULL OR a.note IS NOT NULL))
     OR EXISTS (SELECT FROM idempotency_keys k WHERE k.organization_id = s.organization_id
                                                 AND k.session_id = s.id AND k.answer IS NOT NULL))
"""

# The rows and the turns say the same: a turn waits exactly while an approval of it is open.
_OPEN_APPROVALS = """
SELECT COALESCE(a.organization_id, t.organization_id) AS organization_id,
       format('turn %s', COALESCE(a.turn_id, t.id)) AS subject,
       format('%s open approvals, and the turn is %s',
              COALESCE(a.count, 0), COALESCE(t.state, 'gone')) AS detail
  FROM (SELECT organization_id, turn_id, count(*) AS count
          FROM approvals WHERE decision IS NULL AND closed_at IS NULL
         GROUP BY organization_id, turn_id) a
  FULL JOIN turns t ON t.organization_id = a.organization_id AND t.id = a.turn_id
 WHERE (a.count IS NOT NULL) IS DISTINCT FROM (t.state IS NOT DISTINCT FROM 'awaiting_approval')
"""

_UNAUDITED_CALL = """
SELECT p.organization_id, format('step %s', p.id) AS subject,
       format('a call of %s at %s that no list of interactions shows', p.model, p.started_at) AS detail
  FROM steps p
 WHERE p.kind = 'model' AND NOT p.is_redacted
   AND NOT EXISTS (SELECT FROM interactions i WHERE i.organization_id = p.organization_id AND i.id = p.id)
"""

_CHECKS = {
    "ledger density": _LEDGER_DENSITY,
    "organization totals": _ORGANIZATION_TOTALS,
    "session totals": _SESSION_TOTALS,
    "double bill": _DOUBLE_BILL,
    "corrections": _CORRECTIONS,
    "budgets": _BUDGETS,
    "unbilled call": _UNBILLED_CALL,
    "leaked intent": _LEAKED_INTENT,
    "stuck turn": _STUCK_TURN,
    "run of a final turn": _RUN_OF_FINAL_TURN,
    "event density": _EVENT_DENSITY,
    "header copies": _HEADER_COPIES,
    "active turn": _ACTIVE_TURN,
    "text of deleted sessions": _LEFT_TEXT,
    "open approvals": _OPEN_APPROVALS,
    "unaudited call": _UNAUDITED_CALL,
}

CHECKS = tuple(_CHECKS)
"""The names of the checks, in the order in which they are reported."""


async def check(conn: Connection, name: str) -> list[FindingRow]:
    """Run one check; what it answers should not be. `conn` has no short statement timeout."""
    rows = await conn.fetch(_CHECKS[name])
    return [FindingRow(row["organization_id"], row["subject"], row["detail"]) for row in rows]


_SAMPLE = """
SELECT organization_id, id FROM sessions WHERE deleted_at IS NULL ORDER BY random() LIMIT $1
"""


async def sample(conn: Connection, *, limit: int) -> list[tuple[UUID, UUID]]:
    """Draw sessions by chance, of any organization."""
    return [(row[0], row[1]) for row in await conn.fetch(_SAMPLE, limit)]


_BODIES = """
SELECT body FROM turns WHERE organization_id = $1 AND session_id = $2
"""


async def bodies(conn: Connection, organization_id: UUID, session_id: UUID) -> list[bytes]:
    """Read every turn ever created in a session, in no order."""
    return [row[0] for row in await conn.fetch(_BODIES, organization_id, session_id)]
