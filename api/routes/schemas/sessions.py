"""What callers get of a session: the document, what has changed of it, its turns, futures and events.

The structs of the core that are the same on the wire (replies, errors, actors) are used as they are.
"""

from datetime import datetime
from typing import Any

import msgspec

from api.routes.schemas.money import StepView, UsageView, step_view, usage_view
from api.session.document import (
    Actor,
    AgentRef,
    Approval,
    DiscardedFuture,
    Effect,
    Event,
    EventType,
    Notice,
    Reply,
    Session,
    SessionState,
    Turn,
    TurnError,
    TurnState,
    Usage,
    UserMessage,
)
from api.store import reading
from api.store.base import Delta, Reading


class Simulator(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a persona plays the user."""

    enabled: bool


class TurnView(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange: an optional user message and the assistant's replies to it."""

    id: str
    position: int
    """0-based place on the line, or on the line that a discarded future was the end of."""
    state: TurnState
    created_at: datetime
    created_by: Actor
    finished_at: datetime | None
    """Null until the turn is final."""
    revision: int
    """The session's revision that last changed this turn."""
    user_message: UserMessage | None
    """Null for a greeting."""
    replies: tuple[Reply, ...]
    node: str | None
    """The agent's node after this turn; null when the turn changed neither node nor variables."""
    variables: dict[str, Any] | None
    """All of the agent's variables after this turn; null when the turn changed neither node nor variables."""
    steps: tuple[StepView, ...]
    approvals: tuple[Approval, ...]
    """All that people were asked in this turn, in order; undecided for good where the turn ended before."""
    notices: tuple[Notice, ...]
    """What went otherwise than the agent's definition intends."""
    error: TurnError | None
    """Null unless the turn failed."""
    usage: UsageView | None
    """Null until the turn waits or is final, and for turns without a priced call."""
    copied_from: str | None
    """The turn of another session that a fork copied; a copy has no usage."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where an agent stands between two turns."""

    node: str
    variables: dict[str, Any]


class TurnInPlace(TurnView, frozen=True, kw_only=True):
    """A turn with what it found."""

    before: Standing
    """Where the agent stood before this turn. What it changed is in `node` and `variables`."""


class DiscardedFutureView(msgspec.Struct, frozen=True, kw_only=True):
    """Turns that left the line when a new one was appended behind a moved cursor; restorable."""

    ordinal: int
    """1-based, never reused within a session."""
    branch_point: int
    """The position of its first turn."""
    discarded_at: datetime
    discarded_by: Actor
    turn_count: int


class SessionHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of a session but its turns."""

    id: str
    revision: int
    """+1 for every committed change of the document; also the ETag."""
    state: SessionState
    format: int
    agent: AgentRef
    name: str | None
    context: dict[str, Any]
    """What the agent was told about this session when it was created."""
    metadata: dict[str, Any]
    """What the caller keeps beside the session."""
    variables: dict[str, Any]
    """The agent's variables after the turns in effect."""
    node: str
    """The agent's node after the turns in effect."""
    cursor: int
    """How many turns are in effect, 0..turn_count."""
    turn_count: int
    """Turns on the line, in effect or not."""
    active_turn_id: str | None
    """The turn that is being answered, or waits for it; null when every turn is final."""
    discarded_count: int
    """Futures ever discarded; the last ordinal given."""
    simulator: Simulator
    resolution: str | None
    """How the session ended, in the words of who ended it."""
    forked_from: str | None
    """The turn that this session was forked at."""
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    """Null while the session is open."""


class SessionView(SessionHeader, frozen=True, kw_only=True):
    """A session as one document."""

    turns: tuple[TurnView, ...]
    """The newest turns on the line, by position; 200 unless asked otherwise."""
    discarded_futures: tuple[DiscardedFutureView, ...]
    """The futures that can be restored now, by ordinal."""
    complete: bool
    """`turns` are all turns on the line."""


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """What moves without a revision."""

    usage: UsageView
    """What the session has cost so far, whatever became of its turns."""
    imported_usage: UsageView
    """What an imported session had cost where it came from: billed there, and not part of `usage`."""


class LiveSessionView(SessionView, frozen=True, kw_only=True):
    """A session as one document, with what moves without a revision."""

    live: Live


class SessionDelta(SessionHeader, frozen=True, kw_only=True):
    """What has changed of a session since a revision: the header, and the turns from `line_from` on."""

    since_revision: int
    line_from: int | None
    """The lowest position whose occupant or content has changed since; null when none has."""
    turns: tuple[TurnView, ...]
    """The turns from `line_from` on, by position, at most 200."""
    more: bool
    """There are further turns behind these; see `GET .../turns?from=`."""
    turn_id: str | None
    """The turn that this call made; null for calls that make none."""


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A session in a list."""

    id: str
    revision: int
    state: SessionState
    agent: AgentRef
    name: str | None
    cursor: int
    turn_count: int
    active_turn_id: str | None
    forked_from: str | None
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None


class SessionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions, newest first."""

    items: tuple[SessionSummary, ...]
    next_page_token: str | None
    """Null on the last page."""


class TurnPage(msgspec.Struct, frozen=True, kw_only=True):
    """Turns, by position."""

    items: tuple[TurnView, ...]
    turn_count: int
    """All turns of this line or discarded future."""
    revision: int
    """The session's revision at which these were read."""


class DiscardedFuturePage(msgspec.Struct, frozen=True, kw_only=True):
    """Discarded futures, newest first."""

    items: tuple[DiscardedFutureView, ...]
    next_page_token: str | None
    """Null on the last page."""


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """What one revision did; exactly one per revision."""

    revision: int
    type: EventType
    """The command's own effect."""
    at: datetime
    actor: Actor
    effects: tuple[Effect, ...]
    """All effects in order, the command's own among them."""


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events, by revision, without gaps."""

    items: tuple[EventView, ...]
    next: int
    """`after` of the next page."""
    revision: int
    """The session's revision; there is more while `next` is lower."""


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a rewind, restore or regenerate would take out of effect. Asking changes nothing."""

    revision: int
    """The revision for which this is true; state it with the call itself."""
    cursor: int
    """Turns in effect afterwards."""
    turn_count: int
    """Turns that would no longer be in effect."""
    reply_count: int
    """Replies in those turns."""
    cancelled_turn_id: str | None
    """The active turn, which would be cancelled; null when there is none."""
    tool_calls: tuple[StepView, ...]
    """Tool calls in those turns with side effects that cannot be undone."""
    memory_count: int
    """Memories that would be retracted."""
    usage: UsageView
    """What those turns have cost; it stays in the ledger."""


def turn_view(turn: Turn) -> TurnView:
    """Show a turn."""
    return TurnView(
        id=turn.id,
        position=turn.position,
        state=turn.state,
        created_at=turn.created_at,
        created_by=turn.created_by,
        finished_at=turn.finished_at,
        revision=turn.revision,
        user_message=turn.user_message,
        replies=turn.replies,
        node=turn.node,
        variables=turn.variables,
        steps=tuple(step_view(step) for step in turn.steps),
        approvals=turn.approvals,
        notices=turn.notices,
        error=turn.error,
        usage=None if turn.usage is None else usage_view(turn.usage),
        copied_from=turn.copied_from,
    )


def turn_in_place(turn: Turn, node: str, variables: dict[str, Any]) -> TurnInPlace:
    """Show a turn with the node and the variables before it."""
    before = Standing(node=node, variables=variables)
    return TurnInPlace(**msgspec.structs.asdict(turn_view(turn)), before=before)


def discarded_future_view(future: DiscardedFuture) -> DiscardedFutureView:
    """Show a discarded future, without its turns."""
    return DiscardedFutureView(
        ordinal=future.ordinal,
        branch_point=future.branch_point,
        discarded_at=future.discarded_at,
        discarded_by=future.discarded_by,
        turn_count=future.turn_count,
    )


def session_view(reading: Reading) -> SessionView:
    """Show a session with the newest of its turns, by position."""
    return SessionView(
        **_header(reading.session, reading.context, reading.metadata),
        turns=tuple(turn_view(turn) for turn in reading.turns),
        discarded_futures=tuple(discarded_future_view(future) for future in reading.discarded_futures),
        complete=reading.is_complete,
    )


def live_session_view(reading: Reading, usage: Usage, *, imported: Usage) -> LiveSessionView:
    """Show a session with its totals."""
    live = Live(usage=usage_view(usage), imported_usage=usage_view(imported))
    return LiveSessionView(**msgspec.structs.asdict(session_view(reading)), live=live)


def session_delta(delta: Delta, *, since_revision: int, turn_id: str | None = None) -> SessionDelta:
    """Show what has changed since a revision; `turn_id` is the turn that the call made."""
    return SessionDelta(
        **_header(delta.session, delta.context, delta.metadata),
        since_revision=since_revision,
        line_from=delta.line_from,
        turns=tuple(turn_view(turn) for turn in delta.turns),
        more=delta.more,
        turn_id=turn_id,
    )


def preview_view(preview: reading.Preview) -> Preview:
    """Show what a command would take out of effect."""
    return Preview(
        revision=preview.revision,
        cursor=preview.cursor,
        turn_count=preview.turn_count,
        reply_count=preview.reply_count,
        cancelled_turn_id=preview.cancelled_turn_id,
        tool_calls=tuple(step_view(step) for step in preview.tool_calls),
        # Post-turn steps, which make memories, are not part of this release.
        memory_count=0,
        usage=usage_view(preview.usage),
    )


def session_summary(session: Session) -> SessionSummary:
    """Show a session in a list."""
    return SessionSummary(
        id=session.id,
        revision=session.revision,
        state=session.state,
        agent=session.agent,
        name=session.name,
        cursor=session.cursor,
        turn_count=session.turn_count,
        active_turn_id=session.active_turn_id,
        forked_from=session.forked_from,
        created_at=session.created_at,
        updated_at=session.updated_at,
        ended_at=session.ended_at,
    )


def event_view(event: Event) -> EventView:
    """Show an event."""
    return EventView(
        revision=event.revision, type=event.type, at=event.at, actor=event.actor, effects=event.effects
    )


def _header(session: Session, context: msgspec.Raw, metadata: msgspec.Raw) -> dict[str, Any]:
    # Raw: the two go out byte for byte as they came in.
    return {
        "id": session.id,
        "revision": session.revision,
        "state": session.state,
        "format": session.format,
        "agent": session.agent,
        "name": session.name,
        "context": context,
        "metadata": metadata,
        "variables": session.variables,
        "node": session.node,
        "cursor": session.cursor,
        "turn_count": session.turn_count,
        "active_turn_id": session.active_turn_id,
        "discarded_count": session.discarded_count,
        "simulator": Simulator(enabled=session.simulator_enabled),
        "resolution": session.resolution,
        "forked_from": session.forked_from,
        "created_at": session.created_at,
        "updated_at": session.updated_at,
        "ended_at": session.ended_at,
    }
