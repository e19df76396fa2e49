"""Agents, their published versions and their drafts."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from api.agents.definition import Definition, parse
from api.session import ids
from api.session.document import Actor
from api.store import rows
from api.store.base import Caller, Idempotency, Replay, StoredAnswer, row_id
from api.store.errors import DraftConflict, NotFound
from api.store.replaying import Replaying
from db import agent_drafts, agents
from db.pool import Connection, retry_serialization

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


class AgentDraft(msgspec.Struct, frozen=True, kw_only=True):
    """What will be an agent's next version; it may have faults still."""

    agent_id: str
    revision: int
    """Rises with every change, also over drafts that were published or discarded."""
    base_version: int
    """The newest version when the draft was begun."""
    definition: dict[str, Any]
    updated_at: datetime
    updated_by: Actor


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
        made = self._version(caller, row, agent.name, definition)
        return await self._publish(
            caller,
            made,
            lambda conn, made: self._write_next(conn, caller, row, made),
            idempotency=idempotency,
            render=render,
        )

    async def publish_draft(
        self,
        caller: Caller,
        agent_id: str,
        *,
        expected: int,
        idempotency: Idempotency | None,
        render: Callable[[AgentVersion], StoredAnswer],
    ) -> StoredAnswer | Replay:
        """Publish an agent's draft as its next version; afterwards there is no draft.

        Raises:
            DraftConflict: the draft is not at the `expected` revision, or there is none.
            DefinitionRefused: it cannot be published as it stands.
        """
        agent = await self.agent(caller, agent_id)
        row = row_id(ids.Kind.AGENT, agent_id, "agent")

        async def write(conn: Connection, made: AgentVersion) -> AgentVersion:
            draft = await agent_drafts.lock(conn, caller.organization_id, row)
            if draft is None or draft.definition is None or draft.revision != expected:
                raise DraftConflict(expected=expected, actual=_revision(draft))
            definition = parse(draft.definition)
            await agent_drafts.discard(
                conn,
                caller.organization_id,
                row,
                expected=expected,
                at=made.published_at,
                by=msgspec.json.encode(caller.actor),
            )
            made = msgspec.structs.replace(made, definition=definition)
            return await self._write_next(conn, caller, row, made)

        # The definition is known only once the draft is locked.
        made = self._version(caller, row, agent.name, Definition(model=""))
        return await self._publish(caller, made, write, idempotency=idempotency, render=render)

    async def draft(self, caller: Caller, agent_id: str) -> AgentDraft:
        """Read an agent's draft.

        Raises:
            NotFound: there is no such agent, or it has no draft.
        """
        row = row_id(ids.Kind.AGENT, agent_id, "agent")
        async with self._pool.acquire() as conn:
            found = await agent_drafts.find(conn, caller.organization_id, row)
        if found is None or found.definition is None:
            raise NotFound("draft")
        return _draft(agent_id, found)

    async def draft_revision(self, caller: Caller, agent_id: str) -> int:
        """Read the revision of an agent's draft; 0 where there is none."""
        row = row_id(ids.Kind.AGENT, agent_id, "agent")
        async with self._pool.acquire() as conn:
            return _revision(await agent_drafts.find(conn, caller.organization_id, row))

    async def save_draft(
        self, caller: Caller, agent_id: str, *, definition: dict[str, Any], expected: int | None
    ) -> AgentDraft:
        """Write an agent's draft, faults and all, over the one that is expected.

        `expected` is its revision; 0 that there is none, None any that there is.

        Raises:
            DraftConflict: the draft is not the expected one.
        """
        await self.agent(caller, agent_id)
        row = row_id(ids.Kind.AGENT, agent_id, "agent")

        async def attempt() -> AgentDraft:
            async with self._pool.acquire() as conn, conn.transaction():
                saved = await agent_drafts.save(
                    conn,
                    caller.organization_id,
                    row,
                    expected=expected,
                    definition=msgspec.json.encode(definition),
                    at=self._clock(),
                    by=msgspec.json.encode(caller.actor),
                )
                if saved is None:
                    found = await agent_drafts.find(conn, caller.organization_id, row)
                    raise DraftConflict(expected=expected, actual=_revision(found))
                return _draft(agent_id, saved)

        return await retry_serialization(attempt)

    async def discard_draft(self, caller: Caller, agent_id: str, *, expected: int | None) -> None:
        """Take an agent's draft away; `expected` as for `save_draft`.

        Raises:
            DraftConflict: the draft is not the expected one.
            NotFound: there is no such agent.
        """
        await self.agent(caller, agent_id)
        row = row_id(ids.Kind.AGENT, agent_id, "agent")
        by = msgspec.json.encode(caller.actor)
        async with self._pool.acquire() as conn, conn.transaction():
            is_gone = await agent_drafts.discard(
                conn, caller.organization_id, row, expected=expected, at=self._clock(), by=by
            )
            if not is_gone:
                found = await agent_drafts.find(conn, caller.organization_id, row)
                raise DraftConflict(expected=expected, actual=_revision(found))

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

    async def _write_next(
        self, conn: Connection, caller: Caller, row: UUID, made: AgentVersion
    ) -> AgentVersion:
        number = await agents.publish(
            conn,
            caller.organization_id,
            row,
            definition=msgspec.json.encode(made.definition),
            at=made.published_at,
            by=msgspec.json.encode(caller.actor),
        )
        assert number is not None, "agents are never removed"
        return msgspec.structs.replace(made, version=number)

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


def _draft(agent_id: str, row: agent_drafts.DraftRow) -> AgentDraft:
    assert row.definition is not None, "only a draft that is there is shown"
    return AgentDraft(
        agent_id=agent_id,
        revision=row.revision,
        base_version=row.base_version,
        definition=msgspec.json.decode(row.definition),
        updated_at=row.updated_at,
        updated_by=rows.actor(row.updated_by),
    )


def _revision(row: agent_drafts.DraftRow | None) -> int:
    return 0 if row is None or row.definition is None else row.revision


def _version(row: agents.VersionRow) -> AgentVersion:
    return AgentVersion(
        agent_id=ids.to_wire(ids.Kind.AGENT, row.agent_id),
        name=row.name,
        version=row.version,
        definition=msgspec.json.decode(row.definition, type=Definition),
        published_at=row.published_at,
        published_by=rows.actor(row.published_by),
    )
