"""Interactions: the audit of model calls, those of sessions and those that were captured."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from api.agents.templates import RenderedTooLong
from api.models.base import Message, ModelRequest
from api.prompt import again
from api.prompt.progress import ModelAnswer
from api.session import ids
from api.session.document import Usage
from api.store.audit import Interaction, Places, Summary, asked_calls, response_of, summary
from api.store.base import Caller, Idempotency, Replay, StoredAnswer, row_id
from api.store.errors import NotFound
from api.store.past import Traced, trace
from api.store.replaying import Replaying
from db import interactions, sessions
from db.pool import Connection

HIGHEST = UUID(int=2**128 - 1)
"""Above every id that is given."""

_LOWEST = UUID(int=0)
_BEGINNING = datetime.min.replace(tzinfo=UTC)

_SKEW = timedelta(minutes=5)
"""By how much the instant in an id may differ from the one beside it."""


_KEPT_MAX = 10_000
"""Parts of prompts that a process remembers to have kept."""


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which interactions; None does not filter."""

    session_id: str | None = None
    agent_id: str | None = None
    client: str | None = None
    project: str | None = None
    since: datetime | None = None


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was made elsewhere, as its caller tells it."""

    prompt: str
    model: str
    response: str | None = None
    session_id: str | None = None
    client: str | None = None
    """None: the API key that records it."""
    project: str | None = None
    usage: Usage | None = None
    latency_ms: int | None = None
    metadata: dict[str, Any] = {}


class Interactions(Replaying):
    """The part of the store that keeps the audit of model calls."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._kept: OrderedDict[tuple[UUID, str], None] = OrderedDict()

    async def listed(
        self, caller: Caller, filters: Filters, *, before: UUID | None, limit: int
    ) -> tuple[list[Summary], UUID | None]:
        """List interactions, newest first; with where the next page goes on, None behind the last."""
        session_id = _given(ids.Kind.SESSION, filters.session_id)
        agent_id = _given(ids.Kind.AGENT, filters.agent_id)
        if (session_id is None) != (filters.session_id is None):
            return [], None
        if (agent_id is None) != (filters.agent_id is None):
            return [], None
        async with self._pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            found = await interactions.page(
                conn,
                caller.organization_id,
                before=before or HIGHEST,
                lowest=_lowest_id(filters.since),
                since=filters.since or _BEGINNING,
                session_id=session_id,
                agent_id=agent_id,
                client=filters.client,
                project=filters.project,
                limit=limit + 1,
            )
            page = found[:limit]
            told = await self._summaries(conn, caller, page)
        return told, page[-1] if len(found) > len(page) else None

    async def interaction(self, caller: Caller, interaction_id: str) -> Interaction:
        """Read a model call whole, its prompt rendered again.

        Raises:
            NotFound: the organization has none of this id, or its session was deleted.
        """
        row = ids.from_wire(ids.Kind.STEP, interaction_id) or row_id(
            ids.Kind.INTERACTION, interaction_id, "interaction"
        )
        async with self._pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            found = await self._summaries(conn, caller, [row])
            if not found or found[0].id != interaction_id:
                raise NotFound("interaction")
            told = found[0]
            if told.source == "captured":
                prompt, response = await interactions.captured(conn, caller.organization_id, row)
                return _captured(told, prompt, response)
            traced = None
            if told.turn is not None and told.session_id is not None:
                traced = await trace(
                    conn,
                    caller.organization_id,
                    session=row_id(ids.Kind.SESSION, told.session_id, "session"),
                    turn=row_id(ids.Kind.TURN, told.turn.id, "turn"),
                    step=row,
                )
        return _gone(told) if traced is None else _whole(told, traced)

    async def capture(
        self,
        caller: Caller,
        given: Capture,
        *,
        idempotency: Idempotency | None,
        render: Callable[[str, datetime], StoredAnswer],
    ) -> StoredAnswer | Replay:
        """Keep a call that was made elsewhere; `render` is given its id and the instant.

        Raises:
            NotFound: it names a session that there is not.
        """
        session = None
        if given.session_id is not None:
            session = row_id(ids.Kind.SESSION, given.session_id, "session")
            async with self._pool.acquire() as conn:
                # Before a repetition is answered: that of a deleted session is not there any more.
                if await sessions.revision(conn, caller.organization_id, session) is None:
                    raise NotFound("session")
        at = self._clock()
        row = interactions.CapturedRow(
            id=self._new_id(),
            session_id=session,
            client=given.client or caller.actor.key_id,
            project=given.project,
            at=at,
            prompt=given.prompt,
            response=given.response,
            model=given.model,
            usage=None if given.usage is None else msgspec.json.encode(given.usage),
            latency_ms=given.latency_ms,
            metadata=msgspec.json.encode(given.metadata),
            captured_by=msgspec.json.encode(caller.actor),
        )

        async def write(conn: Connection) -> StoredAnswer:
            organization_id = caller.organization_id
            if session is not None and not await interactions.hold_session(conn, organization_id, session):
                raise NotFound("session")
            await interactions.capture(conn, organization_id, row)
            return render(ids.to_wire(ids.Kind.INTERACTION, row.id), at)

        return await self._write_once(caller, write, idempotency=idempotency, at=at)

    async def keep_part(self, organization_id: UUID, sha256: str, content: bytes) -> None:
        """Keep a part of a prompt that no session holds; free when this process has kept it lately."""
        if (organization_id, sha256) in self._kept:
            self._kept.move_to_end((organization_id, sha256))
            return
        async with self._pool.acquire() as conn:
            await interactions.keep_part(conn, organization_id, sha256, content, at=self._clock())
        self._kept[organization_id, sha256] = None
        if len(self._kept) > _KEPT_MAX:
            self._kept.popitem(last=False)

    async def _summaries(self, conn: Connection, caller: Caller, page: Sequence[UUID]) -> list[Summary]:
        found = await interactions.summaries(conn, caller.organization_id, page)
        lowest: dict[UUID, int] = {}
        for row in found:
            if row.session_id is not None and row.turn_position is not None:
                position = min(row.turn_position, lowest.get(row.session_id, row.turn_position))
                lowest[row.session_id] = position
        places = Places(await interactions.lines(conn, caller.organization_id, lowest))
        return [summary(row, places) for row in found]


