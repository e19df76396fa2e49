"""Commands on the line of a session: rewind, restore, fork, and the end of it all."""

import msgspec
from litestar import Response

from api.routes import headers
from api.routes.answers import CHANGED, CREATED, render_created, rendering, respond_done
from api.routes.calls import Call
from api.routes.operations import operation
from api.routes.schemas.requests import End, Fork, Restore, Rewind
from api.store.scopes import Scope


@operation(
    "POST",
    "/v1/sessions/{session_id}/rewind",
    operation_id="rewindSession",
    tag="sessions",
    scopes=(Scope.SESSIONS_WRITE,),
    summary="Move the cursor to a turn, or to the start",
    body=Rewind,
    precondition="required",
    request_headers=(headers.PREFER,),
    answers={200: CHANGED},
)
async def rewind_session(call: Call) -> Response[bytes]:
    """The turn stays in effect; what lies behind it is discarded only when the next turn is appended.

    Until then the cursor may also move forward again. An active turn is cancelled.
    """
    command = await call.command(Rewind)
    session_id, turn_id = call.path("session_id"), command.body.turn_id
    render = rendering(call.preferences)
    result = await call.carry_out(
        command,
        session_id,
        lambda expected: call.store.sessions.rewind(
            command.caller,
            session_id,
            turn_id=None if turn_id is msgspec.UNSET else turn_id,
            expected=expected,
            idempotency=command.idempotency,
            render=render,
            is_whole=call.preferences.wants_representation,
        ),
    )
    return respond_done(result, render)


@operation(
    "POST",
    "/v1/sessions/{session_id}/restore",
    operation_id="restoreSession",
    tag="sessions",
    scopes=(Scope.SESSIONS_WRITE,),
    summary="Put a discarded future back on the line",
    body=Restore,
    precondition="required",
    request_headers=(headers.PREFER,),
    answers={200: CHANGED},
)
async def restore_session(call: Call) -> Response[bytes]:
    """The line is again what it was when the future was discarded, with the cursor at its end.

    What that displaces becomes a new discarded future. An active turn is cancelled.
    """
    command = await call.command(Restore)
    session_id = call.path("session_id")
    render = rendering(call.preferences)
    result = await call.carry_out(
        command,
        session_id,
        lambda expected: call.store.sessions.restore(
            command.caller,
            session_id,
            ordinal=command.body.ordinal,
            expected=expected,
            idempotency=command.idempotency,
            render=render,
            is_whole=call.preferences.wants_representation,
        ),
    )
    return respond_done(result, render)


@operation(
    "POST",
    "/v1/sessions/{session_id}/end",
    operation_id="endSession",
    tag="sessions",
    scopes=(Scope.SESSIONS_WRITE,),
    summary="End a session for good",
    body=End,
    precondition="required",
    request_headers=(headers.PREFER,),
    answers={200: CHANGED},
)
async def end_session(call: Call) -> Response[bytes]:
    """It stays readable and takes no further commands. An active turn is cancelled."""
    command = await call.command(End)
    session_id = call.path("session_id")
    render = rendering(call.preferences)
    result = await call.carry_out(
        command,
        session_id,
        lambda expected: call.store.sessions.end(
            command.caller,
            session_id,
            resolution=command.body.resolution,
            expected=expected,
            idempotency=command.idempotency,
            render=render,
            is_whole=call.preferences.wants_representation,
        ),
    )
    return respond_done(result, render)


@operation(
    "POST",
    "/v1/sessions/{session_id}/fork",
    operation_id="forkSession",
    tag="sessions",
    scopes=(Scope.SESSIONS_WRITE,),
    summary="Begin a new session with copies of the turns up to one",
    body=Fork,
    precondition="optional",
    answers={201: CREATED},
)
async def fork_session(call: Call) -> Response[bytes]:
    """The copies name their originals and have no usage. The session itself is not changed."""
    command = await call.command(Fork)
    session_id = call.path("session_id")
    result = await call.carry_out(
        command,
        session_id,
        lambda expected: call.store.sessions.fork(
            command.caller,
            session_id,
            turn_id=command.body.turn_id,
            expected=expected,
            idempotency=command.idempotency,
            render=render_created,
        ),
    )
    return respond_done(result, render_created)


OPERATIONS = (rewind_session, restore_session, end_session, fork_session)
