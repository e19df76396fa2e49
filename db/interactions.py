"""Interactions: the audit of model calls, found by session, agent, client or project; newest first.

A page is found first, along one index, as ids; what is told of those is joined afterwards.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection

_PAGE = """
SELECT id
  FROM interactions
 WHERE organization_id = $1 AND id < $2 AND id >= $3 AND at >= $4
 ORDER BY id DESC
 LIMIT $5
"""

# One statement for each filter that leads, so that its index serves whatever the planner knows.
_PAGE_OF_SESSION = """
SELECT id
  FROM interactions
 WHERE organization_id = $1 AND id < $2 AND id >= $3 AND at >= $4
   AND session_id = $6
   AND ($7::uuid IS NULL OR agent_id = $7)
   AND ($8::text IS NULL OR client = $8)
   AND ($9::text IS NULL OR project = $9)
 ORDER BY id DESC
 LIMIT $5
"""

_PAGE_OF_PROJECT = """
SELECT id
  FROM interactions
 WHERE organization_id = $1 AND id < $2 AND id >= $3 AND at >= $4
   AND project = $6
   AND ($7::uuid IS NULL OR agent_id = $7)
   AND ($8::text IS NULL OR client = $8)
 ORDER BY id DESC
 LIMIT $5
"""

_PAGE_OF_AGENT = """
SELECT id
  FROM interactions
 WHERE organization_id = $1 AND id < $2 AND id >= $3 AND at >= $4
   AND agent_id = $6
   AND ($7::text IS NULL OR client = $7)
 ORDER BY id DESC
 LIMIT $5
"""

_PAGE_OF_CLIENT = """
SELECT id
  FROM interactions
 WHERE organization_id = $1 AND id < $2 AND id >= $3 AND at >= $4
   AND client = $6
 ORDER BY id DESC
 LIMIT $5
"""


async def page(
    conn: Connection,
    organization_id: UUID,
    *,
    before: UUID,
    lowest: UUID,
    since: datetime,
    session_id: UUID | None,
    agent_id: UUID | None,
    client: str | None,
    project: str | None,
    limit: int,
) -> list[UUID]:
    """Find interactions, newest first, with ids from `lowest` to below `before`, that began since an instant.

    `lowest` ends the search where nothing can have begun since then. A filter of None does not filter.
    """
    bounds = (organization_id, before, lowest, since, limit)
    if session_id is not None:
        rows = await conn.fetch(_PAGE_OF_SESSION, *bounds, session_id, agent_id, client, project)
    elif project is not None:
        rows = await conn.fetch(_PAGE_OF_PROJECT, *bounds, project, agent_id, client)
    elif agent_id is not None:
        rows = await conn.fetch(_PAGE_OF_AGENT, *bounds, agent_id, client)
    elif client is not None:
        rows = await conn.fetch(_PAGE_OF_CLIENT, *bounds, client)
    else:
        rows = await conn.fetch(_PAGE, *bounds)
    return [row[0] for row in rows]


class SummaryRow(NamedTuple):
    """An interaction without its text. What a captured call does not say is None."""

    id: UUID
    is_captured: bool
    at: datetime
    session_id: UUID | None
    agent_id: UUID | None
    agent_version: int | None
    client: str | None
    client_name: str | None
    project: str | None
    turn_id: UUID | None
    turn_branch: int | None
    turn_position: int | None
    turn_state: str | None
    turn_error: bytes | None
    actor: bytes | None
    """Who sent the turn, or captured the call."""
    run_id: UUID | None
    attempt: int | None
    purpose: str | None
    speaker: str | None
    provider: str | None
    model: str
    answering_model: str | None
    state: str | None
    node: str | None
    latency_ms: int | None
    input_tokens: int | None
    cached_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    cost: Decimal | None
    currency: str | None
    billable: bool | None
    billable_reason: str | None
    captured_usage: bytes | None
    captured_metadata: bytes | None


# Steps may be kept for a shorter time than their sessions: what the ledger knows of the call is told then.
_SUMMARIES = """
SELECT i.id, i.is_captured, i.at, i.session_id, i.agent_id, h.agent_version, i.client, k.name, i.project,
       t.id, t.branch, t.position, t.state, t.body -> 'error',
       COALESCE(t.body -> 'created_by', c.captured_by), COALESCE(p.run_id, u.run_id),
       COALESCE(p.attempt, u.attempt), COALESCE(p.purpose, u.purpose), COALESCE(p.speaker, u.speaker),
       COALESCE(p.provider, u.provider), COALESCE(p.model, c.model, u.model, ''), u.model,
       COALESCE(p.state, u.outcome), p.request ->> 'node',
       COALESCE(u.latency_ms, c.latency_ms), u.input_tokens, u.cached_tokens, u.cache_write_tokens,
       u.output_tokens, u.reasoning_tokens, u.cost, u.currency, u.billable, u.billable_reason,
       c.usage, c.metadata
  FROM interactions i
  LEFT JOIN sessions h ON h.organization_id = i.organization_id AND h.id = i.session_id
  LEFT JOIN steps p ON p.organization_id = i.organization_id AND p.id = i.id
  LEFT JOIN usage_entries u ON u.organization_id = i.organization_id AND u.step_id = i.id
                           AND u.corrects_id IS NULL
  LEFT JOIN turns t ON t.organization_id = i.organization_id AND t.id = COALESCE(p.turn_id, u.turn_id)
  LEFT JOIN captured_interactions c ON c.organization_id = i.organization_id AND c.id = i.id
  LEFT JOIN api_keys k ON k.organization_id = i.organization_id
                      AND (NOT i.is_captured OR i.client = c.captured_by ->> 'key_id')
                      AND k.id = CASE WHEN i.client ~ '^key_[0-9a-f]{32}$' THEN substr(i.client, 5)::uuid END
 WHERE i.organization_id = $1 AND i.id = ANY($2::uuid[]) AND h.deleted_at IS NULL
 ORDER BY i.id DESC
