"""Sessions: open, list, read, change, delete."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from litestar import Response

from api.agents import templates
from api.agents.bounds import TEXT_BYTES_MAX
from api.agents.definition import Definition
from api.routes import headers
from api.routes.answers import CHANGED, CREATED, render_created, rendering, respond, respond_done
from api.routes.body import JSON, MERGE_PATCH
from api.routes.calls import Call
from api.routes.errors import Invalid
from api.routes.etags import etag_of
from api.routes.operations import Answer, operation
from api.routes.paging import read_uuid, write_page_token
from api.routes.preconditions import is_not_modified
from api.routes.problems import Fault
from api.routes.schemas.queries import SessionListQuery, SessionQuery
from api.routes.schemas.requests import CreateSession, PatchSession
from api.routes.schemas.sessions import (
    LiveSessionView,
    SessionDelta,
    SessionPage,
    SessionView,
    live_session_view,
    session_delta,
    session_summary,
    session_view,
)
from api.session.document import AgentRef
from api.session.errors import MetadataTooLarge
from api.store.base import PAGE_TURNS_MAX
from api.store.scopes import Scope


@operation(
    "POST",
    "/v1/sessions",
    operation_id="createSession",
    begins_turns=True,
    tag="sessions",
    scopes=(Scope.SESSIONS_WRITE,),
    summary="Open a session with an agent",
    body=CreateSession,
    answers={201: CREATED},
    problems=(402, 404),
)
async def create_session(call: Call) -> Response[bytes]:
    """Pin a published version of an agent, the newest unless said.

    A fixed greeting is there at once; one that the model makes up is a pending turn.
    """
    command = await call.command(CreateSession)
    body = command.body
    version = await call.store.agents.agent_version(
        command.caller.organization_id, body.agent_id, body.agent_version
    )
    fixed, is_generated = _greeting_of(version.definition, body.context)
    result = await call.store.sessions.create_session(
        command.caller,
        agent=AgentRef(id=version.agent_id, version=version.version),
        greeting=fixed,
        greeting_is_generated=is_generated,
        speaker=version.definition.speaker_name,
        name=body.name,
        context=body.context,
        metadata=body.metadata,
        idempotency=command.idempotency,
        render=render_created,
    )
    return respond_done(result, render_created)


@operation(
    "GET",
    "/v1/sessions",
    operation_id="listSessions",
    tag="sessions",
    scopes=(Scope.SESSIONS_READ,),
    summary="List sessions",
    query=SessionListQuery,
    answers={200: Answer(description="A page of sessions.", struct=SessionPage)},
)
async def list_sessions(call: Call) -> Response[bytes]:
    """Newest created first."""
    query = call.query(SessionListQuery)
    scope = f"sessions?{query.state}&{query.agent_id}&{query.active_since}&{query.q}"
    found = await call.store.reading.list_sessions(
        call.caller,
        before=None if query.page_token is None else read_uuid(query.page_token, scope=scope),
        state=query.state,
        agent_id=query.agent_id,
        active_since=_in_utc(query),
        query=query.q,
        limit=query.limit + 1,
    )
    page = found[: query.limit]
    next_token = write_page_token(page[-1][0], scope=scope) if len(found) > len(page) else None
    return respond(
        SessionPage(
            items=tuple(session_summary(session) for _, session, _ in page), next_page_token=next_token
        )
    )


@operation(
    "GET",
    "/v1/sessions/{session_id}",
    operation_id="getSession",
    tag="sessions",
    scopes=(Scope.SESSIONS_READ,),
    summary="Read a session",
    query=SessionQuery,
    request_headers=(headers.IF_NONE_MATCH,),
    answers={
        200: Answer(
            description="The document with its newest turns; with `since_revision` what has changed.",
            struct=(SessionView, SessionDelta, LiveSessionView),
            headers=(headers.ETAG,),
        ),
        304: Answer(description="The caller has this revision already.", headers=(headers.ETAG,)),
    },
)
async def get_session(call: Call) -> Response[bytes]:
    """The newest 200 turns unless asked otherwise; `complete` says whether that is all.

    `include=live` adds what moves without a revision, and is answered without ETag.
    """
    query = call.query(SessionQuery)
    _require_consistent(query)
    session_id, reading = call.path("session_id"), call.store.reading
    if query.include == "live":
        usage = await reading.session_usage(call.caller, session_id)
        imported = await reading.imported_usage(call.caller, session_id)
        document = await reading.document(call.caller, session_id, last_turns=_turns_of(query))
        return respond(live_session_view(document, usage, imported=imported))
    if if_none_match := call.header_lines("if-none-match"):
        revision = await reading.revision(call.caller, session_id)
        if is_not_modified(if_none_match, revision):
            return Response(content=b"", status_code=304, headers=_cached(revision))
    if query.since_revision is not None:
        delta = await reading.since(call.caller, session_id, query.since_revision)
        shown = session_delta(delta, since_revision=query.since_revision)
        return respond(shown, fields=_cached(delta.session.revision))
    document = await reading.document(call.caller, session_id, last_turns=_turns_of(query))
    return respond(session_view(document), fields=_cached(document.session.revision))


@operation(
    "PATCH",
    "/v1/sessions/{session_id}",
    operation_id="updateSession",
    tag="sessions",
    scopes=(Scope.SESSIONS_WRITE,),
    summary="Change name and metadata",
    body=PatchSession,
    body_media_types=(JSON, MERGE_PATCH),
    precondition="required",
    request_headers=(headers.PREFER,),
    answers={200: CHANGED},
)
async def update_session(call: Call) -> Response[bytes]:
    """A merge patch (RFC 7396): null removes, what is left out stays."""
    command = await call.command(PatchSession)
    session_id, body, preferences = call.path("session_id"), command.body, call.preferences
    limit = call.state.limits.metadata_bytes_max
    try:
        result = await call.carry_out(
            command,
            session_id,
            lambda expected: call.store.sessions.update(
                command.caller,
                session_id,
                name=body.name,
                metadata=body.metadata,
                metadata_bytes_max=limit,
                expected=expected,
                is_whole=preferences.wants_representation,
            ),
        )
    except MetadataTooLarge as error:
        message = f"would have {error.size_bytes} bytes as compact JSON; at most {limit} are allowed"
        raise Invalid((Fault(pointer="/metadata", message=message, code="too-large"),)) from error
    return respond_done(result, rendering(preferences))


@operation(
    "DELETE",
    "/v1/sessions/{session_id}",
    operation_id="deleteSession",
    tag="sessions",
    scopes=(Scope.SESSIONS_WRITE,),
    summary="Delete a session",
    precondition="required",
    answers={204: Answer(description="Its text is gone.")},
)
async def delete_session(call: Call) -> Response[bytes]:
    """Remove the text of turns, events and stored answers for good, and stop what runs.

    What was paid for stays in the ledger. Every later call answers 404.
    """
    command = call.bare_command()
    session_id = call.path("session_id")
    await call.carry_out(
        command,
        session_id,
        lambda expected: call.store.sessions.erase(command.caller, session_id, expected=expected),
    )
    return Response(content=b"", status_code=204)


OPERATIONS = (create_session, list_sessions, get_session, update_session, delete_session)


def _greeting_of(definition: Definition, context: Mapping[str, Any]) -> tuple[str | None, bool]:
    """The fixed words of a greeting, and whether the model makes one up.

    Raises:
        Invalid: what the context puts into the greeting makes it too long.
    """
    if not isinstance(definition.greeting, str):
        return None, definition.greeting is not None
    template = templates.read(definition.greeting)
    try:
        text = templates.render(template, templates.scope(context, {}), bytes_max=TEXT_BYTES_MAX)
    except templates.RenderedTooLong as error:
        message = f"makes the agent's greeting longer than {error.bytes_max} bytes"
        raise Invalid((Fault(pointer="/context", message=message, code="too-large"),)) from error
    # Of places alone nothing may be left; then the user speaks first.
    return (text if text.strip() else None), False


def _in_utc(query: SessionListQuery) -> datetime | None:
    if query.active_since is None:
        return None
    try:
        return query.active_since.astimezone(UTC)
    except OverflowError as error:
        fault = Fault(pointer="?active_since", message="is out of range", code="out-of-range")
        raise Invalid((fault,)) from error


def _turns_of(query: SessionQuery) -> int:
    return PAGE_TURNS_MAX if query.last_turns is None else query.last_turns


def _require_consistent(query: SessionQuery) -> None:
    if query.since_revision is None:
        return
    others = {"last_turns": query.last_turns, "include": query.include}
    faults = tuple(
        Fault(pointer=f"?{name}", message="does not go with since_revision", code="not-allowed")
        for name, value in others.items()
        if value is not None
    )
    if faults:
        raise Invalid(faults)


def _cached(revision: int) -> dict[str, str]:
    """A client may keep the answer, and must ask each time whether it still holds."""
    return {"ETag": etag_of(revision), "Cache-Control": "private, no-cache"}
