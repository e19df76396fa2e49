"""Organizations with sessions of any length, written as rows at once instead of by commits."""

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from api.agents.definition import Definition
from api.session import ids
from api.session.document import (
    Actor,
    AgentRef,
    Effect,
    Event,
    EventType,
    Reply,
    Session,
    SessionState,
    StepSummary,
    Turn,
    TurnState,
    Usage,
    UserMessage,
)
from api.store import Caller, Store, StoredAnswer, rows
from api.store.base import utc_now
from api.store.running import RUNNER
from db.pool import Connection, Pool

ORGANIZATIONS = 50
"""Organizations that share the database, unless a figure is for one organization."""

DEFINITION = Definition(model="scripted:echo", instructions="Be brief.")
SPEAKER = "Ada"
_TURNS_AT_ONCE = 10_000
_WORDS = """
    about after again answer before being between called change could every figure first found given
    great house however known large later might never number order other people place point question
    right should small still think their there these thing think those three under until where which
    while without world would years
"""
_random = random.Random(20)


def words(characters: int) -> str:
    """Text of this length that does not compress better than talk does."""
    text = ""
    while len(text) < characters:
        text += _random.choice(_WORDS.split()) + " "
    return text[:characters].strip() or "."


USER_TEXT = words(160)
REPLY_TEXT = words(640)


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """One organization with one agent, and a key to it."""

    caller: Caller
    agent: AgentRef
    secret: str


async def make_tenants(
    store: Store, count: int = ORGANIZATIONS, *, definition: Definition = DEFINITION
) -> list[Tenant]:
    """Make organizations, each with a key and a published agent."""
    return [await _make_tenant(store, f"Organization {number}", definition) for number in range(count)]


async def _make_tenant(store: Store, name: str, definition: Definition) -> Tenant:
    organization = await store.access.create_organization(name)
    key = await store.access.create_key(organization.id, name="bench")
    row = ids.from_wire(ids.Kind.ORGANIZATION, organization.id)
    assert row is not None
    caller = Caller(organization_id=row, actor=Actor(key_id=key.id))
    answer = await store.agents.create_agent(
        caller,
        name="Helper",
        definition=definition,
        idempotency=None,
        render=lambda version: StoredAnswer(
            status=201, headers={}, body=msgspec.json.encode({"id": version.agent_id})
        ),
    )
    assert isinstance(answer, StoredAnswer)
    agent = AgentRef(id=msgspec.json.decode(answer.body)["id"], version=1)
    return Tenant(caller=caller, agent=agent, secret=key.secret)


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A session that was written, and what is needed to commit to it."""

    tenant: Tenant
    id: UUID
    turn_ids: tuple[UUID, ...]

    @property
    def wire_id(self) -> str:
        """How callers name it."""
        return ids.to_wire(ids.Kind.SESSION, self.id)


async def open_sessions(
    pool: Pool, tenants: Sequence[Tenant], *, count: int, turn_count: int, session_ids: Sequence[UUID] = ()
) -> list[Opened]:
    """Write sessions of completed turns, over the tenants in turn, as the store would have left them."""
    opened = [
        Opened(
            tenant=tenants[number % len(tenants)],
            id=session_ids[number] if session_ids else uuid7(),
            turn_ids=tuple(uuid7() for _ in range(turn_count)),
        )
        for number in range(count)
    ]
    at_once = max(1, _TURNS_AT_ONCE // (turn_count + 1))
    async with pool.acquire() as conn:
        for first in range(0, count, at_once):
            await _write(conn, opened[first : first + at_once])
    return opened


async def settle_down(pool: Pool) -> None:
    """Give the planner its statistics and start from a checkpoint."""
    async with pool.acquire() as conn:
        await conn.execute("VACUUM (ANALYZE)")
        await conn.execute("CHECKPOINT")


async def _write(conn: Connection, opened: Sequence[Opened]) -> None:
    now = utc_now()
    sessions, branches, turns, events = [], [], [], []
    for one in opened:
        organization: dict[str, object] = {"organization_id": one.tenant.caller.organization_id}
        scope = organization | {"session_id": one.id}
        sessions.append(organization | _session_row(one, now))
        branches.append(scope | {"number": 0, "parent": None, "branch_point": 0})
        turns += [
            scope | rows.created_turn(turn)._asdict() | {"revision": turn.revision}
            for turn in _turns(one, now)
        ]
        events += [scope | rows.event_row(event)._asdict() for event in _events(one, now)]
    await _copy(conn, "sessions", sessions)
    await _copy(conn, "branches", branches)
    await _copy(conn, "turns", turns)
    await _copy(conn, "events", events)


async def _copy(conn: Connection, table: str, records: Sequence[dict[str, object]]) -> None:
    if records:
        await conn.copy_records_to_table(
            table, columns=list(records[0]), records=[tuple(record.values()) for record in records]
        )


def _session_row(opened: Opened, now: datetime) -> dict[str, object]:
    session = _session(opened, now)
    return rows.header(session)._asdict() | {
        "id": opened.id,
        "agent_id": ids.from_wire(ids.Kind.AGENT, session.agent.id),
        "agent_version": session.agent.version,
        "created_at": now,
        "context": b"{}",
        "metadata": b"{}",
        "active_hour": now.replace(minute=0, second=0, microsecond=0),
        "revision": session.revision,
    }


def _session(opened: Opened, now: datetime) -> Session:
    turn_count = len(opened.turn_ids)
    return Session(
        id=opened.wire_id,
        revision=1 + 2 * turn_count,
        state=SessionState.OPEN,
        agent=opened.tenant.agent,
        cursor=turn_count,
        turn_count=turn_count,
        created_at=now,
        updated_at=now,
    )


def _turns(opened: Opened, now: datetime) -> Iterator[Turn]:
    usage = Usage(input_tokens=812, output_tokens=96, cost=Decimal("0.001204"))
    step = StepSummary(
        id=ids.to_wire(ids.Kind.STEP, uuid7()),
        kind="model",
        outcome="completed",
        model="scripted:echo",
        started_at=now,
        latency_ms=900,
        usage=usage,
    )
    for position, turn_id in enumerate(opened.turn_ids):
        yield Turn(
            id=ids.to_wire(ids.Kind.TURN, turn_id),
            branch=0,
            position=position,
            state=TurnState.COMPLETED,
            revision=3 + 2 * position,
            created_at=now,
            finished_at=now + timedelta(seconds=1),
            created_by=opened.tenant.caller.actor,
            user_message=UserMessage(text=USER_TEXT),
            replies=(Reply(speaker=SPEAKER, text=REPLY_TEXT, created_at=now),),
            steps=(step,),
            usage=usage,
        )


def _events(opened: Opened, now: datetime) -> Iterator[Event]:
    actor = opened.tenant.caller.actor
    yield _event(1, EventType.SESSION_CREATED, now, actor, None, None)
    for position, turn_id in enumerate(opened.turn_ids):
        wire_id = ids.to_wire(ids.Kind.TURN, turn_id)
        yield _event(2 + 2 * position, EventType.TURN_CREATED, now, actor, wire_id, position)
        yield _event(3 + 2 * position, EventType.TURN_COMPLETED, now, RUNNER, wire_id, position)


def _event(
    revision: int, kind: EventType, now: datetime, actor: Actor, turn_id: str | None, line_from: int | None
) -> Event:
    return Event(
        revision=revision,
        type=kind,
        at=now,
        actor=actor,
        effects=(Effect(type=kind, turn_id=turn_id),),
        line_from=line_from,
    )
