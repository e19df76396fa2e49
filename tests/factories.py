"""Makes what tests need: an organization with an agent and a store, sessions, turns."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from api.agents.definition import Definition
from api.events import Hub
from api.session import commands, ids
from api.session.commands import IfActive
from api.session.document import (
    Actor,
    AgentRef,
    Approval,
    ApprovalReason,
    Change,
    Decision,
    Head,
    Reply,
    StepSummary,
    Usage,
)
from api.store import Caller, Delta, Done, Idempotency, Replay, Store, StoredAnswer
from api.store.base import utc_now
from api.store.running import RUNNER, Claim, turn_id_of
from db.pool import Pool

SECRETS_KEY = bytes(range(32))

DEFINITION = Definition(model="scripted:echo", instructions="Be brief.")


class World:
    """One organization with one agent, on a store."""

    def __init__(self, store: Store, hub: Hub, organization_id: str, caller: Caller, agent: AgentRef) -> None:
        self.store = store
        self.hub = hub
        self.organization_id = organization_id
        self.caller = caller
        self.agent = agent

    def on(self, pool: Pool) -> "World":
        """The same organization, as a service on another database sees it."""
        store = Store(pool, self.hub, secrets_keys=(SECRETS_KEY,))
        return World(store, self.hub, self.organization_id, self.caller, self.agent)

    async def session(
        self,
        *,
        context: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        name: str | None = None,
        greeting: str | None = None,
        greeting_is_generated: bool = False,
        idempotency: Idempotency | None = None,
    ) -> Delta:
        """A new session, as its creator sees it."""
        done = await self.store.sessions.create_session(
            self.caller,
            agent=self.agent,
            greeting=greeting,
            greeting_is_generated=greeting_is_generated,
            speaker="Ada",
            name=name,
            context=dict(context or {}),
            metadata=dict(metadata or {}),
            idempotency=idempotency,
            render=rendered,
        )
        return delta_of(done)

    async def append(
        self,
        session_id: str,
        expected: int | None,
        text: str = "Hello",
        *,
        if_active: IfActive = IfActive.REJECT,
        idempotency: Idempotency | None = None,
    ) -> Delta:
        """Append a message."""
        return delta_of(
            await self.store.sessions.append(
                self.caller,
                session_id,
                text=text,
                speaker=None,
                if_active=if_active,
                expected=expected,
                idempotency=idempotency,
            )
        )

    async def answer(self, text: str = "Hi.") -> Claim:
        """Claim the oldest pending turn and complete it, as a runner without a model would."""
        claim = await self.store.running.claim(runner="test", lease_seconds=15)
        assert claim is not None
        assert await self.store.running.publish(claim, completing(claim, text))
        return claim

    async def ask(self, session_id: str, count: int = 1, **fields: Any) -> tuple[Approval, ...]:
        """Say something, and have its turn wait for this many approvals. No other turn is pending."""
        delta = await self.append(session_id, None)
        claim = await self.store.running.claim(runner="test", lease_seconds=15)
        assert claim is not None
        assert turn_id_of(claim) == delta.session.active_turn_id
        approvals = tuple(self.approval(number, **fields) for number in range(count))
        assert await self.store.running.publish(claim, asking(claim, *approvals))
        return approvals

    def approval(self, number: int = 0, **fields: Any) -> Approval:
        """An approval that nobody has asked for yet."""
        now = utc_now()
        asked = {
            "id": self.store.running.new_approval_id(),
            "asked_by": ids.to_wire(ids.Kind.STEP, self.store.running.new_step_id()),
            "call_index": number,
            "step_id": ids.to_wire(ids.Kind.STEP, self.store.running.new_step_id()),
            "tool": "refund",
            "arguments": {"order": number},
            "arguments_digest": f"digest-{number}",
            "effect": "once",
            "reason": ApprovalReason.REQUIRED,
            "requested_at": now,
            "expires_at": now + timedelta(hours=1),
        }
        return Approval(**asked | fields)

    async def decide(
        self, approval: Approval, decision: Decision = Decision.APPROVED, **options: Any
    ) -> Delta:
        """Decide about an approval as it was asked for."""
        given = {
            "arguments_digest": approval.arguments_digest,
            "note": None,
            "is_standing": False,
            "expected": None,
            "idempotency": None,
            "render": rendered,
        }
        caller = options.pop("caller", self.caller)
        return delta_of(
            await self.store.approvals.decide(caller, approval.id, decision=decision, **given | options)
        )

    async def conversation(self, turn_count: int) -> Delta:
        """A session with this many completed turns."""
        delta = await self.session()
        for number in range(turn_count):
            delta = await self.append(delta.session.id, None, f"Question {number}")
            await self.answer(f"Answer {number}")
        return await self.store.reading.since(self.caller, delta.session.id, 0)


def asking(claim: Claim, *approvals: Approval) -> Any:
    """A command for `publish` that lets the claimed turn wait for these approvals."""

    def command(head: Head, steps: tuple[StepSummary, ...], usage: Usage | None) -> Change:
        return commands.request_approvals(
            head,
            turn_id=turn_id_of(claim),
            approvals=approvals,
            steps=steps,
            usage=usage,
            now=utc_now(),
            actor=RUNNER,
        )

    return command


def completing(claim: Claim, text: str, **more: Any) -> Any:
    """A command for `publish` that completes the claimed turn with one reply, and more of `complete`."""

    def command(head: Head, steps: tuple[StepSummary, ...], usage: Usage | None) -> Change:
        now = utc_now()
        return commands.complete(
            head,
            turn_id=turn_id_of(claim),
            replies=(Reply(speaker="Ada", text=text, created_at=now),),
            steps=steps,
            usage=usage,
            now=now,
            actor=RUNNER,
            **more,
        )

    return command


async def make_world(
    pool: Pool,
    *,
    definition: Definition = DEFINITION,
    name: str = "Acme",
    clock: Callable[[], datetime] = utc_now,
) -> World:
    """An organization of its own on this database."""
    hub = Hub()
    store = Store(pool, hub, secrets_keys=(SECRETS_KEY,), clock=clock)
    organization = await store.access.create_organization(name)
    row = ids.from_wire(ids.Kind.ORGANIZATION, organization.id)
    assert row is not None
    caller = Caller(organization_id=row, actor=Actor(key_id="key_" + "0" * 32))
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
    return World(
        store, hub, organization.id, caller, AgentRef(id=msgspec.json.decode(answer.body)["id"], version=1)
    )


def rendered(delta: Delta) -> StoredAnswer:
    """An answer as a route would keep it."""
    return StoredAnswer(
        status=200, headers={"ETag": f'"{delta.session.revision}"'}, body=msgspec.json.encode(delta)
    )


def delta_of(result: Done | Replay) -> Delta:
    """What a call that is no repetition has changed."""
    assert isinstance(result, Done)
    return result.delta
