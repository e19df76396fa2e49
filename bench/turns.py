"""Turns as the store commits them: appended and completed, with or without all that a runner writes."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from api.session import commands, ids
from api.session.commands import IfActive
from api.session.document import Change, Head, Reply, StepSummary, Usage
from api.store import Delta, Done, Store, StoredAnswer
from api.store.base import utc_now
from api.store.running import RUNNER, Claim, Intent, Known, Outcome, Shown
from bench.tenants import REPLY_TEXT, SPEAKER, USER_TEXT, Opened

LEASE_SECONDS = 15.0
DELTA_FLUSHES = 5
"""Pieces in which the reply of a full turn is shown and stored before it is published."""


async def append(store: Store, session: Opened, *, expected: int | None) -> Delta:
    """Append a user message at this revision, or at the one found."""
    done = await store.sessions.append(
        session.tenant.caller,
        session.wire_id,
        text=USER_TEXT,
        speaker=None,
        if_active=IfActive.REJECT,
        expected=expected,
        idempotency=None,
    )
    assert isinstance(done, Done)
    return done.delta


def right_to(session: Opened, appended: Delta) -> Claim:
    """The right to complete the active turn of a session that no runner has ever claimed (epoch 0)."""
    turn_id = ids.from_wire(ids.Kind.TURN, appended.session.active_turn_id or "")
    assert turn_id is not None
    return Claim(
        organization_id=session.tenant.caller.organization_id,
        session_id=session.id,
        turn_id=turn_id,
        run_id=uuid7(),
        attempt=1,
        epoch=0,
    )


def known_of(appended: Delta) -> Known:
    """What the runner of a turn that was just appended knows of it; it has made no step."""
    unfinished = tuple(turn for turn in appended.turns if not turn.state.is_final)
    return Known(head=Head(session=appended.session, unfinished=unfinished), steps=())


async def complete(store: Store, claim: Claim, known: Known | None) -> Change:
    """Publish the reply; answers the change that was committed. Without `known` the turn is read first."""
    committed: list[Change] = []

    def command(head: Head, steps: tuple[StepSummary, ...], usage: Usage | None) -> Change:
        committed.append(completion(head, turn_id=claim.turn_id, steps=steps, usage=usage, now=utc_now()))
        return committed[-1]

    assert await store.running.publish(claim, command, known=known)
    return committed[-1]


def completion(
    head: Head, *, turn_id: UUID, steps: tuple[StepSummary, ...], usage: Usage | None, now: datetime
) -> Change:
    """The change that completes the active turn with the reply."""
    return commands.complete(
        head,
        turn_id=ids.to_wire(ids.Kind.TURN, turn_id),
        replies=(Reply(speaker=SPEAKER, text=REPLY_TEXT, created_at=now),),
        steps=steps,
        usage=usage,
        now=now,
        actor=RUNNER,
    )


async def claim(store: Store, session: Opened) -> Claim:
    """Claim the one pending turn that there is."""
    claimed = await store.running.claim(runner="bench", lease_seconds=LEASE_SECONDS)
    assert claimed is not None
    assert claimed.session_id == session.id
    return claimed


async def call_model(store: Store, claimed: Claim) -> None:
    """Write all that a runner writes around one model call: intent, shown text, settlement."""
    step_id = store.running.new_step_id()
    intent = Intent(
        id=step_id,
        purpose="reply",
        speaker=SPEAKER,
        provider="scripted",
        model="echo",
        started_at=utc_now(),
        request={"instructions_sha256": "0" * 64, "first_turn": None, "sha256": "0" * 64},
    )
    assert await store.running.start_step(claimed, intent)
    size = -(-len(REPLY_TEXT) // DELTA_FLUSHES)
    for offset in range(0, len(REPLY_TEXT), size):
        piece = Shown(
            organization_id=claimed.organization_id,
            session_id=claimed.session_id,
            run_id=claimed.run_id,
            step_id=step_id,
            offset=offset,
            text=REPLY_TEXT[offset : offset + size],
        )
        assert await store.running.show([piece])
    outcome = Outcome(
        outcome="completed",
        model="echo",
        tokens=Usage(input_tokens=812, output_tokens=96, cost=Decimal("0.001204")),
        unit_prices=msgspec.json.encode({"input_per_million": "1", "output_per_million": "4.1"}),
        price_source="organization",
        source="provider",
        is_billable=True,
        billable_reason="completed",
        latency_ms=900,
        result={"text": REPLY_TEXT},
    )
    assert await store.running.settle(claimed, step_id, outcome)


def no_answer(delta: Delta) -> StoredAnswer:
    """Stands for the answer that a route would keep under an idempotency key; none is sent here."""
    return StoredAnswer(status=200, headers={}, body=b"")
