"""An installation that has grown: any number of sessions over the last year, written by the database itself.

Every session has what is written of one turn: header, branch, turn, events, run, step, interaction, ledger
entry, totals. Half of the sessions are one organization's, the others are spread over the rest. Everything
lies in the partitions in which a year of work would have left it, and `turnledger doctor` finds nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from api.app.partitions import plans, tend
from api.session import ids
from api.settings import Settings
from api.store.base import utc_now
from bench.tenants import Tenant, open_sessions
from db.partitions import PARENTS
from db.pool import Pool

_SECONDS_MAX = 900
"""Time that one statement may take."""
DAYS = 365
"""Time over which the sessions were created, up to now."""

# Ids are UUIDv7 of the instant; everything else about a session follows from its number.
_PLAN = """
CREATE TEMP TABLE grown AS
SELECT n, o.organization_id, o.agent_id, o.key_id, at,
       row_number() OVER (PARTITION BY o.organization_id ORDER BY n) + o.last_seq AS seq,
       pg_temp.id_at(at, n || 'session') AS id,
       pg_temp.id_at(at, n || 'turn') AS turn_id,
       pg_temp.id_at(at, n || 'step') AS step_id,
       pg_temp.id_at(at, n || 'run') AS run_id,
       pg_temp.id_at(at, n || 'entry') AS entry_id
  FROM generate_series(1, $1::int) AS n
 CROSS JOIN LATERAL (SELECT $2::timestamptz + (n * ($3::timestamptz - $2) / $1) AS at) AS instant
  JOIN (SELECT t.organization_id, t.agent_id, t.key_id, l.last_seq, number - 1 AS number
          FROM unnest($4::uuid[], $5::uuid[], $6::uuid[]) WITH ORDINALITY
               AS t(organization_id, agent_id, key_id, number)
          JOIN organization_ledgers l USING (organization_id)) AS o
    ON o.number = CASE WHEN n % 2 = 0 THEN 0 ELSE (n / 2) % (cardinality($4) - 1) + 1 END
"""

_FUNCTIONS = """
CREATE FUNCTION pg_temp.id_at(at timestamptz, what text) RETURNS uuid LANGUAGE sql AS $$
    SELECT (substr(lowest_uuid(at)::text, 1, 14) || '7' || substr(md5(what), 1, 3) || '-8'
            || substr(md5(what), 4, 3) || '-' || substr(md5(what), 7, 12))::uuid
$$;
CREATE FUNCTION pg_temp.wire(kind text, id uuid) RETURNS text LANGUAGE sql AS $$
    SELECT kind || replace(id::text, '-', '')
$$;
"""

# One session that was written as all others are; of it the ids and instants are replaced.
_PATTERN = """
CREATE TEMP TABLE pattern AS
SELECT s.organization_id, s.id, s.agent_id, s.document::text AS document, t.id AS turn_id,
       t.body::text AS body
  FROM sessions s
  JOIN turns t ON t.organization_id = s.organization_id AND t.session_id = s.id
 WHERE s.organization_id = $1 AND s.id = $2
"""

_ROWS = (
    """
INSERT INTO sessions (organization_id, id, agent_id, agent_version, created_at, context, metadata, name,
                      active_hour, state, epoch, revision, branch, turn_count, cursor, unfinished_count,
                      active_turn_id, updated_at, document)
SELECT g.organization_id, g.id, g.agent_id, 1, g.at, '{}', '{}', 'Talk ' || g.n, date_trunc('hour', g.at),
       CASE WHEN g.n % 10 = 0 THEN 'ended' ELSE 'open' END, 1, 3, 0, 1, 1, 0, NULL, g.at,
       (replace(replace(p.document, pg_temp.wire('ses_', p.id), pg_temp.wire('ses_', g.id)),
                pg_temp.wire('agt_', p.agent_id), pg_temp.wire('agt_', g.agent_id))::jsonb
        || jsonb_build_object('name', 'Talk ' || g.n, 'created_at', g.at, 'updated_at', g.at)
        || CASE WHEN g.n % 10 = 0 THEN jsonb_build_object('state', 'ended', 'ended_at', g.at)
                ELSE '{}' END)::json
  FROM grown g, pattern p
""",
    """
INSERT INTO branches (organization_id, session_id, number, branch_point)
SELECT organization_id, id, 0, 0 FROM grown
""",
    """
INSERT INTO turns (organization_id, session_id, branch, position, id, created_at, state, revision, body)
SELECT g.organization_id, g.id, 0, 0, g.turn_id, g.at, 'completed', 3,
       replace(p.body, pg_temp.wire('trn_', p.turn_id), pg_temp.wire('trn_', g.turn_id))::json
  FROM grown g, pattern p
""",
    """
INSERT INTO events (organization_id, session_id, revision, type, at, actor, effects, line_from)
SELECT g.organization_id, g.id, e.revision, e.type, g.at,
       '{"key_id": "key_00000000000000000000000000000000"}',
       format('[{"type": "%s"}]', e.type)::json, e.line_from
  FROM grown g,
       (VALUES (1, 'session.created', NULL::int), (2, 'turn.created', 0), (3, 'turn.completed', 0))
           AS e(revision, type, line_from)
