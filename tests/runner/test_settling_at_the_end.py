"""What a call has cost is written, whatever happens meanwhile: a stop, a database that is away, a crash."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from api.agents.definition import Definition
from api.models.base import Finished, FinishReason, ModelRequest, ModelUsage, StreamItem, TextDelta
from api.models.registry import Models, ModelsConfig
from api.runner.limits import TurnLimits
from api.runner.loop import Runner, RunnerLimits
from api.session.document import TurnState
from db.pool import Pool
from db.usage import EntryRow
from tests.factories import World, make_world
from tests.runner.test_loop import until_final
from tests.store.test_races import intent, outcome

_SECONDS_MAX = 10


class Held:
    """A model whose stream is held open at a place, until it is let go."""

    provider = "held"

    def __init__(self, *, closes_slowly: bool = False) -> None:
        self.spoke = asyncio.Event()
        self.closing = asyncio.Event()
        self.may_close = asyncio.Event()
        self._closes_slowly = closes_slowly

    async def stream(self, request: ModelRequest) -> AsyncGenerator[StreamItem, None]:
        try:
            yield TextDelta("Hello.")
            self.spoke.set()
            if self._closes_slowly:
                await asyncio.Event().wait()
            yield Finished(
                usage=ModelUsage(input_tokens=11, output_tokens=5),
                finish_reason=FinishReason.STOP,
                model=request.model,
                provider=self.provider,
            )
        finally:
            self.closing.set()
            if self._closes_slowly:
                await self.may_close.wait()

    async def close(self) -> None:
        """There is nothing to release."""


def runner(world: World, client: Any, **limits: Any) -> Runner:
    models = Models(ModelsConfig(), environ={}, clients=[client])
    return Runner(world.store, models, world.hub, name="test", limits=RunnerLimits(**limits))


async def world_with(pool: Pool) -> tuple[World, str]:
    world = await make_world(pool, definition=Definition(model="held:one"))
    return world, (await world.session()).session.id


async def ledger(world: World) -> list[EntryRow]:
    entries, _ = await world.store.reading.usage_entries(world.caller, after=0, session_id=None, limit=10)
    return entries


async def test_a_stop_in_the_middle_of_a_settlement_waits_until_it_is_written(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, session_id = await world_with(pool)
    settle, settling, may_settle = world.store.running.settle, asyncio.Event(), asyncio.Event()

    async def slow(*args: Any) -> bool:
        settling.set()
        await may_settle.wait()
        return await settle(*args)

    monkeypatch.setattr(world.store.running, "settle", slow)
    async with asyncio.timeout(_SECONDS_MAX):
        started = runner(world, Held(), shutdown_grace_seconds=0)
        await started.__aenter__()
        await world.append(session_id, 1)
        await settling.wait()
        stopping = asyncio.create_task(started.__aexit__(None, None, None))
        await asyncio.wait({stopping}, timeout=0.1)
        is_stopped_early = stopping.done()
        may_settle.set()
        await stopping

    assert not is_stopped_early
    assert [(e.outcome, e.source, e.input_tokens) for e in await ledger(world)] == [
        ("completed", "provider", 11)
    ]


async def test_a_stop_while_a_stream_closes_is_settled_too(pool: Pool) -> None:
    world, session_id = await world_with(pool)
    client = Held(closes_slowly=True)

    async with asyncio.timeout(_SECONDS_MAX):
        limits = TurnLimits(turn_seconds=0.1)
        started = runner(world, client, shutdown_grace_seconds=0, turn=limits)
        await started.__aenter__()
        await world.append(session_id, 1)
        await client.closing.wait()
        stopping = asyncio.create_task(started.__aexit__(None, None, None))
        await asyncio.wait({stopping}, timeout=0.1)
        client.may_close.set()
        await stopping

    assert [(e.outcome, e.source) for e in await ledger(world)] == [("failed", "estimated")]


async def test_a_database_that_is_away_when_prices_are_read_delays_a_settlement_only(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, session_id = await world_with(pool)
    prices_of, failures = world.store.running.prices_of, [ConnectionError(), ConnectionError()]

    async def broken(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return await prices_of(*args)

    monkeypatch.setattr(world.store.running, "prices_of", broken)
    async with runner(world, Held()):
        turn_id = (await world.append(session_id, 1)).turns[0].id
        turn = await until_final(world, session_id, turn_id)

    assert turn.state is TurnState.COMPLETED
    assert [(e.outcome, e.source, e.attempt) for e in await ledger(world)] == [("completed", "provider", 1)]


async def test_a_blank_reply_found_after_the_last_attempt_fails_the_turn(pool: Pool) -> None:
    world, session_id = await world_with(pool)
    turn_id = (await world.append(session_id, 1)).turns[0].id
    claim = await world.store.running.claim(runner="dead", lease_seconds=15)
    assert claim is not None
    step_id = world.store.running.new_step_id()
    assert await world.store.running.start_step(claim, intent(step_id))
    await world.store.running.settle(claim, step_id, outcome({"text": " ", "finish_reason": "stop"}))
    await pool.execute("UPDATE runs SET attempt = 3, lease_expires_at = now() - interval '1 second'")

    async with runner(world, Held()):
        turn = await until_final(world, session_id, turn_id)

    assert turn.error is not None
    assert turn.error.code == "empty_reply"


async def test_a_call_that_ends_while_its_turn_is_taken_over_is_not_made_again(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, session_id = await world_with(pool)
    turn_id = (await world.append(session_id, 1)).turns[0].id
    running = world.store.running
    late = await running.claim(runner="late", lease_seconds=15)
    assert late is not None
    step_id = running.new_step_id()
    assert await running.start_step(late, intent(step_id))
    await pool.execute("UPDATE runs SET lease_expires_at = now() - interval '1 second'")
    settle = running.settle

    async def just_too_late(*args: Any) -> bool:
        assert await settle(late, step_id, outcome({"text": "Late.", "finish_reason": "stop"}))
        monkeypatch.setattr(running, "settle", settle)
        return await settle(*args)

    monkeypatch.setattr(running, "settle", just_too_late)
    client = Held()
    async with runner(world, client):
        turn = await until_final(world, session_id, turn_id)

    assert [reply.text for reply in turn.replies] == ["Late."]
    assert not client.spoke.is_set()
    assert [(entry.outcome, entry.billable) for entry in await ledger(world)] == [("completed", True)]
