"""Who pays for a call that was broken off: whoever wanted it no more, and nobody when it was us."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

from api.agents.definition import Definition
from api.models.base import Finished, FinishReason, ModelRequest, ModelUsage, StreamItem, TextDelta
from api.models.registry import Models, ModelsConfig
from api.runner.limits import TurnLimits
from api.runner.loop import Runner, RunnerLimits
from api.session.document import TurnState
from db.pool import Pool
from tests.factories import World, make_world, rendered
from tests.runner.test_loop import until_final

_SECONDS_MAX = 10


class Talking:
    """A model that says a word and goes on when it is let."""

    provider = "talking"

    def __init__(self) -> None:
        self.spoke = asyncio.Event()
        self.may_end = asyncio.Event()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[StreamItem, None]:
        yield TextDelta("Well, ")
        self.spoke.set()
        await self.may_end.wait()
        yield Finished(
            usage=ModelUsage(input_tokens=11, output_tokens=5),
            finish_reason=FinishReason.STOP,
            model=request.model,
            provider=self.provider,
        )

    async def close(self) -> None:
        """There is nothing to release."""


class Scene:
    """A turn whose model is speaking."""

    def __init__(self, world: World, model: Talking, session_id: str, turn_id: str) -> None:
        self.world = world
        self.model = model
        self.session_id = session_id
        self.turn_id = turn_id

    def runner(self, **limits: object) -> Runner:
        """One that does not wait for turns when it is stopped."""
        models = Models(ModelsConfig(), environ={}, clients=[self.model])
        return Runner(
            self.world.store,
            models,
            self.world.hub,
            name="test",
            limits=RunnerLimits(shutdown_grace_seconds=0, **limits),
        )

    async def calls(self, count: int) -> list[tuple[str, bool, str]]:
        """Wait for so many ledger rows; answers how each call ended, whether it is billable, and why."""
        async with asyncio.timeout(_SECONDS_MAX):
            while True:
                entries, head = await self.world.store.reading.usage_entries(
                    self.world.caller, after=0, session_id=None, limit=10
                )
                if head >= count:
                    return [(entry.outcome, entry.billable, entry.billable_reason) for entry in entries]
                await asyncio.sleep(0.01)


async def scene(pool: Pool) -> Scene:
    world = await make_world(pool, definition=Definition(model="talking:on"))
    session_id = (await world.session()).session.id
    return Scene(world, Talking(), session_id, (await world.append(session_id, 1)).turns[0].id)


async def cancel(one: Scene) -> None:
    await one.world.store.sessions.cancel(
        one.world.caller,
        one.session_id,
        turn_id=one.turn_id,
        expected=None,
        idempotency=None,
        render=rendered,
    )


async def rewind(one: Scene) -> None:
    await one.world.store.sessions.rewind(
        one.world.caller, one.session_id, turn_id=None, expected=None, idempotency=None, render=rendered
    )


async def delete(one: Scene) -> None:
    await one.world.store.sessions.erase(one.world.caller, one.session_id, expected=None)


@pytest.mark.parametrize("give_up", [cancel, rewind, delete])
async def test_who_gives_a_turn_up_pays_for_what_was_said(
    pool: Pool, give_up: Callable[[Scene], Awaitable[None]]
) -> None:
    one = await scene(pool)

    async with one.runner():
        await one.model.spoke.wait()
        await give_up(one)
        calls = await one.calls(1)

    assert calls == [("cancelled", True, "cancelled")]


async def test_nobody_pays_for_a_call_that_our_stop_breaks_off_and_its_repetition_is_paid_once(
    pool: Pool,
) -> None:
    one = await scene(pool)

    async with one.runner():
        await one.model.spoke.wait()
    dropped = await one.calls(1)
    one.model.may_end.set()
    async with one.runner():
        turn = await until_final(one.world, one.session_id, one.turn_id)

    assert dropped == [("failed", False, "dropped")]
    assert turn.state is TurnState.COMPLETED
    assert await one.calls(2) == [("failed", False, "dropped"), ("completed", True, "completed")]


async def test_a_turn_that_is_given_up_before_our_stop_is_paid(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await scene(pool)

    async def held(*_: object, **__: object) -> bool:
        return True

    # The runner does not hear of the cancellation before it is stopped.
    monkeypatch.setattr(one.world.store.running, "heartbeat", held)
    async with one.runner():
        await one.model.spoke.wait()
        await cancel(one)

    assert await one.calls(1) == [("cancelled", True, "cancelled")]


async def test_nobody_pays_for_a_call_whose_lease_could_not_be_renewed(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await scene(pool)
    renew = one.world.store.running.heartbeat

    async def cut_off(*_: object, **__: object) -> bool:
        raise ConnectionError

    monkeypatch.setattr(one.world.store.running, "heartbeat", cut_off)
    async with one.runner(turn=TurnLimits(lease_seconds=0.4, heartbeat_seconds=0.1)):
        await one.model.spoke.wait()
        dropped = await one.calls(1)
    monkeypatch.setattr(one.world.store.running, "heartbeat", renew)
    one.model.may_end.set()
    async with one.runner():
        turn = await until_final(one.world, one.session_id, one.turn_id)

    assert set(dropped) == {("failed", False, "dropped")}
    assert turn.state is TurnState.COMPLETED
    assert [reason for _, is_billable, reason in await one.calls(2) if is_billable] == ["completed"]
