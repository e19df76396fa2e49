"""Figures of conversations: of one session, and over the sessions that started in a range of days."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class FiguresRow(NamedTuple):
    """What one session comes to, or several."""

    turn_count: int
    """On the line."""
    discarded_turn_count: int
    completed_count: int
    """Of all turns, discarded ones too; so are the next two."""
    failed_count: int
    cancelled_count: int
    call_count: int
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: Decimal
    active_cost: Decimal
    """Of turns on the line."""
    unknown_count: int
    call_latencies_ms: list[int] | None
    """Of completed calls: the median, and what 90 and 99 of 100 do not exceed; None of no calls."""
    turn_latencies_ms: list[int] | None
    """Of completed turns, from the message to the published answer, waiting and approvals counted in."""


class SessionRow(NamedTuple):
    """One session."""

    agent_id: UUID
    agent_version: int
    state: str
    resolution: str | None
    started_at: datetime
    last_activity_at: datetime
    ended_at: datetime | None
    speakers: list[str]
    models: list[str]
    figures: FiguresRow


# A turn is final when its last run has published, so nobody need open its body.
_SESSION = """
WITH RECURSIVE stretch AS (
    SELECT b.number, b.parent, b.branch_point, s.turn_count AS until
      FROM sessions s
      JOIN branches b ON b.organization_id = s.organization_id AND b.session_id = s.id AND b.number = s.branch
     WHERE s.organization_id = $1 AND s.id = $2
 UNION ALL
    SELECT b.number, b.parent, b.branch_point, c.branch_point
      FROM stretch c
      JOIN branches b ON b.organization_id = $1 AND b.session_id = $2 AND b.number = c.parent
), placed AS (
    SELECT t.id, t.state, t.created_at, l.number IS NOT NULL AS is_active,
           (SELECT max(r.ended_at) FROM runs r
             WHERE r.organization_id = $1 AND r.turn_id = t.id AND r.state = 'finished') AS final_at
      FROM turns t
      LEFT JOIN stretch l ON l.number = t.branch AND t.position >= l.branch_point AND t.position < l.until
     WHERE t.organization_id = $1 AND t.session_id = $2
), turn_figures AS (
    SELECT count(*) FILTER (WHERE is_active) AS turn_count,
           count(*) FILTER (WHERE NOT is_active) AS discarded_turn_count,
           count(*) FILTER (WHERE state = 'completed') AS completed_count,
           count(*) FILTER (WHERE state = 'failed') AS failed_count,
           count(*) FILTER (WHERE state = 'cancelled') AS cancelled_count,
           percentile_disc(ARRAY[0.5, 0.9, 0.99]) WITHIN GROUP (
               ORDER BY (extract(epoch FROM final_at - created_at) * 1000)::bigint)
               FILTER (WHERE state = 'completed' AND final_at IS NOT NULL) AS turn_latencies_ms
      FROM placed
), call_figures AS (
    SELECT count(*) FILTER (WHERE u.corrects_id IS NULL) AS call_count,
           COALESCE(sum(u.input_tokens), 0)::bigint AS input_tokens,
           COALESCE(sum(u.cached_tokens), 0)::bigint AS cached_tokens,
           COALESCE(sum(u.cache_write_tokens), 0)::bigint AS cache_write_tokens,
           COALESCE(sum(u.output_tokens), 0)::bigint AS output_tokens,
           COALESCE(sum(u.reasoning_tokens), 0)::bigint AS reasoning_tokens,
           COALESCE(sum(u.cost), 0) AS cost,
           COALESCE(sum(u.cost) FILTER (WHERE p.is_active), 0) AS active_cost,
           count(*) FILTER (WHERE u.cost IS NULL AND u.corrects_id IS NULL)
               - count(*) FILTER (WHERE u.cost IS NOT NULL AND u.corrects_id IS NOT NULL
                                    AND NOT u.corrects_known) AS unknown_count,
           percentile_disc(ARRAY[0.5, 0.9, 0.99]) WITHIN GROUP (ORDER BY u.latency_ms)
               FILTER (WHERE u.corrects_id IS NULL AND u.outcome = 'completed') AS call_latencies_ms,
           COALESCE(array_agg(DISTINCT u.speaker) FILTER (WHERE u.speaker IS NOT NULL), '{}') AS speakers,
           COALESCE(array_agg(DISTINCT u.provider || ':' || u.model) FILTER (WHERE u.model IS NOT NULL), '{}')
               AS models
      FROM usage_entries u
      LEFT JOIN placed p ON p.id = u.turn_id
     WHERE u.organization_id = $1 AND u.session_id = $2
)
SELECT s.agent_id, s.agent_version, s.state, s.document ->> 'resolution', s.created_at, s.updated_at,
       (s.document ->> 'ended_at')::timestamptz, c.speakers, c.models,
       t.turn_count, t.discarded_turn_count, t.completed_count, t.failed_count, t.cancelled_count,
       c.call_count, c.input_tokens, c.cached_tokens, c.cache_write_tokens, c.output_tokens,
       c.reasoning_tokens, c.cost, c.active_cost, c.unknown_count, c.call_latencies_ms, t.turn_latencies_ms
  FROM sessions s, turn_figures t, call_figures c
 WHERE s.organization_id = $1 AND s.id = $2 AND s.deleted_at IS NULL
