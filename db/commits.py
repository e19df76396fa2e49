"""The swap: one statement that accepts a whole change of a session at one revision, or nothing of it.

Everything that a commit writes hangs on the row that `UPDATE sessions ... WHERE revision = $3` returns.
When the revision moved, that row is missing and with it everything else. A statement is a transaction of
its own, so a commit costs one round trip.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.events import EventRow
from db.pool import Connection


class Header(NamedTuple):
    """The new header: the document and the copies of its fields that statements need."""

    document: bytes
    name: str | None
    state: str
    branch: int
    turn_count: int
    cursor: int
    unfinished_count: int
    active_turn_id: UUID | None
    updated_at: datetime


class CreatedTurn(NamedTuple):
    """A turn that is appended to the line."""

    id: UUID
    branch: int
    position: int
    state: str
    created_at: datetime
    body: bytes
    stores_node: bool


class ChangedTurn(NamedTuple):
    """An unfinished turn that is written again."""

    id: UUID
    branch: int
    position: int
    state: str
    body: bytes
    stores_node: bool


class OpenedBranch(NamedTuple):
    """A branch that leaves its parent before position `branch_point`."""

    number: int
    parent: int | None
    branch_point: int


class Discarded(NamedTuple):
    """A part of the line that becomes a discarded future."""

    ordinal: int
    branch: int
    branch_point: int
    line_count: int


class Trimmed(NamedTuple):
    """A discarded future whose first turns came back onto the line."""

    ordinal: int
    branch_point: int


class KeyRow(NamedTuple):
    """The idempotency key of the call, with the answer that a repetition gets."""

    key: str
    fingerprint: bytes
    created_at: datetime
    turn_id: UUID | None
    base_revision: int | None
    status: int | None
    headers: bytes | None
    answer: bytes | None


_NO_TURN = CreatedTurn(None, None, None, None, None, None, None)  # type: ignore[arg-type]
_NO_BRANCH = OpenedBranch(None, None, None)  # type: ignore[arg-type]
_NO_FUTURE = Discarded(None, None, None, None)  # type: ignore[arg-type]
_NO_KEY = KeyRow(None, None, None, None, None, None, None, None)  # type: ignore[arg-type]

# Lock order: the session, its runs, its futures, the idempotency key. A concurrent twin of the same call
# waits on the session's row and then finds the revision moved; see docs/decisions/0003.
# What changes is brought together first, and is told to be little: the limits take nothing away. Else the
# planner, which takes an array for ten rows and a session for as short as most, may read all turns of the
# session to find the one (tests/db/test_plans.py).
_SWAP = """
WITH swapped AS (
    UPDATE sessions
       SET revision = revision + 1, epoch = epoch + $5, document = $6, name = $7, state = $8, branch = $9,
           turn_count = $10, cursor = $11, unfinished_count = $12, active_turn_id = $13, updated_at = $14,
           active_hour = date_trunc('hour', $14::timestamptz), metadata = COALESCE($15::json, metadata)
     WHERE organization_id = $1 AND id = $2 AND revision = $3 AND deleted_at IS NULL
       AND ($4::int IS NULL OR epoch = $4)
 RETURNING organization_id, id, revision
), created AS (
    INSERT INTO turns (organization_id, session_id, branch, position, id, created_at, state, revision, body)
    SELECT organization_id, id, $17, $18, $16, $20, $19, revision, $21
      FROM swapped WHERE $16::uuid IS NOT NULL
), changes AS MATERIALIZED (
    SELECT swapped.*, c.*
      FROM swapped, unnest($22::int[], $23::int[], $24::text[], $25::json[], $49::bool[])
                      AS c(branch, position, state, body, stores_node)
     LIMIT cardinality($22::int[])
), changed AS (
    UPDATE turns t SET state = c.state, revision = c.revision, body = c.body, stores_node = c.stores_node
      FROM changes c
     WHERE t.organization_id = c.organization_id AND t.session_id = c.id
       AND t.branch = c.branch AND t.position = c.position
), run_ended AS (
    UPDATE runs r SET state = CASE WHEN $5 = 0 THEN 'finished' ELSE 'revoked' END, ended_at = $14
      FROM swapped s
     WHERE r.organization_id = s.organization_id AND r.turn_id = ANY($26::uuid[]) AND r.state = 'running'
), event AS (
    INSERT INTO events (organization_id, session_id, revision, type, at, actor, effects, line_from)
    SELECT organization_id, id, revision, $27, $14, $28, $29, $30 FROM swapped
), answered AS (
    INSERT INTO idempotency_keys (organization_id, session_id, key, fingerprint, created_at, turn_id,
                                  base_revision, status, headers, answer)
    SELECT organization_id, id, $31, $32, $33, $34, $35, $36, $37, $38
      FROM swapped WHERE $31::text IS NOT NULL
), opened AS (
    INSERT INTO branches (organization_id, session_id, number, parent, branch_point)
    SELECT organization_id, id, $39, $40, $41 FROM swapped WHERE $39::int IS NOT NULL
), discarded AS (
    INSERT INTO discarded_futures (organization_id, session_id, ordinal, branch, branch_point, line_count,
                                   discarded_at, discarded_by)
    SELECT organization_id, id, $42, $43, $44, $45, $14, $28 FROM swapped WHERE $42::int IS NOT NULL
), restored AS (
    UPDATE discarded_futures d SET restored_revision = s.revision
      FROM swapped s
     WHERE d.organization_id = s.organization_id AND d.session_id = s.id AND d.ordinal = $46
), trims AS MATERIALIZED (
    SELECT swapped.*, c.* FROM swapped, unnest($47::int[], $48::int[]) AS c(ordinal, branch_point)
     LIMIT cardinality($47::int[])
), trimmed AS (
    UPDATE discarded_futures d SET branch_point = c.branch_point
      FROM trims c
     WHERE d.organization_id = c.organization_id AND d.session_id = c.id AND d.ordinal = c.ordinal
)
SELECT revision FROM swapped
"""


async def swap(
    conn: Connection,
    organization_id: UUID,
    session_id: UUID,
    *,
    expected_revision: int,
    expected_epoch: int | None,
    epoch_step: int,
    header: Header,
    metadata: bytes | None,
    created: CreatedTurn | None,
    changed: Sequence[ChangedTurn],
    runs_ended_of: Sequence[UUID],
    event: EventRow,
    opened: OpenedBranch | None,
    discarded: Discarded | None,
    restored: int | None,
    trimmed: Sequence[Trimmed],
    key: KeyRow | None,
) -> bool:
    """Commit a change if the session still is at `expected_revision` (and, if given, `expected_epoch`).

    Answers False, with nothing written, when it is not. `epoch_step` is 1 when the change takes the active
    turn from its run, else 0. `runs_ended_of` are the turns that the change ends or parks.

    Raises:
        asyncpg.UniqueViolationError: constraint `idempotency_keys_pkey`: the key was used by another call.
        asyncpg.LockNotAvailableError: the session was locked longer than the connection's lock timeout.
    """
    made = created or _NO_TURN
    answer = key or _NO_KEY
    branch = opened or _NO_BRANCH
    future = discarded or _NO_FUTURE
    committed = await conn.fetchval(
        _SWAP,
        organization_id,
        session_id,
        expected_revision,
        expected_epoch,
        epoch_step,
        *header,
        metadata,
        made.id,
        made.branch,
        made.position,
        made.state,
        made.created_at,
        made.body,
        [turn.branch for turn in changed],
        [turn.position for turn in changed],
        [turn.state for turn in changed],
        [turn.body for turn in changed],
        list(runs_ended_of),
        event.type,
        event.actor,
        event.effects,
        event.line_from,
        *answer,
        *branch,
        *future,
        restored,
        [future.ordinal for future in trimmed],
        [future.branch_point for future in trimmed],
        [turn.stores_node for turn in changed],
    )
    return committed is not None


_CREATE = """
WITH made AS (
    INSERT INTO sessions (organization_id, id, agent_id, agent_version, created_at, context, metadata, name,
                          active_hour, state, revision, branch, turn_count, cursor, unfinished_count,
                          active_turn_id, updated_at, document)
    VALUES ($1, $2, $3, $4, $13, $5, $6, $8, date_trunc('hour', $13::timestamptz), $9, $14, $10, $11, $12,
            $15, $16, $13, $7)
), root AS (
    INSERT INTO branches (organization_id, session_id, number, parent, branch_point)
    VALUES ($1, $2, 0, NULL, 0)
), copied AS (
    INSERT INTO turns (organization_id, session_id, branch, position, id, state, created_at, revision, body,
                       stores_node)
    SELECT $1, $2, 0, t.position, t.id, t.state, t.created_at, t.revision, t.body, t.stores_node
      FROM unnest($17::int[], $18::uuid[], $19::text[], $20::timestamptz[], $21::int[], $22::json[],
                  $36::bool[])
        AS t(position, id, state, created_at, revision, body, stores_node)
), told AS (
    INSERT INTO events (organization_id, session_id, revision, type, at, actor, effects, line_from)
    SELECT $1, $2, e.revision, e.type, $13, $23, e.effects, e.line_from
      FROM unnest($24::int[], $25::text[], $26::json[], $27::int[]) AS e(revision, type, effects, line_from)
)
INSERT INTO idempotency_keys (organization_id, session_id, key, fingerprint, created_at, turn_id,
                              base_revision, status, headers, answer)
