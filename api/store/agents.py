"""Agents and their published versions."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from api.agents.definition import Definition
from api.session import ids
from api.session.document import Actor
from api.store import rows
from api.store.base import Caller, Idempotency, Replay, StoredAnswer, row_id
from api.store.errors import NotFound
from api.store.replaying import Replaying
from db import agents
from db.pool import Connection

_CACHED_MAX = 1_000


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent and the number of its newest version."""

    id: str
    name: str
    latest_version: int
    created_at: datetime


class AgentVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A published version; it never changes."""

    agent_id: str
    name: str
    version: int
    definition: Definition
    published_at: datetime
    published_by: Actor


class Agents(Replaying):
    """The part of the store that keeps agents."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._cached: OrderedDict[tuple[UUID, UUID, int], AgentVersion] = OrderedDict()

    async def create_agent(
        self,
        caller: Caller,
        *,
        name: str,
        definition: Definition,
        idempotency: Idempotency | None,
        render: Callable[[AgentVersion], StoredAnswer],
    ) -> StoredAnswer | Replay:
        """Make an agent whose version 1 is this definition."""
        row = self._new_id()

        async def write(conn: Connection, made: AgentVersion) -> AgentVersion:
            await agents.create(
                conn,
                caller.organization_id,
                row,
                name=name,
                definition=msgspec.json.encode(definition),
                at=made.published_at,
                by=msgspec.json.encode(caller.actor),
            )
            return made

        made = self._version(caller, row, name, definition)
        return await self._publish(caller, made, write, idempotency=idempotency, render=render)

    async def publish_version(
        self,
        caller: Caller,
        agent_id: str,
        *,
        definition: Definition,
        idempotency: Idempotency | None,
        render: Callable[[AgentVersion], StoredAnswer],
    ) -> StoredAnswer | Replay:
        """Publish the next version of an agent; sessions that pin an older one keep it."""
        agent = await self.agent(caller, agent_id)
        row = row_id(ids.Kind.AGENT, agent_id, "agent")

        async def write(conn: Connection, made: AgentVersion) -> AgentVersion:
            number = await agents.publish(
                conn,
                caller.organization_id,
                row,
                definition=msgspec.json.encode(definition),
                at=made.published_at,
                by=msgspec.json.encode(caller.actor),
            )
            assert number is not None, "agents are never removed"
            return msgspec.structs.replace(made, version=number)

        made = self._version(caller, row, agent.name, definition)
        return await self._publish(caller, made, write, idempotency=idempotency, render=render)

    async def agents(self, caller: Caller, *, before: UUID | None, limit: int) -> list[tuple[UUID, Agent]]:
        """List agents, newest created first."""
        async with self._pool.acquire() as conn:
            found = await agents.listed(conn, caller.organization_id, before=before, limit=limit)
        return [(row.id, _agent(row)) for row in found]

    async def agent(self, caller: Caller, agent_id: str) -> Agent:
        """Read an agent."""
        row = row_id(ids.Kind.AGENT, agent_id, "agent")
        async with self._pool.acquire() as conn:
            found = await agents.find(conn, caller.organization_id, row)
        if found is None:
            raise NotFound("agent")
        return _agent(found)

    async def agent_version(
        self, organization_id: UUID, agent_id: str, number: int | None = None
    ) -> AgentVersion:
        """Read a published version, the newest for `number` of None; what was read once is remembered."""
        row = row_id(ids.Kind.AGENT, agent_id, "agent")
        if number is not None and (cached := self._cached.get((organization_id, row, number))) is not None:
            self._cached.move_to_end((organization_id, row, number))
            return cached
        async with self._pool.acquire() as conn:
            found = await agents.version(conn, organization_id, row, number)
        if found is None:
            raise NotFound("agent version" if number is not None else "agent")
        version = _version(found)
        self._cached[organization_id, row, version.version] = version
        if len(self._cached) > _CACHED_MAX:
            self._cached.popitem(last=False)
        return version

    async def agent_versions(
        self, caller: Caller, agent_id: str, *, before: int | None, limit: int
    ) -> list[AgentVersion]:
        """List the published versions of an agent, newest first."""
        await self.agent(caller, agent_id)
        row = row_id(ids.Kind.AGENT, agent_id, "agent")
        async with self._pool.acquire() as conn:
            found = await agents.versions(conn, caller.organization_id, row, before=before, limit=limit)
        return [_version(version) for version in found]

    def _version(self, caller: Caller, row: UUID, name: str, definition: Definition) -> AgentVersion:
        return AgentVersion(
            agent_id=ids.to_wire(ids.Kind.AGENT, row),
            name=name,
            version=1,
            definition=definition,
            published_at=self._clock(),
            published_by=caller.actor,
        )

    async def _publish(
        self,
        caller: Caller,
        made: AgentVersion,
        write: Callable[[Connection, AgentVersion], Awaitable[AgentVersion]],
        *,
        idempotency: Idempotency | None,
        render: Callable[[AgentVersion], StoredAnswer],
    ) -> StoredAnswer | Replay:
        async def write_rendered(conn: Connection) -> StoredAnswer:
            return render(await write(conn, made))

        return await self._write_once(caller, write_rendered, idempotency=idempotency, at=made.published_at)


def _agent(row: agents.AgentRow) -> Agent:
    return Agent(
        id=ids.to_wire(ids.Kind.AGENT, row.id),
        name=row.name,
        latest_version=row.latest_version,
        created_at=row.created_at,
    )


def _version(row: agents.VersionRow) -> AgentVersion:
    return AgentVersion(
        agent_id=ids.to_wire(ids.Kind.AGENT, row.agent_id),
        name=row.name,
        version=row.version,
        definition=msgspec.json.decode(row.definition, type=Definition),
        published_at=row.published_at,
        published_by=rows.actor(row.published_by),
    )