def _whole(told: Summary, traced: Traced) -> Interaction:
    reference = traced.reference
    rendered = None
    try:
        rendered = again.render(
            reference, traced.past, purpose=traced.step.purpose, model=traced.step.model or ""
        )
        difference = rendered.difference
    except RenderedTooLong as error:
        difference = f"It cannot be rendered now: {error}"
    response = response_of(traced.step)
    return Interaction(
        summary=told,
        prompt=None if rendered is None else rendered.request,
        sources=None if rendered is None else rendered.sources,
        prompt_sha256=reference.sha256,
        difference=difference,
        response=response,
        calls=() if response is None else asked_calls(told.id, response, traced.past.turn, traced.turn_steps),
    )


def _gone(told: Summary) -> Interaction:
    return Interaction(
        summary=told,
        prompt=None,
        sources=None,
        prompt_sha256=None,
        difference="What was sent and answered is kept no longer.",
        response=None,
        calls=(),
    )


def _captured(told: Summary, prompt: str, response: str | None) -> Interaction:
    return Interaction(
        summary=told,
        prompt=ModelRequest(model=told.model, messages=(Message(role="user", text=prompt),)),
        sources=None,
        prompt_sha256=None,
        difference=None,
        response=None if response is None else ModelAnswer(text=response, finish_reason=""),
        calls=(),
    )


def _given(kind: ids.Kind, wire_id: str | None) -> UUID | None:
    return None if wire_id is None else ids.from_wire(kind, wire_id)


def _lowest_id(since: datetime | None) -> UUID:
    """The lowest UUIDv7 that may have been given to what began since then."""
    if since is None:
        return _LOWEST
    try:
        milliseconds = int((since - _SKEW).timestamp() * 1000)
    except OverflowError:
        return _LOWEST
    return UUID(int=min(max(milliseconds, 0), 2**48 - 1) << 80)
