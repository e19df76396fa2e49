"""Interactions: the audit of model calls, those of sessions and those that were captured."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from api.session import ids
from api.session.document import Actor, AgentRef, TurnError, TurnState, Usage
from api.session.line import Line, Segment
from api.store import rows
from api.store.base import Caller
from api.store.replaying import Replaying
from db import interactions
from db.pool import Connection

HIGHEST = UUID(int=2**128 - 1)
"""Above every id that is given."""

_LOWEST = UUID(int=0)
_BEGINNING = datetime.min.replace(tzinfo=UTC)

_SKEW = timedelta(minutes=5)
"""By how much the instant in an id may differ from the one beside it."""


class Client(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whose call it was."""

    id: str
    """The API key that sent the turn (`key_...`), or what a captured call says."""
    name: str | None = None
    """Of the key."""


class TurnPlace(msgspec.Struct, frozen=True, kw_only=True):
    """The turn of an interaction, and what has become of it."""

    id: str
    position: int
    state: TurnState
    place: str
    """`in_effect`, `rewound` (on the line, behind the cursor) or `discarded`."""
    error: TurnError | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """An interaction without its text. None where a captured call does not say it."""

    id: str
    source: str
    """`session` or `captured`."""
    session_id: str | None
    turn: TurnPlace | None
    agent: AgentRef | None
    node: str | None
    purpose: str | None
    speaker: str | None
    provider: str | None
    model: str
    started_at: datetime
    """Of a captured call: when it was captured."""
    latency_ms: int | None
    usage: Usage | None
    """None while the call goes on."""
    outcome: str | None
    """`completed`, `failed` or `cancelled`; None while the call goes on."""
    billable: bool | None
    billable_reason: str | None
    client: Client | None
    project: str | None
    actor: Actor | None
    """Who sent the turn, or captured the call."""
    run_id: str | None
    attempt: int | None
    metadata: dict[str, Any] | None
    """Of a captured call."""


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which interactions; None does not filter."""

    session_id: str | None = None
    agent_id: str | None = None
    client: str | None = None
    project: str | None = None
    since: datetime | None = None


class Interactions(Replaying):
    """The part of the store that keeps the audit of model calls."""

    async def listed(
        self, caller: Caller, filters: Filters, *, before: UUID | None, limit: int
    ) -> tuple[list[Summary], UUID | None]:
        """List interactions, newest first; with where the next page goes on, None behind the last."""
        session_id = _given(ids.Kind.SESSION, filters.session_id)
        agent_id = _given(ids.Kind.AGENT, filters.agent_id)
        if (session_id is None) != (filters.session_id is None):
            return [], None
        if (agent_id is None) != (filters.agent_id is None):
            return [], None
        async with self._pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            found = await interactions.page(
                conn,
                caller.organization_id,
                before=before or HIGHEST,
                lowest=_lowest_id(filters.since),
                since=filters.since or _BEGINNING,
                session_id=session_id,
                agent_id=agent_id,
                client=filters.client,
                project=filters.project,
                limit=limit + 1,
            )
            page = found[:limit]
            told = await self._summaries(conn, caller, page)
        return told, page[-1] if len(found) > len(page) else None

    async def _summaries(self, conn: Connection, caller: Caller, page: Sequence[UUID]) -> list[Summary]:
        found = await interactions.summaries(conn, caller.organization_id, page)
        lowest: dict[UUID, int] = {}
        for row in found:
            if row.session_id is not None and row.turn_position is not None:
                position = min(row.turn_position, lowest.get(row.session_id, row.turn_position))
                lowest[row.session_id] = position
        places = _Places(await interactions.lines(conn, caller.organization_id, lowest))
        return [_summary(row, places) for row in found]


class _Places:
    """Where the turns of some sessions are now."""

    def __init__(self, found: Iterable[interactions.LineRow]) -> None:
        self._cursors: dict[UUID, int] = {}
        segments: dict[UUID, list[Segment]] = {}
        for row in found:
            self._cursors[row.session_id] = row.cursor
            segment = Segment(branch=row.branch, first=row.first, end=row.end)
            segments.setdefault(row.session_id, []).append(segment)
        self._lines = {session_id: Line(tuple(stretch)) for session_id, stretch in segments.items()}

    def of(self, session_id: UUID, branch: int, position: int) -> str:
        """The word for where a turn is."""
        if self._lines.get(session_id, Line()).owner(position) != branch:
            return "discarded"
        return "in_effect" if position < self._cursors[session_id] else "rewound"


def _summary(row: interactions.SummaryRow, places: _Places) -> Summary:
    is_ended = row.state not in (None, "started")
    return Summary(
        id=ids.to_wire(ids.Kind.INTERACTION if row.is_captured else ids.Kind.STEP, row.id),
        source="captured" if row.is_captured else "session",
        session_id=None if row.session_id is None else ids.to_wire(ids.Kind.SESSION, row.session_id),
        turn=_turn(row, places),
        agent=_agent(row),
        node=row.node,
        purpose=row.purpose,
        speaker=row.speaker,
        provider=row.provider,
        model=row.model,
        started_at=row.at,
        latency_ms=row.latency_ms,
        usage=_usage(row),
        outcome=row.state if is_ended else None,
        billable=row.billable,
        billable_reason=row.billable_reason,
        client=None if row.client is None else Client(id=row.client, name=row.client_name),
        project=row.project,
        actor=None if row.actor is None else rows.actor(row.actor),
        run_id=None if row.run_id is None else ids.to_wire(ids.Kind.RUN, row.run_id),
        attempt=row.attempt,
        metadata=None if row.captured_metadata is None else msgspec.json.decode(row.captured_metadata),
    )


def _turn(row: interactions.SummaryRow, places: _Places) -> TurnPlace | None:
    if row.turn_id is None:
        return None
    assert row.session_id is not None
    assert row.turn_branch is not None
    assert row.turn_position is not None
    assert row.turn_state is not None
    return TurnPlace(
        id=ids.to_wire(ids.Kind.TURN, row.turn_id),
        position=row.turn_position,
        state=TurnState(row.turn_state),
        place=places.of(row.session_id, row.turn_branch, row.turn_position),
        error=None if row.turn_error is None else msgspec.json.decode(row.turn_error, type=TurnError | None),
    )


def _agent(row: interactions.SummaryRow) -> AgentRef | None:
    if row.agent_id is None or row.agent_version is None:
        return None
    return AgentRef(id=ids.to_wire(ids.Kind.AGENT, row.agent_id), version=row.agent_version)


def _usage(row: interactions.SummaryRow) -> Usage | None:
    if row.captured_usage is not None:
        return msgspec.json.decode(row.captured_usage, type=Usage)
    if row.input_tokens is None:
        return None
    return Usage(
        input_tokens=row.input_tokens,
        cached_tokens=row.cached_tokens or 0,
        cache_write_tokens=row.cache_write_tokens or 0,
        output_tokens=row.output_tokens or 0,
        reasoning_tokens=row.reasoning_tokens or 0,
        cost=row.cost,
        currency=row.currency or "USD",
        unknown_count=int(row.cost is None),
    )


def _given(kind: ids.Kind, wire_id: str | None) -> UUID | None:
    return None if wire_id is None else ids.from_wire(kind, wire_id)


def _lowest_id(since: datetime | None) -> UUID:
    """The lowest UUIDv7 that may have been given to what began since then."""
    if since is None:
        return _LOWEST
    try:
        milliseconds = int((since - _SKEW).timestamp() * 1000)
    except OverflowError:
        return _LOWEST
    return UUID(int=min(max(milliseconds, 0), 2**48 - 1) << 80)