"""


async def of_session(conn: Connection, organization_id: UUID, session_id: UUID) -> SessionRow | None:
    """Read the figures of a session; None when there is no such session (any more)."""
    row = await conn.fetchrow(_SESSION, organization_id, session_id)
    if row is None:
        return None
    values = list(row)
    return SessionRow._make((*values[:9], FiguresRow._make(values[9:])))


class GroupRow(NamedTuple):
    """The figures of a group of sessions."""

    day: str | None
    agent_id: str | None
    agent_version: int | None
    state: str | None
    resolution: str | None
    session_count: int
    ended_count: int
    durations_seconds: list[float]
    """From the start to the end, or to the last activity of an open session: the median, and what 90 and 99
    of 100 do not exceed."""
    figures: FiguresRow


# Sessions are numbered by their group first, so that turns and calls need only know the number.
_GROUPS = """
WITH RECURSIVE named AS (
    SELECT s.id, s.branch, s.turn_count, s.state AS stands, s.created_at,
           COALESCE((s.document ->> 'ended_at')::timestamptz, s.updated_at) AS last_at,
           CASE WHEN 'day' = ANY($5::text[]) THEN to_char(s.created_at AT TIME ZONE $4, 'YYYY-MM-DD')
           END AS day,
           CASE WHEN 'agent' = ANY($5) OR 'version' = ANY($5) THEN s.agent_id::text END AS agent_id,
           CASE WHEN 'version' = ANY($5) THEN s.agent_version END AS agent_version,
           CASE WHEN 'state' = ANY($5) THEN s.state END AS state,
           CASE WHEN 'resolution' = ANY($5) THEN s.document ->> 'resolution' END AS resolution
      FROM sessions s
     WHERE s.organization_id = $1 AND s.deleted_at IS NULL
       AND s.created_at >= COALESCE($2::date::timestamp AT TIME ZONE $4, '-infinity')
       AND s.created_at < COALESCE($3::date::timestamp AT TIME ZONE $4, 'infinity')
), ranked AS (
    SELECT n.*, dense_rank() OVER (ORDER BY day, agent_id, agent_version, state,
                                            resolution COLLATE "C") AS number
      FROM named n
), held AS MATERIALIZED (
    SELECT * FROM ranked WHERE number > $6 AND number <= $6::bigint + $7
), stretch AS (
    SELECT h.id AS session_id, b.number, b.parent, b.branch_point, h.turn_count AS until
      FROM held h
      JOIN branches b ON b.organization_id = $1 AND b.session_id = h.id AND b.number = h.branch
 UNION ALL
    SELECT c.session_id, b.number, b.parent, b.branch_point, c.branch_point
      FROM stretch c
      JOIN branches b ON b.organization_id = $1 AND b.session_id = c.session_id AND b.number = c.parent
), placed AS MATERIALIZED (
    SELECT h.number, t.id, t.state, t.created_at, l.number IS NOT NULL AS is_active,
           (SELECT max(r.ended_at) FROM runs r
             WHERE r.organization_id = $1 AND r.turn_id = t.id AND r.state = 'finished') AS final_at
      FROM held h
      JOIN turns t ON t.organization_id = $1 AND t.session_id = h.id
      LEFT JOIN stretch l ON l.session_id = h.id AND l.number = t.branch
                         AND t.position >= l.branch_point AND t.position < l.until
), turn_figures AS (
    SELECT number, count(*) FILTER (WHERE is_active) AS turn_count,
           count(*) FILTER (WHERE NOT is_active) AS discarded_turn_count,
           count(*) FILTER (WHERE state = 'completed') AS completed_count,
           count(*) FILTER (WHERE state = 'failed') AS failed_count,
           count(*) FILTER (WHERE state = 'cancelled') AS cancelled_count,
           percentile_disc(ARRAY[0.5, 0.9, 0.99]) WITHIN GROUP (
               ORDER BY (extract(epoch FROM final_at - created_at) * 1000)::bigint)
               FILTER (WHERE state = 'completed' AND final_at IS NOT NULL) AS turn_latencies_ms
      FROM placed
     GROUP BY number
), call_figures AS (
    SELECT h.number, count(*) FILTER (WHERE u.corrects_id IS NULL) AS call_count,
           sum(u.input_tokens)::bigint AS input_tokens, sum(u.cached_tokens)::bigint AS cached_tokens,
           sum(u.cache_write_tokens)::bigint AS cache_write_tokens,
           sum(u.output_tokens)::bigint AS output_tokens,
           sum(u.reasoning_tokens)::bigint AS reasoning_tokens, sum(u.cost) AS cost,
           sum(u.cost) FILTER (WHERE p.is_active) AS active_cost,
           count(*) FILTER (WHERE u.cost IS NULL AND u.corrects_id IS NULL)
               - count(*) FILTER (WHERE u.cost IS NOT NULL AND u.corrects_id IS NOT NULL
                                    AND NOT u.corrects_known) AS unknown_count,
           percentile_disc(ARRAY[0.5, 0.9, 0.99]) WITHIN GROUP (ORDER BY u.latency_ms)
               FILTER (WHERE u.corrects_id IS NULL AND u.outcome = 'completed') AS call_latencies_ms
      FROM held h
      JOIN usage_entries u ON u.organization_id = $1 AND u.session_id = h.id
      LEFT JOIN placed p ON p.id = u.turn_id
     GROUP BY h.number
), session_figures AS (
    SELECT number, day, agent_id, agent_version, state, resolution, count(*) AS session_count,
           count(*) FILTER (WHERE stands = 'ended') AS ended_count,
           percentile_disc(ARRAY[0.5, 0.9, 0.99]) WITHIN GROUP (
               ORDER BY extract(epoch FROM last_at - created_at)::float8) AS durations_seconds
      FROM held
     GROUP BY number, day, agent_id, agent_version, state, resolution
)
SELECT s.day, s.agent_id, s.agent_version, s.state, s.resolution, s.session_count, s.ended_count,
       s.durations_seconds,
       COALESCE(t.turn_count, 0), COALESCE(t.discarded_turn_count, 0), COALESCE(t.completed_count, 0),
       COALESCE(t.failed_count, 0), COALESCE(t.cancelled_count, 0), COALESCE(c.call_count, 0),
       COALESCE(c.input_tokens, 0), COALESCE(c.cached_tokens, 0), COALESCE(c.cache_write_tokens, 0),
       COALESCE(c.output_tokens, 0), COALESCE(c.reasoning_tokens, 0), COALESCE(c.cost, 0),
       COALESCE(c.active_cost, 0), COALESCE(c.unknown_count, 0), c.call_latencies_ms, t.turn_latencies_ms
  FROM session_figures s
  LEFT JOIN turn_figures t ON t.number = s.number
  LEFT JOIN call_figures c ON c.number = s.number
 ORDER BY s.number
"""


async def of_groups(
    conn: Connection,
    organization_id: UUID,
    *,
    since: date | None,
    until: date | None,
    time_zone: str,
    group_by: Sequence[str],
    offset: int,
    limit: int,
) -> list[GroupRow]:
    """Read the figures of the sessions that started on the days `since <= day < until` of a time zone.

    `group_by` names dimensions: `day agent version state resolution`. Deleted sessions are left out.
    """
    rows = await conn.fetch(_GROUPS, organization_id, since, until, time_zone, list(group_by), offset, limit)
    found = [list(row) for row in rows]
    return [GroupRow._make((*values[:8], FiguresRow._make(values[8:]))) for values in found]