""",
    """
INSERT INTO runs (organization_id, id, session_id, turn_id, attempt, epoch, runner, started_at, state,
                  lease_expires_at, ended_at)
SELECT organization_id, run_id, id, turn_id, 1, 1, 'grown', at, 'finished', at, at FROM grown
""",
    """
INSERT INTO steps (organization_id, id, session_id, turn_id, run_id, attempt, kind, purpose, speaker,
                   provider, model, started_at, request, state, ended_at, result, key_id)
SELECT organization_id, step_id, id, turn_id, run_id, 1, 'model', 'reply', 'Ada', 'scripted', 'echo', at,
       '{}', 'completed', at, '{}', key_id
  FROM grown
""",
    """
INSERT INTO interactions (organization_id, id, session_id, agent_id, client, at)
SELECT organization_id, step_id, id, agent_id, pg_temp.wire('key_', key_id), at FROM grown
""",
    """
INSERT INTO usage_entries (organization_id, seq, id, session_id, turn_id, run_id, step_id, attempt, speaker,
                           purpose, provider, model, input_tokens, cached_tokens, cache_write_tokens,
                           output_tokens, reasoning_tokens, unit_prices, price_source, cost, currency, source,
                           outcome, billable, billable_reason, latency_ms, created_at, key_id)
SELECT organization_id, seq, entry_id, id, turn_id, run_id, step_id, 1, 'Ada', 'reply', 'scripted', 'echo',
       812, 0, 0, 96, 0, '{}', 'prices', 0.001204, 'USD', 'provider', 'completed', true, 'completed', 900, at,
       key_id
  FROM grown
""",
    """
INSERT INTO session_totals (organization_id, session_id, call_count, input_tokens, cached_tokens,
                            cache_write_tokens, output_tokens, reasoning_tokens, cost, unknown_count)
SELECT organization_id, id, 1, 812, 0, 0, 96, 0, 0.001204, 0 FROM grown
""",
    """
UPDATE organization_ledgers l
   SET last_seq = l.last_seq + s.count, call_count = l.call_count + s.count,
       input_tokens = l.input_tokens + 812 * s.count, output_tokens = l.output_tokens + 96 * s.count,
       cost = l.cost + 0.001204 * s.count
  FROM (SELECT organization_id, count(*) AS count FROM grown GROUP BY organization_id) s
 WHERE l.organization_id = s.organization_id
""",
)
"""What is written, in this order. The triggers that would write or refuse some of it are off meanwhile."""


async def grow(pool: Pool, tenants: Sequence[Tenant], *, session_count: int) -> None:
    """Write this many sessions into a database that has none; the first tenant has half of them.

    The role must be a superuser: triggers are off meanwhile.
    """
    now = utc_now()
    since = now - timedelta(days=DAYS)
    await _divide_the_past(pool, since=since, now=now)
    (pattern,) = await open_sessions(pool, tenants[:1], count=1, turn_count=1)
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SET LOCAL statement_timeout = 0; SET LOCAL session_replication_role = replica")
        await conn.execute(_FUNCTIONS)
        await conn.execute(_PATTERN, pattern.tenant.caller.organization_id, pattern.id)
        columns = [list(column) for column in zip(*map(_ids_of, tenants), strict=True)]
        await conn.execute(
            _PLAN, session_count, since, now - timedelta(minutes=1), *columns, timeout=_SECONDS_MAX
        )
        await conn.execute("ANALYZE grown", timeout=_SECONDS_MAX)
        for statement in _ROWS:
            await conn.execute(statement, timeout=_SECONDS_MAX)
        await conn.execute("DROP TABLE grown; DROP TABLE pattern")
    async with pool.acquire() as conn:
        await conn.execute("SET statement_timeout = 0")
        await conn.execute("VACUUM (ANALYZE)", timeout=_SECONDS_MAX)
        await conn.execute("CHECKPOINT", timeout=_SECONDS_MAX)
        await conn.execute("RESET statement_timeout")


async def _divide_the_past(pool: Pool, *, since: datetime, now: datetime) -> None:
    """Begin the empty tables a year ago, and look after their partitions as had been done since."""
    async with pool.acquire() as conn:
        for parent in PARENTS:
            await conn.execute(f"DROP TABLE {parent}_first")
        await conn.execute("DELETE FROM partitions")
    planned = plans(Settings())
    lasting = {parent: plan for parent, plan in planned.items() if parent != "deltas"}
    at = since
    while at < now:
        await tend(pool, lasting, now=at)
        at += timedelta(days=30)
    await tend(pool, planned, now=now)


def _ids_of(tenant: Tenant) -> tuple[UUID, UUID, UUID]:
    agent = ids.from_wire(ids.Kind.AGENT, tenant.agent.id)
    key = ids.from_wire(ids.Kind.KEY, tenant.caller.actor.key_id or "")
    assert agent is not None
    assert key is not None
    return tenant.caller.organization_id, agent, key
