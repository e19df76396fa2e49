"""Between the core's structs and the database's rows; nothing here decides anything."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from api.session import codec, ids
from api.session.document import (
    Actor,
    Branch,
    Change,
    DiscardedFuture,
    Effect,
    Event,
    EventType,
    Head,
    Session,
    StepSummary,
    Turn,
    TurnState,
    Usage,
)
from api.session.errors import CorruptDocument
from api.session.line import Line, Segment
from api.store.base import Idempotency, StoredAnswer
from db import commits, events, futures, keys, runs, sessions, turns

_encode = msgspec.json.encode


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The agent's node and variables."""

    node: str
    variables: dict[str, Any]


def head(row: sessions.HeaderRow) -> Head:
    """The head that a command is given; `codec` has checked what was read."""
    session = codec.decode_session(row.document)
    if session.revision != row.revision:
        raise CorruptDocument(
            what="session", reason=f"the document says revision {session.revision}, the row {row.revision}"
        )
    return Head(session=session, unfinished=tuple(codec.decode_turn(body) for body in row.unfinished))


def header(session: Session) -> commits.Header:
    """The header as a commit writes it."""
    return commits.Header(
        document=codec.encode_session(session),
        name=session.name,
        state=session.state.value,
        branch=session.branch,
        turn_count=session.turn_count,
        cursor=session.cursor,
        unfinished_count=session.unfinished_count,
        active_turn_id=None if session.active_turn_id is None else turn_uuid(session.active_turn_id),
        updated_at=session.updated_at,
    )


def turn_uuid(turn_id: str) -> UUID:
    """The database's form of the id of a turn that the core gave us."""
    value = ids.from_wire(ids.Kind.TURN, turn_id)
    assert value is not None, turn_id
    return value


def created_turn(turn: Turn) -> commits.CreatedTurn:
    """A turn as it is inserted."""
    return commits.CreatedTurn(
        id=turn_uuid(turn.id),
        branch=turn.branch,
        position=turn.position,
        state=turn.state.value,
        created_at=turn.created_at,
        body=codec.encode_turn(turn),
        stores_node=turn.node is not None,
    )


def changed_turn(turn: Turn) -> commits.ChangedTurn:
    """A turn as it is written again."""
    return commits.ChangedTurn(
        id=turn_uuid(turn.id),
        branch=turn.branch,
        position=turn.position,
        state=turn.state.value,
        body=codec.encode_turn(turn),
        stores_node=turn.node is not None,
    )


def event_row(event: Event) -> events.EventRow:
    """An event as it is inserted."""
    return events.EventRow(
        revision=event.revision,
        type=event.type.value,
        at=event.at,
        actor=_encode(event.actor),
        effects=_encode(event.effects),
        line_from=event.line_from,
    )


def event(row: events.EventRow) -> Event:
    """An event as it was stored."""
    return Event(
        revision=row.revision,
        type=EventType(row.type),
        at=row.at,
        actor=actor(row.actor),
        effects=msgspec.json.decode(row.effects, type=tuple[Effect, ...]),
        line_from=row.line_from,
    )


def actor(stored: bytes) -> Actor:
    """An actor as it was stored."""
    return msgspec.json.decode(stored, type=Actor)


def future(row: futures.FutureRow) -> DiscardedFuture:
    """A discarded future as it was stored."""
    return DiscardedFuture(
        ordinal=row.ordinal,
        branch=row.branch,
        branch_point=row.branch_point,
        line_count=row.line_count,
        discarded_at=row.discarded_at,
        discarded_by=actor(row.discarded_by),
    )


def branches(rows: Iterable[turns.BranchRow]) -> tuple[Branch, ...]:
    """Branches as they were stored."""
    return tuple(Branch(number=row.number, parent=row.parent, branch_point=row.branch_point) for row in rows)


def line(rows: Iterable[turns.StretchRow]) -> Line:
    """A line, or its upper part, as its stretches were stored."""
    return Line(tuple(Segment(branch=row.branch, first=row.first, end=row.end) for row in rows))


def swap_arguments(change: Change) -> dict[str, Any]:
    """What `db.commits.swap` is given of a change."""
    # A turn that waits for people has no run: the claim of the next one begins when they have decided.
    ended = [turn_uuid(turn.id) for turn in change.changed if turn.state is not TurnState.PENDING]
    opened, discarded = change.opened, change.discarded
    return {
        "expected_revision": change.event.revision - 1,
        "epoch_step": int(change.revokes_run),
        "header": header(change.session),
        "metadata": None if change.metadata is None else _encode(change.metadata),
        "created": None if change.created is None else created_turn(change.created),
        "changed": [changed_turn(turn) for turn in change.changed],
        "runs_ended_of": ended,
        "event": event_row(change.event),
        "opened": None
        if opened is None
        else commits.OpenedBranch(opened.number, opened.parent, opened.branch_point),
        "discarded": None
        if discarded is None
        else commits.Discarded(
            discarded.ordinal, discarded.branch, discarded.branch_point, discarded.line_count
        ),
        "restored": change.restored,
        "trimmed": [commits.Trimmed(f.ordinal, f.branch_point) for f in change.trimmed],
    }


def key_row(
    idempotency: Idempotency,
    change_at: Any,
    *,
    answer: StoredAnswer | None,
    turn_id: str | None,
    base: int | None,
) -> commits.KeyRow:
    """The key as it is inserted: with the answer, or with the turn that a repetition joins."""
    return commits.KeyRow(
        key=idempotency.key,
        fingerprint=idempotency.fingerprint,
        created_at=change_at,
        turn_id=None if turn_id is None else turn_uuid(turn_id),
        base_revision=base,
        status=None if answer is None else answer.status,
        headers=None if answer is None else _encode(answer.headers),
        answer=None if answer is None else answer.body,
    )


def stored_answer(row: keys.StoredKey) -> StoredAnswer | None:
    """The answer kept with a key; None when there is none (any more)."""
    if row.status is None or row.answer is None or row.headers is None:
        return None
    headers = msgspec.json.decode(row.headers, type=dict[str, str])
    return StoredAnswer(status=row.status, headers=headers, body=row.answer)


class _ToolRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What every request of a tool call says; the runner's module of tools says the rest."""

    tool: str | None = None
    effect: str | None = None


class _Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a result may say that the store understands."""

    standing: Standing | None = None


def standing(row: runs.StepRow) -> Standing | None:
    """Where the agent stood after this step; None when the step did not move it."""
    if row.result is None or row.state != "completed":
        return None
    return msgspec.json.decode(row.result, type=_Result).standing


def step_summary(row: runs.StepRow) -> StepSummary:
    """A step as the turn remembers it. One that is still open is being broken off."""
    called = _ToolRequest()
    latency_ms = row.latency_ms
    if row.kind == "tool":
        called = msgspec.json.decode(row.request, type=_ToolRequest)
        if row.ended_at is not None:
            latency_ms = round((row.ended_at - row.started_at).total_seconds() * 1000)
    return StepSummary(
        id=ids.to_wire(ids.Kind.STEP, row.id),
        kind=row.kind,
        outcome="cancelled" if row.state == "started" else row.state,
        model=None if row.model is None else f"{row.provider}:{row.model}",
        tool=called.tool,
        effect=called.effect,
        started_at=row.started_at,
        latency_ms=latency_ms,
        usage=_step_usage(row),
    )


def _step_usage(row: runs.StepRow) -> Usage | None:
    if row.input_tokens is None:
        return None
    assert row.cost is None or isinstance(row.cost, Decimal)
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
