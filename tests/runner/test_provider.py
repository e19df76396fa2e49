"""Turns against a provider that misbehaves, over real HTTP: what becomes of the turn, and of the bill."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from api.agents.definition import Definition
from api.models.limits import CallLimits
from api.models.registry import Endpoint, Models, ModelsConfig
from api.runner.limits import TurnLimits
from api.runner.loop import Runner, RunnerLimits
from api.session.document import Turn, TurnState
from db.pool import Pool
from db.usage import EntryRow
from tests.factories import World, make_world
from tests.providers.server import FakeProvider, Plan
from tests.runner.test_loop import until_final


@asynccontextmanager
async def conversation(
    pool: Pool, *, limits: CallLimits | None = None, turn_seconds: float = 20, stream_breaks_max: int = 0
) -> AsyncIterator[tuple[World, FakeProvider]]:
    """An organization whose agent talks to the fake provider, and a runner."""
    async with FakeProvider() as provider:
        config = ModelsConfig(
            endpoints={"fake": Endpoint(base_url=provider.base_url)}, limits=limits or CallLimits()
        )
        models = Models(config, environ={})
        world = await make_world(pool, definition=Definition(model="fake:model-1", instructions="Be brief."))
        runner_limits = RunnerLimits(
            turn=TurnLimits(turn_seconds=turn_seconds, stream_breaks_max=stream_breaks_max)
        )
        async with Runner(world.store, models, world.hub, name="test", limits=runner_limits):
            yield world, provider
        await models.close()


async def ask(world: World, session_id: str, expected: int, text: str = "Hello") -> Turn:
    """Append a message and wait until its turn is final."""
    appended = await world.append(session_id, expected, text)
    return await until_final(world, session_id, appended.turns[-1].id)


async def ledger(world: World) -> list[EntryRow]:
    entries, _ = await world.store.reading.usage_entries(world.caller, after=0, session_id=None, limit=100)
    return entries


async def test_text_and_usage_behind_the_finish_reason_are_kept(pool: Pool) -> None:
    async with conversation(pool) as (world, provider):
        provider.plans.append(Plan(text="Good day to you.", input_tokens=31, cached_tokens=5))
        session_id = (await world.session()).session.id

        turn = await ask(world, session_id, 1)

    [entry] = await ledger(world)
    assert (turn.state, turn.replies[0].text) == (TurnState.COMPLETED, "Good day to you.")
    assert (entry.source, entry.input_tokens, entry.cached_tokens) == ("provider", 31, 5)
    assert (entry.provider, entry.outcome, entry.billable) == ("fake", "completed", True)
    assert entry.cost is None, "nobody knows a price"


async def test_a_provider_without_usage_is_estimated_and_says_so(pool: Pool) -> None:
    async with conversation(pool) as (world, provider):
        provider.plans.append(Plan(words=3, usage="none"))
        session_id = (await world.session()).session.id

        turn = await ask(world, session_id, 1)

    [entry] = await ledger(world)
    assert turn.state is TurnState.COMPLETED
    assert entry.source == "estimated"
    assert min(entry.input_tokens, entry.output_tokens) > 0


async def test_a_rate_limit_is_waited_out_as_the_provider_asks(pool: Pool) -> None:
    async with conversation(pool) as (world, provider):
        provider.plans.extend([Plan(status=429, retry_after="0.05"), Plan(text="Now.")])
        session_id = (await world.session()).session.id

        turn = await ask(world, session_id, 1)

    assert (turn.state, turn.replies[0].text) == (TurnState.COMPLETED, "Now.")
    assert len(await ledger(world)) == 1


@pytest.mark.parametrize(
    ("plan", "code", "status", "reason"),
    [
        (Plan(status=500), "provider_unavailable", 500, "refused"),
        (Plan(status=400), "bad_request", 400, "refused"),
        (Plan(words=4, cut_after=2), "stream_broken", None, "failed"),
        (Plan(words=4, ends_after=2), "stream_broken", None, "failed"),
        (Plan(words=4, garbage_after=2), "stream_broken", None, "failed"),
        (Plan(words=4, stall_after=2), "timeout", None, "failed"),
        (Plan(text=""), "empty_reply", None, "completed"),
    ],
    ids=["500", "400", "cut", "early end", "garbage", "silent stall", "no text"],
)
async def test_a_failing_provider_makes_a_failed_turn_with_the_error_in_it(
    pool: Pool, plan: Plan, code: str, status: int | None, reason: str
) -> None:
    limits = CallLimits(stall_seconds=1.5, first_text_seconds=10, attempts_max=1)
    async with conversation(pool, limits=limits) as (world, provider):
        provider.plans.append(plan)
        session_id = (await world.session()).session.id

        turn = await ask(world, session_id, 1)

    [entry] = await ledger(world)
    assert turn.state is TurnState.FAILED
    assert turn.replies == ()
    assert turn.error is not None
    assert (turn.error.code, turn.error.provider, turn.error.provider_status) == (code, "fake", status)
    assert entry.billable_reason == reason
    assert entry.billable is (reason == "completed")


async def test_a_turn_that_takes_too_long_fails_within_its_limit(pool: Pool) -> None:
    async with conversation(pool, turn_seconds=0.3) as (world, provider):
        provider.plans.append(Plan(words=1_000, delay_ms=20))
        session_id = (await world.session()).session.id

        turn = await ask(world, session_id, 1)

    [entry] = await ledger(world)
    assert turn.state is TurnState.FAILED
    assert turn.error is not None
    assert turn.error.code == "timeout"
    assert (entry.outcome, entry.source, entry.billable) == ("failed", "estimated", False)


async def test_a_failed_turns_words_do_not_reach_the_model(pool: Pool) -> None:
    async with conversation(pool, limits=CallLimits(attempts_max=1)) as (world, provider):
        provider.plans.extend([Plan(text="First."), Plan(status=500), Plan(text="Third.")])
        session_id = (await world.session()).session.id
        await ask(world, session_id, 1, "one")
        await ask(world, session_id, 3, "two")

        await ask(world, session_id, 5, "three")

    said = [(m["role"], m["content"]) for m in provider.requests[-1].body["messages"]]
    assert said == [
        ("system", "Be brief."),
        ("user", "one"),
        ("assistant", "First."),
        ("user", "three"),
    ]


async def test_a_model_without_a_key_fails_the_turn_and_makes_no_call(pool: Pool) -> None:
    world = await make_world(pool, definition=Definition(model="openai:gpt-5-mini"))
    session_id = (await world.session()).session.id
    async with Runner(
        world.store, Models(ModelsConfig(), environ={}), world.hub, name="test", limits=RunnerLimits()
    ):
        turn = await ask(world, session_id, 1)

    assert turn.state is TurnState.FAILED
    assert turn.error is not None
    assert turn.error.code == "not_configured"
    assert await ledger(world) == []


async def test_a_stream_that_breaks_is_called_again_with_a_ledger_row_of_its_own(pool: Pool) -> None:
    async with conversation(pool, stream_breaks_max=1) as (world, provider):
        provider.plans.extend([Plan(words=4, cut_after=2), Plan(text="Whole.")])
        session_id = (await world.session()).session.id

        turn = await ask(world, session_id, 1)

    entries = await ledger(world)
    log = await pool.fetch("SELECT kind, text FROM deltas ORDER BY number")
    assert (turn.state, turn.replies[0].text) == (TurnState.COMPLETED, "Whole.")
    assert [(e.outcome, e.billable) for e in entries] == [("failed", False), ("completed", True)]
    assert [step.outcome for step in turn.steps] == ["failed", "completed"]
    kinds = [row["kind"] for row in log]
    restarted_at = kinds.index("restarted")
    assert "".join(row["text"] for row in log[:restarted_at]) == "word0 word1 "
    assert "".join(row["text"] for row in log[restarted_at:]) == "Whole."


async def test_a_stream_that_breaks_again_fails_the_turn(pool: Pool) -> None:
    async with conversation(pool, stream_breaks_max=1) as (world, provider):
        provider.plans.extend([Plan(words=4, cut_after=2), Plan(words=4, cut_after=1)])
        session_id = (await world.session()).session.id

        turn = await ask(world, session_id, 1)

    assert turn.state is TurnState.FAILED
    assert turn.error is not None
    assert turn.error.code == "stream_broken"
    assert len(await ledger(world)) == 2