"""


async def summaries(conn: Connection, organization_id: UUID, ids: Sequence[UUID]) -> list[SummaryRow]:
    """Read interactions without their text, newest first; those that are there no more are left out."""
    rows = await conn.fetch(_SUMMARIES, organization_id, list(ids))
    return [SummaryRow(*row.values()) for row in rows]


class LineRow(NamedTuple):
    """A stretch of a session's line: positions `first .. end - 1` of a branch; `cursor` is the session's."""

    session_id: UUID
    cursor: int
    branch: int
    first: int
    end: int


_LINES = """
WITH RECURSIVE stretch AS (
    SELECT s.id AS session_id, s.cursor, w.lowest, b.number, b.parent, b.branch_point, s.turn_count AS until
      FROM unnest($2::uuid[], $3::int[]) AS w(session_id, lowest)
      JOIN sessions s ON s.organization_id = $1 AND s.id = w.session_id AND s.deleted_at IS NULL
      JOIN branches b ON b.organization_id = s.organization_id AND b.session_id = s.id AND b.number = s.branch
 UNION ALL
    SELECT c.session_id, c.cursor, c.lowest, b.number, b.parent, b.branch_point, c.branch_point
      FROM stretch c
      JOIN branches b ON b.organization_id = $1 AND b.session_id = c.session_id AND b.number = c.parent
     WHERE c.branch_point > c.lowest
)
SELECT session_id, cursor, number, branch_point, until FROM stretch
"""


async def lines(conn: Connection, organization_id: UUID, lowest: dict[UUID, int]) -> list[LineRow]:
    """Read the lines of sessions from their ends down to a position of each: whether turns are on them."""
    rows = await conn.fetch(_LINES, organization_id, list(lowest), list(lowest.values()))
    return [LineRow(*row.values()) for row in rows]


_KEEP_PART = """
INSERT INTO prompt_parts (organization_id, sha256, content, created_at) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
"""


async def keep_part(
    conn: Connection, organization_id: UUID, sha256: str, content: bytes, *, at: datetime
) -> None:
    """Keep a part of a prompt under its digest; nothing happens when it is there."""
    await conn.execute(_KEEP_PART, organization_id, sha256, content, at)


_PART = """
SELECT content FROM prompt_parts WHERE organization_id = $1 AND sha256 = $2
"""


async def part(conn: Connection, organization_id: UUID, sha256: str) -> bytes | None:
    """Read a part of a prompt; None when there is none of this digest."""
    content: bytes | None = await conn.fetchval(_PART, organization_id, sha256)
    return content


class CapturedRow(NamedTuple):
    """A call that was made elsewhere."""

    id: UUID
    session_id: UUID | None
    client: str | None
    project: str | None
    at: datetime
    prompt: str
    response: str | None
    model: str
    usage: bytes | None
    latency_ms: int | None
    metadata: bytes
    captured_by: bytes


_CAPTURE = """
WITH noted AS (
    INSERT INTO interactions (organization_id, id, session_id, client, project, at, is_captured)
    VALUES ($1, $2, $3, $4, $5, $6, true)
 RETURNING organization_id, id
)
INSERT INTO captured_interactions (organization_id, id, prompt, response, model, usage, latency_ms, metadata,
                                   captured_by)
SELECT organization_id, id, $7, $8, $9, $10, $11, $12, $13 FROM noted
"""


async def capture(conn: Connection, organization_id: UUID, captured: CapturedRow) -> None:
    """Write a call that was made elsewhere; its session, if it names one, is held (`hold_session`)."""
    await conn.execute(_CAPTURE, organization_id, *captured)


_HOLD_SESSION = """
SELECT id FROM sessions WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL FOR SHARE
"""


async def hold_session(conn: Connection, organization_id: UUID, session_id: UUID) -> bool:
    """Keep a session from being deleted until the transaction ends; False when there is none."""
    return await conn.fetchval(_HOLD_SESSION, organization_id, session_id) is not None


_CAPTURED = """
SELECT prompt, response FROM captured_interactions WHERE organization_id = $1 AND id = $2
"""


async def captured(conn: Connection, organization_id: UUID, interaction_id: UUID) -> tuple[str, str | None]:
    """Read prompt and response of a captured call that is known to be there."""
    row = await conn.fetchrow(_CAPTURED, organization_id, interaction_id)
    assert row is not None
    return row[0], row[1]
