"""What each revision did, as a list, and as a stream with what the turns say in between."""

from litestar import Response

from api.routes import headers
from api.routes.answers import respond
from api.routes.calls import Call
from api.routes.negotiation import EVENT_STREAM
from api.routes.operations import Answer, operation
from api.routes.schemas.events import SESSION_STREAM
from api.routes.schemas.queries import EventListQuery
from api.routes.schemas.sessions import EventPage, event_view
from api.routes.sse import parse_event_id
from api.routes.streams import EventStream, Place, wants_stream
from api.store.scopes import Scope
from api.store.streaming import Cursor


@operation(
    "GET",
    "/v1/sessions/{session_id}/events",
    operation_id="listEvents",
    tag="sessions",
    scopes=(Scope.SESSIONS_READ,),
    summary="List what each revision did, or follow the session",
    query=EventListQuery,
    request_headers=(headers.LAST_EVENT_ID,),
    answers={
        200: Answer(description="Events by revision.", struct=EventPage, streams=SESSION_STREAM),
    },
    problems=(400,),
)
async def list_events(call: Call) -> Response[bytes]:
    """Exactly one event for each revision, without gaps.

    With `Accept: text/event-stream` the answer is a stream: the same events as they happen, and between them
    what the turns say. It begins behind `Last-Event-ID`, else behind revision `after`, else with what the
    running turn has said so far. It ends with `end` when the session has ended or was deleted.
    """
    query = call.query(EventListQuery)
    if wants_stream(call):
        return await _follow(call, query)
    after = query.after or 0
    revision, events = await call.store.reading.events_after(
        call.caller, call.path("session_id"), after=after, limit=query.limit
    )
    return respond(
        EventPage(
            items=tuple(event_view(event) for event in events),
            next=events[-1].revision if events else after,
            revision=revision,
        )
    )


OPERATIONS = (list_events,)


async def _follow(call: Call, query: EventListQuery) -> Response[bytes]:
    given = call.request.headers.get("last-event-id") or query.last_event_id
    cursor = parse_event_id(given) if given else None
    revision = await call.store.reading.revision(call.caller, call.path("session_id"))
    if cursor is None:
        cursor = Cursor(revision=revision if query.after is None else query.after)
    if call.request.method == "HEAD":
        return Response(content=b"", media_type=EVENT_STREAM, headers={"Cache-Control": "no-store"})
    return EventStream(call, cursor, place=Place(call))
