"""The draft of an agent: at most one, changed by people who must have seen what they change."""

from collections.abc import Callable
from typing import Any

from litestar import Response

from api.agents.definition import DefinitionRefused
from api.routes import headers
from api.routes.answers import respond
from api.routes.calls import Call, Command
from api.routes.errors import ContradictingPreconditions, Invalid, PreconditionRequired
from api.routes.etags import etag_of
from api.routes.operations import Answer, operation
from api.routes.preconditions import NEVER, is_not_modified
from api.routes.schemas.agents import DraftView, PublishVersion, PutDraft, faults_of, wire_faults
from api.routes.stale import PreconditionFailed, StaleRevision
from api.store import Replay, StoredAnswer
from api.store.agents import AgentDraft, AgentVersion
from api.store.errors import DraftConflict
from api.store.scopes import Scope

_NO_DRAFT = 0
"""The revision of a draft that is not there."""

_NO_SUCH_DRAFT = -1
"""Expected where none of the tags in `If-Match` can ever match."""

_DRAFT = Answer(description="The draft.", struct=DraftView, headers=(headers.DRAFT_ETAG,))


@operation(
    "GET",
    "/v1/agents/{agent_id}/draft",
    operation_id="getAgentDraft",
    tag="agents",
    scopes=(Scope.ADMIN,),
    summary="Read the draft of an agent",
    request_headers=(headers.IF_NONE_MATCH,),
    answers={200: _DRAFT, 304: Answer(description="Still the same.", headers=(headers.DRAFT_ETAG,))},
)
async def get_agent_draft(call: Call) -> Response[bytes]:
    """404 also where the agent has none."""
    draft = await call.store.agents.draft(call.caller, call.path("agent_id"))
    if is_not_modified(call.header_lines("if-none-match"), draft.revision):
        return Response(content=b"", status_code=304, headers={"ETag": etag_of(draft.revision)})
    return _shown(draft)


@operation(
    "PUT",
    "/v1/agents/{agent_id}/draft",
    operation_id="putAgentDraft",
    tag="agents",
    scopes=(Scope.ADMIN,),
    summary="Write the draft of an agent",
    body=PutDraft,
    precondition="required",
    request_headers=(headers.IF_NONE_MATCH,),
    answers={200: _DRAFT},
)
async def put_agent_draft(call: Call) -> Response[bytes]:
    """Over the draft that the caller has seen, by `If-Match` or `expected_revision`.

    Where there is none yet: `If-None-Match: *`, or `expected_revision` 0.
    """
    command = await call.command(PutDraft)
    agent_id = call.path("agent_id")
    expected = await _expected(call, command, agent_id)
    try:
        draft = await call.store.agents.save_draft(
            command.caller, agent_id, definition=command.body.definition, expected=expected
        )
    except DraftConflict as conflict:
        raise _error_of(command).of_draft(conflict) from conflict
    return _shown(draft)


@operation(
    "DELETE",
    "/v1/agents/{agent_id}/draft",
    operation_id="discardAgentDraft",
    tag="agents",
    scopes=(Scope.ADMIN,),
    summary="Discard the draft of an agent",
    precondition="required",
    answers={204: Answer(description="There is no draft any more.")},
)
async def discard_agent_draft(call: Call) -> Response[bytes]:
    """Published versions stay as they are."""
    command = call.bare_command()
    agent_id = call.path("agent_id")
    expected = await _expected(call, command, agent_id)
    try:
        await call.store.agents.discard_draft(command.caller, agent_id, expected=expected)
    except DraftConflict as conflict:
        raise PreconditionFailed.of_draft(conflict) from conflict
    return Response(content=b"", status_code=204)


OPERATIONS = (get_agent_draft, put_agent_draft, discard_agent_draft)


async def publish_draft(
    call: Call, command: Command[PublishVersion], *, render: Callable[[AgentVersion], StoredAnswer]
) -> StoredAnswer | Replay:
    """Publish the draft at the revision that the body names.

    Raises:
        StaleRevision: it is at another, or there is none.
        Invalid: it has faults.
    """
    revision = command.body.draft_revision
    assert isinstance(revision, int), "the body names either a definition or a revision"
    try:
        return await call.store.agents.publish_draft(
            command.caller,
            call.path("agent_id"),
            expected=revision,
            idempotency=command.idempotency,
            render=render,
        )
    except DraftConflict as conflict:
        raise StaleRevision.of_draft(conflict) from conflict
    except DefinitionRefused as refused:
        raise Invalid(wire_faults(refused)) from refused


async def _expected(call: Call, command: Command[Any], agent_id: str) -> int | None:
    """Read which draft the caller has seen: its revision, `_NO_DRAFT`, or None for any that there is.

    Raises:
        PreconditionRequired: the caller does not say.
        ContradictingPreconditions: it is said that there is one and that there is none.
    """
    wants_none = [line.strip() for line in call.header_lines("if-none-match")] == ["*"]
    expected = command.expected
    if wants_none:
        if expected is not None and expected.revision != _NO_DRAFT:
            raise ContradictingPreconditions
        return _NO_DRAFT
    if expected is None:
        raise PreconditionRequired
    if expected.source == "if-match" and expected.revision == NEVER:
        return _NO_SUCH_DRAFT
    if expected.others:
        return expected.against(await call.store.agents.draft_revision(command.caller, agent_id))
    return expected.revision


def _error_of(command: Command[PutDraft]) -> type[StaleRevision]:
    is_of_body = command.expected is not None and command.expected.source == "body"
    return StaleRevision if is_of_body else PreconditionFailed


def _shown(draft: AgentDraft) -> Response[bytes]:
    view = DraftView(
        agent_id=draft.agent_id,
        revision=draft.revision,
        base_version=draft.base_version,
        definition=draft.definition,
        faults=faults_of(draft.definition),
        updated_at=draft.updated_at,
        updated_by=draft.updated_by,
    )
    return respond(view, fields={"ETag": etag_of(draft.revision)})
