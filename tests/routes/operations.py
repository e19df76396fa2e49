"""A few operations as the routes declare them, and an application that serves them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from litestar import Litestar, Request, Response
from litestar.testing import TestClient

from api.routes import headers
from api.routes.body import MERGE_PATCH, read_body
from api.routes.error_handlers import EXCEPTION_HANDLERS
from api.routes.errors import NotFound, Unauthorized
from api.routes.operations import Answer, Operation, operation, route_handlers
from api.routes.preconditions import require_expected
from api.routes.query import parse_query
from api.routes.schemas.agents import AgentVersionView, CreateAgent
from api.routes.schemas.health import Health
from api.routes.schemas.queries import SessionListQuery
from api.routes.schemas.requests import AppendMessage, PatchSession, Rewind
from api.routes.schemas.sessions import SessionDelta, SessionPage, SessionView
from api.routes.schemas.usage import UsagePage
from api.routes.validation import decode_body
from api.session.errors import InvariantViolated, TurnActive

BODY_BYTES_MAX = 1_000

_DELTA = {200: Answer(description="Done.", struct=SessionDelta, headers=(headers.ETAG,))}


def respond(value: Any) -> Response[bytes]:
    return Response(content=msgspec.json.encode(value), media_type="application/json")


@operation(
    "GET",
    "/v1/sessions",
    operation_id="listSessions",
    tag="sessions",
    summary="List sessions",
    query=SessionListQuery,
    answers={200: Answer(description="A page.", struct=SessionPage)},
)
async def list_sessions(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Newest first."""
    query = parse_query(request.scope["query_string"], SessionListQuery)
    return respond({"limit": query.limit})


@operation(
    "GET",
    "/v1/sessions/{session_id}",
    operation_id="getSession",
    tag="sessions",
    summary="Read a session",
    request_headers=(headers.IF_NONE_MATCH,),
    answers={
        200: Answer(description="The document.", struct=SessionView, headers=(headers.ETAG,)),
        304: Answer(description="Still the same.", headers=(headers.ETAG,)),
    },
)
async def get_session(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The document.

    Without parameters the newest turns; `complete` says
    whether these are all.
    """
    match request.path_params["session_id"]:
        case "busy":
            raise TurnActive("trn_1")
        case "broken":
            raise InvariantViolated("positions are dense; the key is hunter2")
        case "crashed":
            raise RuntimeError("hunter2")
        case "closed":
            raise Unauthorized(is_key_given=True)
        case _:
            raise NotFound


@operation(
    "POST",
    "/v1/sessions/{session_id}/messages",
    operation_id="appendMessage",
    tag="sessions",
    summary="Say something",
    body=AppendMessage,
    precondition="required",
    request_headers=(headers.PREFER_WAIT,),
    answers=_DELTA,
)
async def append_message(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Append a turn."""
    raw = await read_body(request, limit_bytes=BODY_BYTES_MAX)
    body = decode_body(raw, AppendMessage, content_type=request.headers.get("content-type"))
    expected = require_expected(request.headers.getall("if-match", []), body.expected_revision)
    return respond({"revision": expected.revision, "text": body.text})


@operation(
    "POST",
    "/v1/sessions/{session_id}/rewind",
    operation_id="rewindSession",
    tag="sessions",
    summary="Rewind",
    body=Rewind,
    precondition="required",
    answers=_DELTA,
)
async def rewind(_: Request[Any, Any, Any]) -> Response[bytes]:
    """Move the cursor."""
    return respond({})


@operation(
    "PATCH",
    "/v1/sessions/{session_id}",
    operation_id="updateSession",
    tag="sessions",
    summary="Change name or metadata",
    body=PatchSession,
    body_media_types=("application/json", MERGE_PATCH),
    precondition="required",
    answers=_DELTA,
)
async def update_session(_: Request[Any, Any, Any]) -> Response[bytes]:
    """A merge patch."""
    return respond({})


@operation(
    "DELETE",
    "/v1/sessions/{session_id}",
    operation_id="deleteSession",
    tag="sessions",
    summary="Delete a session",
    precondition="required",
    answers={204: Answer(description="Gone.")},
)
async def delete_session(_: Request[Any, Any, Any]) -> Response[bytes]:
    """Remove its text for good."""
    return Response(content=b"", status_code=204)


@operation(
    "POST",
    "/v1/agents",
    operation_id="createAgent",
    tag="agents",
    summary="Create an agent",
    body=CreateAgent,
    answers={201: Answer(description="Made.", struct=AgentVersionView, headers=(headers.LOCATION,))},
)
async def create_agent(_: Request[Any, Any, Any]) -> Response[bytes]:
    """Version 1."""
    return respond({})


@operation(
    "GET",
    "/v1/usage/entries",
    operation_id="listUsageEntries",
    tag="usage",
    summary="Read the ledger",
    answers={200: Answer(description="Entries.", struct=UsagePage)},
)
async def list_usage_entries(_: Request[Any, Any, Any]) -> Response[bytes]:
    """In order."""
    return respond({})


@operation(
    "GET",
    "/health/live",
    operation_id="getLiveness",
    tag="health",
    summary="Is it up?",
    answers={200: Answer(description="Up.", struct=Health)},
    is_public=True,
)
async def get_liveness(_: Request[Any, Any, Any]) -> Response[bytes]:
    """Nothing is looked at."""
    return respond(Health(ok=True, checks={}))


OPERATIONS: tuple[Operation, ...] = (
    list_sessions,
    get_session,
    append_message,
    rewind,
    update_session,
    delete_session,
    create_agent,
    list_usage_entries,
    get_liveness,
)


@contextmanager
def serving(*more: Any) -> Iterator[TestClient[Litestar]]:
    """Serve the operations and `more` route handlers."""
    app = Litestar(
        [*route_handlers(OPERATIONS), *more],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        logging_config=None,
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
