"""Calls that make a turn: say something, answer again, try again. They wait for the turn unless told not to.

The turn runs elsewhere, so a caller that goes away cancels nothing; and what is kept under an idempotency
key is the turn, so a repetition joins it: 202 while it runs, 200 when it is final. With
`Accept: text/event-stream` the answer is the turn's stream, from its creation to its end.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from litestar import Response
from loguru import logger

from api.routes import headers
from api.routes.answers import respond
from api.routes.calls import Call, Command
from api.routes.etags import etag_of
from api.routes.negotiation import write_applied
from api.routes.operations import Answer, operation
from api.routes.schemas.budgets import warning_of
from api.routes.schemas.events import SESSION_STREAM
from api.routes.schemas.requests import AppendMessage, Regenerate, Retry
from api.routes.schemas.sessions import SessionDelta, SessionView, session_delta, session_view
from api.routes.streams import EventStream, Place, wants_stream
from api.session import ids
from api.session.commands import IfActive
from api.session.document import TurnState
from api.store import Delta, Done, Replay
from api.store.errors import OUTAGES
from api.store.scopes import Scope
from api.store.streaming import Cursor

_HEADERS = (
    headers.ETAG,
    headers.LOCATION,
    headers.IDEMPOTENCY_REPLAYED,
    headers.PREFERENCE_APPLIED,
    headers.BUDGET_WARNING,
)

_ANSWERS = {
    200: Answer(
        description=(
            "The turn is final, `failed` too: what has changed since the revision that the call found; the "
            "whole document with `Prefer: return=representation`."
        ),
        struct=(SessionDelta, SessionView),
        streams=SESSION_STREAM,
        headers=_HEADERS,
    ),
    202: Answer(
        description="The turn is there and not final yet; `Location` is where it is read.",
        struct=(SessionDelta, SessionView),
        headers=_HEADERS,
    ),
}


@operation(
    "POST",
    "/v1/sessions/{session_id}/messages",
    operation_id="appendMessage",
    tag="turns",
    scopes=(Scope.SESSIONS_WRITE,),
    summary="Say something and wait for the answer",
    body=AppendMessage,
    precondition="required",
    request_headers=(headers.PREFER_WAIT,),
    answers=_ANSWERS,
    problems=(402,),
)
async def append_message(call: Call) -> Response[bytes]:
    """Append a turn with the user's words.

    Behind a moved cursor this discards the future that lies there, as one discarded future.
    """
    command = await call.command(AppendMessage)
    session_id, body = call.path("session_id"), command.body
    return await _make_turn(
        call,
        command,
        lambda expected: call.store.sessions.append(
            command.caller,
            session_id,
            text=body.text,
            speaker=body.speaker,
            if_active=IfActive(body.if_active),
            expected=expected,
            idempotency=command.idempotency,
        ),
    )


@operation(
    "POST",
    "/v1/sessions/{session_id}/turns/{turn_id}/regenerate",
    operation_id="regenerateTurn",
    tag="turns",
    scopes=(Scope.SESSIONS_WRITE,),
    summary="Answer a turn again, with the same words or with others",
    body=Regenerate,
    precondition="required",
    request_headers=(headers.PREFER_WAIT,),
    answers=_ANSWERS,
    problems=(402,),
)
async def regenerate_turn(call: Call) -> Response[bytes]:
    """The turn and what follows become a discarded future, and a new turn takes its place, in one commit."""
    command = await call.command(Regenerate)
    session_id, turn_id = call.path("session_id"), call.path("turn_id")
    return await _make_turn(
        call,
        command,
        lambda expected: call.store.sessions.regenerate(
            command.caller,
            session_id,
            turn_id=turn_id,
            text=command.body.text,
            expected=expected,
            idempotency=command.idempotency,
        ),
    )


@operation(
    "POST",
    "/v1/sessions/{session_id}/turns/{turn_id}/retry",
    operation_id="retryTurn",
    tag="turns",
    scopes=(Scope.SESSIONS_WRITE,),
    summary="Try a failed or cancelled last turn again",
    body=Retry,
    precondition="required",
    request_headers=(headers.PREFER_WAIT,),
    answers=_ANSWERS,
    problems=(402,),
)
async def retry_turn(call: Call) -> Response[bytes]:
    """As regenerate, for the last turn in effect when it failed or was cancelled."""
    command = await call.command(Retry)
    session_id, turn_id = call.path("session_id"), call.path("turn_id")
    return await _make_turn(
        call,
        command,
        lambda expected: call.store.sessions.retry(
            command.caller,
            session_id,
            turn_id=turn_id,
            expected=expected,
            idempotency=command.idempotency,
        ),
    )


OPERATIONS = (append_message, regenerate_turn, retry_turn)


async def _make_turn(
    call: Call, command: Command[Any], do: Callable[[int | None], Awaitable[Done | Replay]]
) -> Response[bytes]:
    """Have the turn made, or join the one that the first call made; wait for it, and answer."""
    session_id = call.path("session_id")
    if wants_stream(call):
        # Whoever finds no place is sent away before anything has changed.
        with Place(call) as place:
            return _stream(call, await call.carry_out(command, session_id, do), place)
    result = await call.carry_out(command, session_id, do)
    assert result.turn_id is not None, "these commands make a turn"
    if isinstance(result, Replay):
        fields = {"Idempotency-Replayed": "true"}
        return await _join(call, result.turn_id, result.base_revision, delta=None, fields=fields)
    base_revision, fields = result.delta.session.revision - 1, warning_of(result.near_budgets)
    return await _join(call, result.turn_id, base_revision, delta=result.delta, fields=fields)


def _stream(call: Call, result: Done | Replay, place: Place) -> Response[bytes]:
    """Answer with all that the turn does and says, from its creation on."""
    assert result.turn_id is not None, "these commands make a turn"
    if isinstance(result, Replay):
        base_revision = result.base_revision
        fields = {"Idempotency-Replayed": "true"}
    else:
        base_revision = result.delta.session.revision - 1
        fields = {"ETag": etag_of(base_revision + 1), **warning_of(result.near_budgets)}
    fields["Location"] = f"/v1/sessions/{call.path('session_id')}/turns/{result.turn_id}"
    return EventStream(
        call, Cursor(revision=base_revision), place=place, turn_id=result.turn_id, fields=fields
    )


async def _join(
    call: Call, turn_id: str, base_revision: int, *, delta: Delta | None, fields: dict[str, str]
) -> Response[bytes]:
    """Answer for a turn, `delta` being what is known of it without asking the database."""
    settings, preferences, session_id = call.state.settings, call.preferences, call.path("session_id")
    wait_seconds = preferences.waits_seconds(
        default_seconds=settings.wait_seconds_default, max_seconds=settings.wait_seconds_max
    )
    state = None
    if wait_seconds > 0 or delta is None:
        state = await _state_within(call, turn_id, wait_seconds)
    value: SessionDelta | SessionView
    returns = None
    if preferences.wants_representation:
        reading = await call.store.reading.document(call.caller, session_id)
        value, revision, returns = session_view(reading), reading.session.revision, "representation"
    else:
        if state is not None or delta is None:
            delta = await call.store.reading.since(call.caller, session_id, base_revision)
        value = session_delta(delta, since_revision=base_revision, turn_id=turn_id)
        revision = delta.session.revision
    applied = write_applied(
        respond_async=preferences.respond_async,
        wait_seconds=None if preferences.wait_seconds is None else wait_seconds,
        returns=returns,
    )
    located = {"ETag": etag_of(revision), "Location": f"/v1/sessions/{session_id}/turns/{turn_id}"}
    is_final = state is not None and state.is_final
    return respond(value, status=200 if is_final else 202, fields=located | applied | fields)


async def _state_within(call: Call, turn_id: str, wait_seconds: float) -> TurnState | None:
    """Wait until a turn is final or waits for a person, holding no connection; None when the time passed
    before.
    """
    session_id = call.path("session_id")
    row = ids.from_wire(ids.Kind.SESSION, session_id)
    assert row is not None, "the store has found it"
    poll_seconds = call.state.settings.poll_interval_ms / 1000
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_seconds
    with call.state.hub.listening(row) as listener:
        while True:
            try:
                turn = await call.store.reading.turn(call.caller, session_id, turn_id)
            except tuple(OUTAGES) as error:
                # The message is written, and the caller is told so.
                logger.warning("call waits for the database", turn_id=turn_id, error=repr(error))
            else:
                if turn.state is not TurnState.PENDING:
                    return turn.state
            left_seconds = until - loop.time()
            if left_seconds <= 0 or call.state.is_stopping:
                return None
            await listener.wait(seconds_max=min(left_seconds, poll_seconds))
