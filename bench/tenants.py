"""Organizations with sessions of any length, written as rows at once instead of by commits."""

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from api.agents.definition import Definition
from api.session import codec, ids
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

SPEAKER = "Ada"
_WORDS = (
    "about after again answer before being between called change could every figure first found given "
    "great house however known large later might never number order other people place point question "
    "right should small still think their there these thing think those three under until where which "
    "while without world would years"
).split()
_random = random.Random(20)


def words(characters: int) -> str:
    """Text of this length that does not compress better than talk does."""
    text = ""
    while len(text) < characters:
        text += _random.choice(_WORDS) + " "
    return text[:characters].strip() or "."


USER_TEXT = words(160)
REPLY_TEXT = words(640)


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """One organization with one agent, and a key to it."""

    caller: Caller
    agent: AgentRef
    secret: str


async def make_tenants(store: Store, count: int = ORGANIZATIONS) -> list[Tenant]:
    """Make organizations, each with a key and a published agent."""
    return [await _make_tenant(store, f"Organization {number}") for number in range(count)]


async def _make_tenant(store: Store, name: str) -> Tenant:
    organization = await store.access.create_organization(name)
    key = await store.access.create_key(organization.id, name="bench")
    row = ids.from_wire(ids.Kind.ORGANIZATION, organization.id)
    assert row is not None
    caller = Caller(organization_id=row, actor=Actor(key_id=key.id))
    answer = await store.agents.create_agent(
        caller,
        name="Helper",
        definition=Definition(model="scripted:echo", instructions="Be brief."),
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
    async with pool.acquire() as conn:
        for session in opened:
            await _write(conn, session)
    return opened


async def settle_down(pool: Pool) -> None:
    """Give the planner its statistics and start from a checkpoint."""
    async with pool.acquire() as conn:
        await conn.execute("VACUUM (ANALYZE)")
        await conn.execute("CHECKPOINT")


async def _write(conn: Connection, opened: Opened) -> None:
    organization, now = opened.tenant.caller.organization_id, utc_now()
    turn_count = len(opened.turn_ids)
    session = _session(opened, now)
    header = rows.header(session)
    agent_row = ids.from_wire(ids.Kind.AGENT, session.agent.id)
    hour = now.replace(minute=0, second=0, microsecond=0)
    await conn.copy_records_to_table(
        "sessions",
        columns=(
            "organization_id id agent_id agent_version created_at context metadata active_hour state revision "
            "branch turn_count cursor unfinished_count updated_at document"
        ).split(),
        records=[
            (organization, opened.id, agent_row, 1, now, b"{}", b"{}", hour, "open", session.revision)
            + (0, turn_count, turn_count, 0, now, header.document)
        ],
    )
    await conn.copy_records_to_table(
        "branches",
        columns=["organization_id", "session_id", "number", "parent", "branch_point"],
        records=[(organization, opened.id, 0, None, 0)],
    )
    await conn.copy_records_to_table(
        "turns",
        columns="organization_id session_id branch position id created_at state revision body".split(),
        records=(
            (organization, opened.id, 0, turn.position, turn_id, now, "completed", turn.revision)
            + (codec.encode_turn(turn),)
            for turn_id, turn in zip(opened.turn_ids, _turns(opened, now), strict=True)
        ),
    )
    await conn.copy_records_to_table(
        "events",
        columns="organization_id session_id revision type at actor effects line_from".split(),
        records=(
            (organization, opened.id, row.revision, row.type, row.at, row.actor, row.effects, row.line_from)
            for row in map(rows.event_row, _events(opened, now))
        ),
    )


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
