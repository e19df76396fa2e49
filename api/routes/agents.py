"""Agents and their published versions."""

import msgspec
from litestar import Response
from msgspec import UnsetType

from api.agents.diff import diff
from api.routes import headers
from api.routes.answers import respond, respond_stored
from api.routes.calls import Call
from api.routes.drafts import publish_draft
from api.routes.operations import Answer, operation
from api.routes.paging import read_integer, read_uuid, write_page_token
from api.routes.schemas.agents import (
    AgentPage,
    AgentVersionPage,
    AgentVersionView,
    AgentView,
    CreateAgent,
    DefinitionFaults,
    DifferenceView,
    DiffQuery,
    PublishVersion,
    ValidateDefinition,
    VersionDiff,
    accept,
    faults_of,
)
from api.routes.schemas.definitions import definition_view
from api.routes.schemas.queries import PageQuery
from api.store import Replay, StoredAnswer
from api.store.agents import Agent, AgentVersion
from api.store.scopes import Scope

_PUBLISHED = Answer(
    description="The published version.",
    struct=AgentVersionView,
    headers=(headers.LOCATION, headers.IDEMPOTENCY_REPLAYED),
)


@operation(
    "POST",
    "/v1/agents",
    operation_id="createAgent",
    tag="agents",
    scopes=(Scope.ADMIN,),
    summary="Make an agent",
    body=CreateAgent,
    answers={201: _PUBLISHED},
)
async def create_agent(call: Call) -> Response[bytes]:
    """The definition becomes version 1."""
    command = await call.command(CreateAgent)
    result = await call.store.agents.create_agent(
        command.caller,
        name=command.body.name,
        definition=accept(command.body.definition),
        idempotency=command.idempotency,
        render=_render,
    )
    return _published(result)


@operation(
    "GET",
    "/v1/agents",
    operation_id="listAgents",
    tag="agents",
    scopes=(Scope.SESSIONS_READ, Scope.ADMIN),
    summary="List agents",
    query=PageQuery,
    answers={200: Answer(description="A page of agents.", struct=AgentPage)},
)
async def list_agents(call: Call) -> Response[bytes]:
    """Newest created first."""
    query = call.query(PageQuery)
    found = await call.store.agents.agents(
        call.caller,
        before=None if query.page_token is None else read_uuid(query.page_token, scope="agents"),
        limit=query.limit + 1,
    )
    page = found[: query.limit]
    next_token = write_page_token(page[-1][0], scope="agents") if len(found) > len(page) else None
    return respond(AgentPage(items=tuple(_view(agent) for _, agent in page), next_page_token=next_token))


@operation(
    "GET",
    "/v1/agents/{agent_id}",
    operation_id="getAgent",
    tag="agents",
    scopes=(Scope.SESSIONS_READ, Scope.ADMIN),
    summary="Read an agent",
    answers={200: Answer(description="The agent.", struct=AgentView)},
)
async def get_agent(call: Call) -> Response[bytes]:
    """Its name and the number of its newest version."""
    return respond(_view(await call.store.agents.agent(call.caller, call.path("agent_id"))))


@operation(
    "POST",
    "/v1/agents/validate",
    operation_id="validateDefinition",
    tag="agents",
    scopes=(Scope.ADMIN,),
    summary="Find what is wrong with a definition",
    body=ValidateDefinition,
    answers={200: Answer(description="Its faults; none when it can be published.", struct=DefinitionFaults)},
)
async def validate_definition(call: Call) -> Response[bytes]:
    """Every fault at once. Nothing is written."""
    command = await call.command(ValidateDefinition)
    return respond(DefinitionFaults(faults=faults_of(command.body.definition)))


@operation(
    "POST",
    "/v1/agents/{agent_id}/versions",
    operation_id="publishAgentVersion",
    tag="agents",
    scopes=(Scope.ADMIN,),
    summary="Publish a newer version of an agent",
    body=PublishVersion,
    answers={201: _PUBLISHED},
)
async def publish_agent_version(call: Call) -> Response[bytes]:
    """Sessions keep the version that they began with.

    With `draft_revision` the draft is published; 409 tells that it is at another revision, 422 that it has
    faults.
    """
    command = await call.command(PublishVersion)
    agent_id, definition = call.path("agent_id"), command.body.definition
    if isinstance(definition, UnsetType):
        result = await publish_draft(call, command, render=_render)
    else:
        result = await call.store.agents.publish_version(
            command.caller,
            agent_id,
            definition=accept(definition),
            idempotency=command.idempotency,
            render=_render,
        )
    return _published(result)


