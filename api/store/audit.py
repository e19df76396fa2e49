"""What is told of a model call, made from the rows of the audit."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from api.models.base import ModelRequest
from api.prompt.again import Sources
from api.prompt.progress import ModelAnswer, ToolAnswer, ToolRequest, idempotency_key
from api.session import ids
from api.session.document import Actor, AgentRef, Approval, Turn, TurnError, TurnState, Usage
from api.session.line import Line, Segment
from api.store import rows
from db import interactions, runs


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
    """As it was asked for."""
    answering_model: str | None
    """As the provider named it, which may be a dated edition; None while the call goes on."""
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


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a tool call, as its step says."""

    step_id: str
    run_id: str
    tool: str
    effect: str
    arguments: dict[str, Any]
    arguments_digest: str
    outcome: str | None
    """`completed`, `failed`, `refused`, `denied` or `unknown`; None while it goes on."""
    content: str | None
    """What the model was told."""
    says: str
    """A line that the agent spoke with it."""
    started_at: datetime
    ended_at: datetime | None
    idempotency_key: str


class AskedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call that the model asked for, and what became of it."""

    index: int
    id: str
    """The provider's."""
    name: str
    arguments: str
    """As the model wrote them, which need not be JSON."""
    attempts: tuple[Attempt, ...]
    approvals: tuple[Approval, ...]
    """What people were asked about it, and what they decided."""


class Interaction(msgspec.Struct, frozen=True, kw_only=True):
    """One model call, whole."""

    summary: Summary
    prompt: ModelRequest | None
    """As it renders now; None when it does not."""
    sources: Sources | None
    """None of a captured call."""
    prompt_sha256: str | None
    """Of what was sent; None of a captured call."""
    difference: str | None
    """Why the prompt is not what was sent; None when it is, to the digest."""
    response: ModelAnswer | None
    """None while the call goes on, and when it was broken off."""
    calls: tuple[AskedCall, ...]


class Places:
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


def summary(row: interactions.SummaryRow, places: Places) -> Summary:
    """An interaction without its text."""
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
        answering_model=row.answering_model,
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


def response_of(step: runs.StepRow) -> ModelAnswer | None:
    """What a model call answered; None where it has come to no end."""
    return None if step.result is None else msgspec.json.decode(step.result, type=ModelAnswer)


def asked_calls(
    step_id: str, response: ModelAnswer, turn: Turn, steps: Iterable[runs.StepRow]
) -> tuple[AskedCall, ...]:
    """The tool calls that a model call has asked for, with every attempt and every question to people."""
    attempts: dict[int, list[Attempt]] = {}
    for step in steps:
        if step.kind == "tool":
            request = msgspec.json.decode(step.request, type=ToolRequest)
            if request.asked_by == step_id:
                attempts.setdefault(request.call_index, []).append(_attempt(step, request, turn.id))
    return tuple(
        AskedCall(
            index=index,
            id=call.id,
            name=call.name,
            arguments=call.arguments,
            attempts=tuple(attempts.get(index, ())),
            approvals=tuple(
                approval
                for approval in turn.approvals
                if (approval.asked_by, approval.call_index) == (step_id, index)
            ),
        )
        for index, call in enumerate(response.tool_calls)
    )


def _attempt(step: runs.StepRow, request: ToolRequest, turn_id: str) -> Attempt:
    answer = None if step.result is None else msgspec.json.decode(step.result, type=ToolAnswer)
    return Attempt(
        step_id=ids.to_wire(ids.Kind.STEP, step.id),
        run_id=ids.to_wire(ids.Kind.RUN, step.run_id),
        tool=request.tool,
        effect=request.effect,
        arguments=request.arguments,
        arguments_digest=request.arguments_digest,
        outcome=None if answer is None else answer.end.value,
        content=None if answer is None else answer.content,
        says="" if answer is None else answer.says,
        started_at=step.started_at,
        ended_at=step.ended_at,
        idempotency_key=idempotency_key(turn_id, request),
    )


def _turn(row: interactions.SummaryRow, places: Places) -> TurnPlace | None:
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
