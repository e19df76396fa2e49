"""Writing a session that comes from a file: every row of it, as it was where it comes from."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from db.commits import CreatedTurn, Header
from db.events import EventRow
from db.exports import FutureRow, StepRow
from db.pool import Connection
from db.turns import BranchRow

_SESSION = """
INSERT INTO sessions (organization_id, id, agent_id, agent_version, created_at, context, metadata, revision,
                      document, name, state, branch, turn_count, cursor, unfinished_count, active_turn_id,
                      updated_at, active_hour)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
        date_trunc('hour', $17::timestamptz))
"""


async def session(
    conn: Connection,
    organization_id: UUID,
    session_id: UUID,
    *,
    agent_id: UUID,
    agent_version: int,
    created_at: datetime,
    context: bytes,
    metadata: bytes,
    revision: int,
    header: Header,
) -> None:
    """Write the header.

    Raises:
        asyncpg.UniqueViolationError: the organization has, or had, a session of this id.
    """
    await conn.execute(
        _SESSION,
        organization_id,
        session_id,
        agent_id,
        agent_version,
        created_at,
        context,
        metadata,
        revision,
        *header,
    )


_BRANCHES = """
INSERT INTO branches (organization_id, session_id, number, parent, branch_point)
SELECT $1, $2, b.* FROM unnest($3::int[], $4::int[], $5::int[]) AS b
"""


async def branches(
    conn: Connection, organization_id: UUID, session_id: UUID, found: Sequence[BranchRow]
) -> None:
    """Write every branch."""
    await conn.execute(_BRANCHES, organization_id, session_id, *_columns(found, 3))


_FUTURES = """
INSERT INTO discarded_futures (organization_id, session_id, ordinal, branch, branch_point, line_count,
                               discarded_at, discarded_by, restored_revision)
SELECT $1, $2, f.*
  FROM unnest($3::int[], $4::int[], $5::int[], $6::int[], $7::timestamptz[], $8::json[], $9::int[]) AS f
"""


async def futures(
    conn: Connection, organization_id: UUID, session_id: UUID, found: Sequence[FutureRow]
) -> None:
    """Write every future that was ever discarded."""
    await conn.execute(_FUTURES, organization_id, session_id, *_columns(found, 7))


_TURNS = """
INSERT INTO turns (organization_id, session_id, id, branch, position, state, created_at, body, stores_node,
                   revision)
SELECT $1, $2, t.*
  FROM unnest($3::uuid[], $4::int[], $5::int[], $6::text[], $7::timestamptz[], $8::json[], $9::bool[],
              $10::int[]) AS t
"""


async def turns(
    conn: Connection, organization_id: UUID, session_id: UUID, found: Sequence[tuple[CreatedTurn, int]]
) -> None:
    """Write turns, each with its revision.

    Raises:
        asyncpg.UniqueViolationError: the organization has a turn of one of these ids.
    """
    rows = [(*turn, revision) for turn, revision in found]
    await conn.execute(_TURNS, organization_id, session_id, *_columns(rows, 8))


_STEPS = """
INSERT INTO steps (organization_id, session_id, id, turn_id, run_id, attempt, kind, purpose, speaker,
                   provider, model, started_at, request, state, ended_at, result)
SELECT $1, $2, s.*
  FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::int[], $7::text[], $8::text[], $9::text[], $10::text[],
              $11::text[], $12::timestamptz[], $13::json[], $14::text[], $15::timestamptz[], $16::json[]) AS s
"""


async def steps(conn: Connection, organization_id: UUID, session_id: UUID, found: Sequence[StepRow]) -> None:
    """Write steps.

    Raises:
        asyncpg.UniqueViolationError: the organization has a step of one of these ids.
    """
    await conn.execute(_STEPS, organization_id, session_id, *_columns(found, 14))


_EVENTS = """
INSERT INTO events (organization_id, session_id, revision, type, at, actor, effects, line_from)
SELECT $1, $2, e.*
  FROM unnest($3::int[], $4::text[], $5::timestamptz[], $6::json[], $7::json[], $8::int[]) AS e