@operation(
    "GET",
    "/v1/agents/{agent_id}/versions",
    operation_id="listAgentVersions",
    tag="agents",
    scopes=(Scope.SESSIONS_READ, Scope.ADMIN),
    summary="List the versions of an agent",
    query=PageQuery,
    answers={200: Answer(description="A page of versions.", struct=AgentVersionPage)},
)
async def list_agent_versions(call: Call) -> Response[bytes]:
    """Newest first."""
    query, agent_id = call.query(PageQuery), call.path("agent_id")
    scope = f"versions?{agent_id}"
    found = await call.store.agents.agent_versions(
        call.caller,
        agent_id,
        before=None if query.page_token is None else read_integer(query.page_token, scope=scope),
        limit=query.limit + 1,
    )
    page = found[: query.limit]
    next_token = write_page_token(page[-1].version, scope=scope) if len(found) > len(page) else None
    return respond(
        AgentVersionPage(items=tuple(_version_view(version) for version in page), next_page_token=next_token)
    )


@operation(
    "GET",
    "/v1/agents/{agent_id}/versions/{version}",
    operation_id="getAgentVersion",
    tag="agents",
    scopes=(Scope.SESSIONS_READ, Scope.ADMIN),
    summary="Read a version of an agent",
    answers={200: Answer(description="The version.", struct=AgentVersionView)},
)
async def get_agent_version(call: Call) -> Response[bytes]:
    """It never changes."""
    version = await call.store.agents.agent_version(
        call.caller.organization_id, call.path("agent_id"), call.path_number("version")
    )
    return respond(_version_view(version))


@operation(
    "GET",
    "/v1/agents/{agent_id}/versions/{version}/diff",
    operation_id="diffAgentVersions",
    tag="agents",
    scopes=(Scope.SESSIONS_READ, Scope.ADMIN),
    summary="Compare two versions of an agent",
    query=DiffQuery,
    answers={200: Answer(description="What has changed.", struct=VersionDiff)},
)
async def diff_agent_versions(call: Call) -> Response[bytes]:
    """Nodes, tools, transitions and variables are matched by name; the order of the fields is kept."""
    query, agent_id, number = call.query(DiffQuery), call.path("agent_id"), call.path_number("version")
    organization_id = call.caller.organization_id
    before = await call.store.agents.agent_version(organization_id, agent_id, number)
    after = await call.store.agents.agent_version(organization_id, agent_id, query.to)
    changes = tuple(
        DifferenceView(pointer=found.pointer, before=found.before, after=found.after)
        for found in diff(before.definition, after.definition)
    )
    return respond(VersionDiff(agent_id=before.agent_id, version=number, to=query.to, changes=changes))


OPERATIONS = (
    create_agent,
    list_agents,
    get_agent,
    validate_definition,
    publish_agent_version,
    list_agent_versions,
    get_agent_version,
    diff_agent_versions,
)


def _view(agent: Agent) -> AgentView:
    return AgentView(
        id=agent.id, name=agent.name, latest_version=agent.latest_version, created_at=agent.created_at
    )


def _version_view(version: AgentVersion) -> AgentVersionView:
    return AgentVersionView(
        agent_id=version.agent_id,
        name=version.name,
        version=version.version,
        definition=definition_view(version.definition),
        published_at=version.published_at,
        published_by=version.published_by,
    )


def _render(version: AgentVersion) -> StoredAnswer:
    location = f"/v1/agents/{version.agent_id}/versions/{version.version}"
    return StoredAnswer(
        status=201, headers={"Location": location}, body=msgspec.json.encode(_version_view(version))
    )


def _published(result: StoredAnswer | Replay) -> Response[bytes]:
    if isinstance(result, Replay):
        assert result.answer is not None, "agents are never removed"
        return respond_stored(result.answer, is_replayed=True)
    return respond_stored(result)
