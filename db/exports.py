"""Reading a session whole, a page at a time: every turn and step of it, and what it has cost."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class TurnRow(NamedTuple):
    """A turn, on the line or not."""

    branch: int
    position: int
    id: UUID
    body: bytes


_TURNS = """
SELECT branch, position, id, body
  FROM turns
 WHERE organization_id = $1 AND session_id = $2 AND (branch, position) > ($3, $4)
 ORDER BY branch, position
 LIMIT $5
"""


async def turns(
    conn: Connection, organization_id: UUID, session_id: UUID, *, branch: int, position: int, limit: int
) -> list[TurnRow]:
    """Read the turns behind a place, branch by branch; position -1 of branch 0 is before all."""
    rows = await conn.fetch(_TURNS, organization_id, session_id, branch, position, limit)
    return [TurnRow(*row.values()) for row in rows]


class StepRow(NamedTuple):
    """A step as it is stored."""

    id: UUID
    turn_id: UUID
    run_id: UUID
    attempt: int
    kind: str
    purpose: str
    speaker: str
    provider: str | None
    model: str | None
    started_at: datetime
    request: bytes
    state: str
    ended_at: datetime | None
    result: bytes | None


_STEPS = """
SELECT id, turn_id, run_id, attempt, kind, purpose, speaker, provider, model, started_at, request, state,
       ended_at, result
  FROM steps
 WHERE organization_id = $1 AND turn_id = ANY($2::uuid[])
 ORDER BY started_at, id
"""


async def steps(conn: Connection, organization_id: UUID, turn_ids: Sequence[UUID]) -> list[StepRow]:
    """Read the steps of some turns, in the order in which they were started."""
    rows = await conn.fetch(_STEPS, organization_id, list(turn_ids))
    return [StepRow(*row.values()) for row in rows]


class FutureRow(NamedTuple):
    """A future that was discarded once, whether or not it was restored since."""

    ordinal: int
    branch: int
    branch_point: int
    line_count: int
    discarded_at: datetime
    discarded_by: bytes
    restored_revision: int | None


_FUTURES = """
SELECT ordinal, branch, branch_point, line_count, discarded_at, discarded_by, restored_revision
  FROM discarded_futures
 WHERE organization_id = $1 AND session_id = $2 AND ordinal > $3
 ORDER BY ordinal
 LIMIT $4
"""


async def futures(
    conn: Connection, organization_id: UUID, session_id: UUID, *, after: int, limit: int
) -> list[FutureRow]:
    """Read all futures behind an ordinal, in order."""
    rows = await conn.fetch(_FUTURES, organization_id, session_id, after, limit)
    return [FutureRow(*row.values()) for row in rows]


class ImportedEntryRow(NamedTuple):
    """A ledger entry of the installation that the session was brought from."""

    id: UUID
    seq: int
    entry: bytes


_IMPORTED = """
SELECT id, seq, entry
  FROM imported_usage_entries
 WHERE organization_id = $1 AND session_id = $2 AND (seq, id) > ($3, $4)
 ORDER BY seq, id
 LIMIT $5
"""


async def imported_entries(
    conn: Connection, organization_id: UUID, session_id: UUID, *, seq: int, entry_id: UUID, limit: int
) -> list[ImportedEntryRow]:
    """Read what an imported session had cost before, behind a place of its ledger of then."""
    rows = await conn.fetch(_IMPORTED, organization_id, session_id, seq, entry_id, limit)
    return [ImportedEntryRow(*row.values()) for row in rows]
