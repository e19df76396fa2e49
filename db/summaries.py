"""Sums over a stretch of the ledger, by what the caller asks for, and by where the turns stand now."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class SummaryRow(NamedTuple):
    """The sums of one group, of the calls whose turns have one standing."""

    day: str | None
    model: str | None
    agent_id: str | None
    session_id: str | None
    key_id: str | None
    purpose: str | None
    outcome: str | None
    standing: str
    """`active`: on the line. `discarded`: in a discarded future. `deleted`: the session is gone."""
    rank: int
    """Of the group, 1-based, in the order of the dimensions."""
    call_count: int
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: Decimal
    billable_cost: Decimal
    unknown_count: int


# What stands on the line is found from the session's branch upwards, as for a single session. A dimension
# that is not asked for is null in every row and so makes no groups.
_SUMMARY = """
WITH RECURSIVE entries AS MATERIALIZED (
    SELECT u.session_id, u.turn_id, u.key_id, u.provider, u.model, u.purpose, u.outcome, u.created_at,
           u.corrects_id IS NULL AS is_original, u.corrects_known, u.billable, u.input_tokens,
           u.cached_tokens, u.cache_write_tokens, u.output_tokens, u.reasoning_tokens, u.cost
      FROM usage_entries u
     WHERE u.organization_id = $1
       AND u.created_at >= COALESCE($2::date::timestamp AT TIME ZONE $4, '-infinity')
       AND u.created_at < COALESCE($3::date::timestamp AT TIME ZONE $4, 'infinity')
       AND u.seq <= $5
), held AS (
    SELECT s.id, s.agent_id, s.branch, s.turn_count
      FROM sessions s
     WHERE s.organization_id = $1 AND s.id IN (SELECT session_id FROM entries)
), stretch AS (
    SELECT h.id AS session_id, b.number, b.parent, b.branch_point, h.turn_count AS until
      FROM held h
      JOIN branches b ON b.organization_id = $1 AND b.session_id = h.id AND b.number = h.branch
 UNION ALL
    SELECT c.session_id, b.number, b.parent, b.branch_point, c.branch_point
      FROM stretch c
      JOIN branches b ON b.organization_id = $1 AND b.session_id = c.session_id AND b.number = c.parent
), sums AS (
    SELECT CASE WHEN 'day' = ANY($6::text[]) THEN to_char(e.created_at AT TIME ZONE $4, 'YYYY-MM-DD')
           END AS day,
           CASE WHEN 'model' = ANY($6) THEN e.provider || ':' || e.model END AS model,
           CASE WHEN 'agent' = ANY($6) THEN h.agent_id::text END AS agent_id,
           CASE WHEN 'session' = ANY($6) THEN e.session_id::text END AS session_id,
           CASE WHEN 'key' = ANY($6) THEN e.key_id::text END AS key_id,
           CASE WHEN 'purpose' = ANY($6) THEN e.purpose END AS purpose,
           CASE WHEN 'outcome' = ANY($6) THEN e.outcome END AS outcome,
           CASE WHEN t.id IS NULL THEN 'deleted' WHEN l.session_id IS NULL THEN 'discarded' ELSE 'active'
           END AS standing,
           count(*) FILTER (WHERE e.is_original) AS call_count,
           sum(e.input_tokens)::bigint AS input_tokens,
           sum(e.cached_tokens)::bigint AS cached_tokens,
           sum(e.cache_write_tokens)::bigint AS cache_write_tokens,
           sum(e.output_tokens)::bigint AS output_tokens,
           sum(e.reasoning_tokens)::bigint AS reasoning_tokens,
           COALESCE(sum(e.cost), 0) AS cost,
           COALESCE(sum(e.cost) FILTER (WHERE e.billable), 0) AS billable_cost,
           count(*) FILTER (WHERE e.cost IS NULL AND e.is_original)
               - count(*) FILTER (WHERE e.cost IS NOT NULL AND NOT e.is_original AND NOT e.corrects_known)
               AS unknown_count
      FROM entries e
      LEFT JOIN held h ON h.id = e.session_id
      LEFT JOIN turns t ON t.organization_id = $1 AND t.id = e.turn_id
      LEFT JOIN stretch l ON l.session_id = e.session_id AND l.number = t.branch
                         AND t.position >= l.branch_point AND t.position < l.until
     GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
), ranked AS (
    SELECT day, model, agent_id, session_id, key_id, purpose, outcome, standing,
           dense_rank() OVER (ORDER BY day, model COLLATE "C", agent_id, session_id, key_id,
                                       purpose COLLATE "C", outcome) AS rank,
           call_count, input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost,
           billable_cost, unknown_count
      FROM sums
)
SELECT day, model, agent_id, session_id, key_id, purpose, outcome, standing, rank, call_count, input_tokens,
       cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost, billable_cost, unknown_count
  FROM ranked
 WHERE rank > $7 AND rank <= $7::bigint + $8
 ORDER BY rank
"""


async def summary(
    conn: Connection,
    organization_id: UUID,
    *,
    since: date | None,
    until: date | None,
    time_zone: str,
    head: int,
    group_by: Sequence[str],
    offset: int,
    limit: int,
) -> list[SummaryRow]:
    """Sum the rows up to sequence number `head` of the days `since <= day < until` of a time zone.

    `group_by` names dimensions: `day model agent session key purpose outcome`. Groups `offset + 1 ..
    offset + limit` are answered, each with up to three rows, one for each standing.
    """
    rows = await conn.fetch(
        _SUMMARY, organization_id, since, until, time_zone, head, list(group_by), offset, limit
    )
    return [SummaryRow(*row.values()) for row in rows]