"""


async def events(
    conn: Connection, organization_id: UUID, session_id: UUID, found: Sequence[EventRow]
) -> None:
    """Write events."""
    await conn.execute(_EVENTS, organization_id, session_id, *_columns(found, 6))


class ApprovalRow(NamedTuple):
    """An approval as its turn tells of it."""

    turn_id: UUID
    id: UUID
    step_id: UUID
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
    closed_at: datetime | None


_APPROVALS = """
INSERT INTO approvals (organization_id, session_id, turn_id, id, step_id, tool, arguments, arguments_digest,
                       effect, reason, requested_at, expires_at, decision, decided_at, decided_by, note,
                       has_expired, closed_at)
SELECT $1, $2, a.*
  FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::json[], $8::text[], $9::text[], $10::text[],
              $11::timestamptz[], $12::timestamptz[], $13::text[], $14::timestamptz[], $15::json[],
              $16::text[], $17::bool[], $18::timestamptz[]) AS a
"""


async def approvals(
    conn: Connection, organization_id: UUID, session_id: UUID, found: Sequence[ApprovalRow]
) -> None:
    """Write approvals.

    Raises:
        asyncpg.UniqueViolationError: the organization has an approval of one of these ids.
    """
    await conn.execute(_APPROVALS, organization_id, session_id, *_columns(found, 16))


class EntryRow(NamedTuple):
    """A ledger entry of the installation that the session comes from."""

    id: UUID
    seq: int
    turn_id: UUID
    step_id: UUID
    corrects_id: UUID | None
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: Decimal | None
    entry: bytes


_ENTRIES = """
INSERT INTO imported_usage_entries (organization_id, session_id, id, seq, turn_id, step_id, corrects_id,
                                    input_tokens, cached_tokens, cache_write_tokens, output_tokens,
                                    reasoning_tokens, cost, entry)
SELECT $1, $2, u.*
  FROM unnest($3::uuid[], $4::bigint[], $5::uuid[], $6::uuid[], $7::uuid[], $8::bigint[], $9::bigint[],
              $10::bigint[], $11::bigint[], $12::bigint[], $13::numeric[], $14::json[]) AS u
"""


async def entries(
    conn: Connection, organization_id: UUID, session_id: UUID, found: Sequence[EntryRow]
) -> None:
    """Write what the session had cost before; our ledger and our totals stay as they are."""
    await conn.execute(_ENTRIES, organization_id, session_id, *_columns(found, 12))


_ORIGIN = """
INSERT INTO session_imports (organization_id, session_id, imported_at, imported_by, exported_at,
                             origin_organization_id, origin_agent)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""


async def origin(
    conn: Connection,
    organization_id: UUID,
    session_id: UUID,
    *,
    imported_at: datetime,
    imported_by: bytes,
    exported_at: datetime,
    organization: str,
    agent: bytes,
) -> None:
    """Write where the session comes from, and who has brought it."""
    await conn.execute(
        _ORIGIN, organization_id, session_id, imported_at, imported_by, exported_at, organization, agent
    )


# Of an agent that is here already the newest version stays the newest, unless the one brought is newer.
_AGENT = """
WITH agent AS (
    INSERT INTO agents (organization_id, id, name, latest_version, created_at)
    VALUES ($1, $2, $3, $4, $6)
    ON CONFLICT (organization_id, id)
       DO UPDATE SET latest_version = GREATEST(agents.latest_version, EXCLUDED.latest_version)
 RETURNING organization_id, id
)
INSERT INTO agent_versions (organization_id, agent_id, version, definition, published_at, published_by)
SELECT organization_id, id, $4, $5, $6, $7 FROM agent
"""


async def agent_version(
    conn: Connection,
    organization_id: UUID,
    agent_id: UUID,
    *,
    name: str,
    version: int,
    definition: bytes,
    at: datetime,
    by: bytes,
) -> None:
    """Write a version of an agent that is not here, and the agent if it is not here either."""
    await conn.execute(_AGENT, organization_id, agent_id, name, version, definition, at, by)


def _columns(rows: Sequence[Sequence[object]], count: int) -> list[list[object]]:
    """Turn rows into columns; of no rows, empty ones."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(count)]
