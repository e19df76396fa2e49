"""Turns: pages of the line, single turns, discarded futures, previews, and cancelling."""

from litestar import Response

from api.routes import headers
from api.routes.answers import CHANGED, rendering, respond, respond_done
from api.routes.calls import Call
from api.routes.etags import etag_of
from api.routes.operations import Answer, operation
from api.routes.paging import read_integer, write_page_token
from api.routes.schemas.queries import PageQuery, TurnListQuery
from api.routes.schemas.requests import Cancel
from api.routes.schemas.sessions import (
    DiscardedFuturePage,
    TurnInPlace,
    TurnPage,
    discarded_future_view,
    session_delta,
    turn_in_place,
    turn_view,
)
from api.session.errors import AlreadyCancelled
from api.store.reading import TurnsPage
from api.store.scopes import Scope


@operation(
    "GET",
    "/v1/sessions/{session_id}/turns",
    operation_id="listTurns",
    tag="turns",
    scopes=(Scope.SESSIONS_READ,),
    summary="Read turns of the line",
    query=TurnListQuery,
    answers={200: Answer(description="Turns by position.", struct=TurnPage)},
)
async def list_turns(call: Call) -> Response[bytes]:
    """By position, from `from` on; the next page begins behind the last position of this one."""
    query = call.query(TurnListQuery)
    page = await call.store.reading.turns_page(
        call.caller, call.path("session_id"), first=query.start, limit=query.limit
    )
    return respond(_turn_page(page))


@operation(
    "GET",
    "/v1/sessions/{session_id}/turns/{turn_id}",
    operation_id="getTurn",
    tag="turns",
    scopes=(Scope.SESSIONS_READ,),
    summary="Read a turn",
    answers={200: Answer(description="The turn.", struct=TurnInPlace)},
)
async def get_turn(call: Call) -> Response[bytes]:
    """On the line or in a discarded future, with the node and the variables that it began with."""
    found = await call.store.reading.turn_in_place(call.caller, call.path("session_id"), call.path("turn_id"))
    return respond(turn_in_place(*found))


@operation(
    "POST",
    "/v1/sessions/{session_id}/turns/{turn_id}/cancel",
    operation_id="cancelTurn",
    tag="turns",
    scopes=(Scope.SESSIONS_WRITE,),
    summary="Stop an unfinished turn",
    body=Cancel,
    precondition="optional",
    request_headers=(headers.PREFER,),
    answers={200: CHANGED},
)
async def cancel_turn(call: Call) -> Response[bytes]:
    """The text that was shown stays, marked as cut off. Cancelling it again changes nothing."""
    command = await call.command(Cancel)
    session_id, turn_id = call.path("session_id"), call.path("turn_id")
    render = rendering(call.preferences)
    try:
        result = await call.carry_out(
            command,
            session_id,
            lambda expected: call.store.sessions.cancel(
                command.caller,
                session_id,
                turn_id=turn_id,
                expected=expected,
                idempotency=command.idempotency,
                render=render,
                is_whole=call.preferences.wants_representation,
            ),
        )
    except AlreadyCancelled:
        return await _cancelled_before(call)
    return respond_done(result, render)


@operation(
    "GET",
    "/v1/sessions/{session_id}/discarded-futures",
    operation_id="listDiscardedFutures",
    tag="turns",
    scopes=(Scope.SESSIONS_READ,),
    summary="List discarded futures",
    query=PageQuery,
    answers={200: Answer(description="Futures that can be restored.", struct=DiscardedFuturePage)},
)
async def list_discarded_futures(call: Call) -> Response[bytes]:
    """Those that can be restored now, newest first."""
    query, session_id = call.query(PageQuery), call.path("session_id")
    scope = f"discarded-futures?{session_id}"
    found = await call.store.reading.discarded_futures(
        call.caller,
        session_id,
        before=None if query.page_token is None else read_integer(query.page_token, scope=scope),
        limit=query.limit + 1,
    )
    page = found.futures[: query.limit]
    is_more = len(found.futures) > len(page)
    return respond(
        DiscardedFuturePage(
            items=tuple(discarded_future_view(future) for future in page),
            next_page_token=write_page_token(page[-1].ordinal, scope=scope) if is_more else None,
        )
    )


@operation(
    "GET",
    "/v1/sessions/{session_id}/discarded-futures/{ordinal}/turns",
    operation_id="listDiscardedTurns",
    tag="turns",
    scopes=(Scope.SESSIONS_READ,),
    summary="Read the turns of a discarded future",
    query=TurnListQuery,
    answers={200: Answer(description="Turns by position.", struct=TurnPage)},
)
async def list_discarded_turns(call: Call) -> Response[bytes]:
    """By position, beginning at the future's branch point."""
    query = call.query(TurnListQuery)
    page = await call.store.reading.future_turns(
        call.caller,
        call.path("session_id"),
        call.path_number("ordinal"),
        first=query.start,
        limit=query.limit,
    )
    return respond(_turn_page(page))


OPERATIONS = (
    list_turns,
    get_turn,
    cancel_turn,
    list_discarded_futures,
    list_discarded_turns,
)


async def _cancelled_before(call: Call) -> Response[bytes]:
    """Answer with the present state, from the revision on that cancelled the turn."""
    session_id = call.path("session_id")
    turn = await call.store.reading.turn(call.caller, session_id, call.path("turn_id"))
    delta = await call.store.reading.since(call.caller, session_id, turn.revision - 1)
    return respond(
        session_delta(delta, since_revision=turn.revision - 1),
        fields={"ETag": etag_of(delta.session.revision)},
    )


def _turn_page(page: TurnsPage) -> TurnPage:
    return TurnPage(
        items=tuple(turn_view(turn) for turn in page.turns), turn_count=page.end, revision=page.revision
    )
