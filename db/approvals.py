"""Approvals: questions to people about tool calls, as they are listed and audited.

A row changes in the transaction whose commit changes the approval in its turn. It is open while it is neither
decided nor closed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class RequestedRow(NamedTuple):
    """An approval as it is asked for."""

    id: UUID
    step_id: UUID
    tool: str
    arguments: bytes
    arguments_digest: str
    effect: str
    reason: str
    requested_at: datetime
    expires_at: datetime


_REQUEST = """
INSERT INTO approvals (organization_id, session_id, turn_id, id, step_id, tool, arguments, arguments_digest,
                       effect, reason, requested_at, expires_at)
SELECT $1, $2, $3, a.*
  FROM unnest($4::uuid[], $5::uuid[], $6::text[], $7::json[], $8::text[], $9::text[], $10::text[],
              $11::timestamptz[], $12::timestamptz[]) AS a
"""


async def request(
    conn: Connection,
    organization_id: UUID,
    session_id: UUID,
    turn_id: UUID,
    approvals: Sequence[RequestedRow],
) -> None:
    """Write the approvals that a turn now waits for."""
    columns = (list(column) for column in zip(*approvals, strict=True))
    await conn.execute(_REQUEST, organization_id, session_id, turn_id, *columns)


class DecidedRow(NamedTuple):
    """How an approval was decided."""

    id: UUID
    decision: str
    at: datetime
    by: bytes
    note: str | None
    has_expired: bool


_DECIDE = """
UPDATE approvals
   SET decision = $3, decided_at = $4, decided_by = $5, note = $6, has_expired = $7
 WHERE organization_id = $1 AND id = $2 AND decision IS NULL AND closed_at IS NULL
RETURNING id
"""


async def decide(conn: Connection, organization_id: UUID, decided: DecidedRow) -> bool:
    """Write a decision; False when the approval is not open."""
    return await conn.fetchval(_DECIDE, organization_id, *decided) is not None


_STAND = """
UPDATE approvals SET is_standing = true WHERE organization_id = $1 AND id = $2
"""


async def stand(conn: Connection, organization_id: UUID, approval_id: UUID) -> None:
    """Note that a decision was made a rule."""
    await conn.execute(_STAND, organization_id, approval_id)


_CLOSE = """
UPDATE approvals SET closed_at = $3
 WHERE organization_id = $1 AND id = ANY($2::uuid[]) AND decision IS NULL AND closed_at IS NULL
"""


async def close(
    conn: Connection, organization_id: UUID, approval_ids: Sequence[UUID], *, at: datetime
) -> None:
    """Close approvals whose turn has ended before anybody decided."""
    await conn.execute(_CLOSE, organization_id, list(approval_ids), at)


class ApprovalRow(NamedTuple):
    """An approval with its place and its agent."""

    id: UUID
    session_id: UUID
    turn_id: UUID
    step_id: UUID
    agent_id: UUID
    agent_version: int
    tool: str
    arguments: bytes
    arguments_digest: str
    effect: str
    reason: str
    requested_at: datetime
    expires_at: datetime
    decision: str | None
    decided_at: datetime | None
    decided_by: bytes | None
    note: str | None
    has_expired: bool
    is_standing: bool
    closed_at: datetime | None


_BY_ID = """
SELECT a.id, a.session_id, a.turn_id, a.step_id, s.agent_id, s.agent_version, a.tool, a.arguments,
       a.arguments_digest, a.effect, a.reason, a.requested_at, a.expires_at, a.decision, a.decided_at,
       a.decided_by, a.note, a.has_expired, a.is_standing, a.closed_at
  FROM approvals a
  JOIN sessions s ON s.organization_id = a.organization_id AND s.id = a.session_id AND s.deleted_at IS NULL
 WHERE a.organization_id = $1 AND a.id = $2
"""


async def by_id(conn: Connection, organization_id: UUID, approval_id: UUID) -> ApprovalRow | None:
    """Read an approval; None when the organization has none of this id, or its session was deleted."""
    row = await conn.fetchrow(_BY_ID, organization_id, approval_id)
    return None if row is None else ApprovalRow(*row.values())


# Ids are UUIDv7, so the newest come first.
_LIST = """
SELECT a.id, a.session_id, a.turn_id, a.step_id, s.agent_id, s.agent_version, a.tool, a.arguments,
       a.arguments_digest, a.effect, a.reason, a.requested_at, a.expires_at, a.decision, a.decided_at,
       a.decided_by, a.note, a.has_expired, a.is_standing, a.closed_at
  FROM approvals a
  JOIN sessions s ON s.organization_id = a.organization_id AND s.id = a.session_id AND s.deleted_at IS NULL
 WHERE a.organization_id = $1
   AND ($2::uuid IS NULL OR a.session_id = $2)
   AND ($3::text IS NULL OR $3 = CASE WHEN a.decision IS NULL THEN 'closed' ELSE 'decided' END)
   AND ($3::text IS NULL OR a.decision IS NOT NULL OR a.closed_at IS NOT NULL)
   AND ($4::uuid IS NULL OR a.id < $4)
 ORDER BY a.id DESC
 LIMIT $5
"""

# A statement of its own, so that the index of open ones serves it however many were decided.
_LIST_OPEN = """
SELECT a.id, a.session_id, a.turn_id, a.step_id, s.agent_id, s.agent_version, a.tool, a.arguments,
       a.arguments_digest, a.effect, a.reason, a.requested_at, a.expires_at, a.decision, a.decided_at,
       a.decided_by, a.note, a.has_expired, a.is_standing, a.closed_at
  FROM approvals a
  JOIN sessions s ON s.organization_id = a.organization_id AND s.id = a.session_id AND s.deleted_at IS NULL
 WHERE a.organization_id = $1 AND a.decision IS NULL AND a.closed_at IS NULL
   AND ($2::uuid IS NULL OR a.session_id = $2)
   AND ($3::uuid IS NULL OR a.id < $3)
 ORDER BY a.id DESC
 LIMIT $4
"""


async def listed(
    conn: Connection,
    organization_id: UUID,
    *,
    session_id: UUID | None,
    state: str | None,
    before: UUID | None,
    limit: int,
) -> list[ApprovalRow]:
    """Read approvals, newest first. `state` is `open`, `decided` or `closed`; None does not filter."""
    if state == "open":
        rows = await conn.fetch(_LIST_OPEN, organization_id, session_id, before, limit)
    else:
        rows = await conn.fetch(_LIST, organization_id, session_id, state, before, limit)
    return [ApprovalRow(*row.values()) for row in rows]


class ExpiredRow(NamedTuple):
    """An open approval whose time is over."""

    organization_id: UUID
    id: UUID


_EXPIRED = """
SELECT organization_id, id
  FROM approvals
 WHERE decision IS NULL AND closed_at IS NULL AND expires_at <= $1
 ORDER BY expires_at
 LIMIT $2
"""


async def expired(conn: Connection, *, now: datetime, limit: int) -> list[ExpiredRow]:
    """Find open approvals of any organization that nobody decided in time, the longest overdue first."""
    return [ExpiredRow(*row.values()) for row in await conn.fetch(_EXPIRED, now, limit)]