SELECT $1, $2, $28, $29, $30, $31, $32, $33, $34, $35 WHERE $28::text IS NOT NULL
"""


async def create(
    conn: Connection,
    organization_id: UUID,
    session_id: UUID,
    *,
    agent_id: UUID,
    agent_version: int,
    revision: int,
    context: bytes,
    metadata: bytes,
    header: Header,
    turns: Sequence[tuple[CreatedTurn, int]],
    events: Sequence[EventRow],
    key: KeyRow | None,
) -> None:
    """Write a new session, its first turns (each with its revision) and its events in one statement.

    All events have the instant and the actor of the first.

    Raises:
        asyncpg.UniqueViolationError: constraint `idempotency_keys_pkey`: the key was used by another call.
    """
    await conn.execute(
        _CREATE,
        organization_id,
        session_id,
        agent_id,
        agent_version,
        context,
        metadata,
        header.document,
        header.name,
        header.state,
        header.branch,
        header.turn_count,
        header.cursor,
        header.updated_at,
        revision,
        header.unfinished_count,
        header.active_turn_id,
        [turn.position for turn, _ in turns],
        [turn.id for turn, _ in turns],
        [turn.state for turn, _ in turns],
        [turn.created_at for turn, _ in turns],
        [turn_revision for _, turn_revision in turns],
        [turn.body for turn, _ in turns],
        events[0].actor,
        [event.revision for event in events],
        [event.type for event in events],
        [event.effects for event in events],
        [event.line_from for event in events],
        *(key or _NO_KEY),
        [turn.stores_node for turn, _ in turns],
    )
