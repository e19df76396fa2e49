"""What a runner takes on, how it lets go, and what it does with a provider that is down."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from api.agents.definition import Definition
from api.models.base import ModelRequest, StreamItem, TextDelta
from api.models.breaker import BreakerLimits
from api.models.limits import CallLimits
from api.models.registry import Endpoint, Models, ModelsConfig
from api.runner.loop import Runner, RunnerLimits
from api.session import ids
from api.session.document import TurnState
from db.pool import Pool
from tests.factories import World, make_world, rendered
from tests.providers.server import FakeProvider, Plan
from tests.runner.test_loop import until_final

_SECONDS_MAX = 20


class Holding:
    """A model that says a word and then nothing, and counts who listens."""

    provider = "holding"

    def __init__(self) -> None:
        self.open_count = 0
        self.open_count_max = 0
        self.may_end = asyncio.Event()
        self._changed = asyncio.Condition()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[StreamItem, None]:
        self.open_count += 1
        self.open_count_max = max(self.open_count_max, self.open_count)
        async with self._changed:
            self._changed.notify_all()
        try:
            yield TextDelta("Well, ")
            await self.may_end.wait()
        finally:
            self.open_count -= 1

    async def until_open(self, count: int) -> None:
        """Wait until this many calls are made at once."""
        async with asyncio.timeout(_SECONDS_MAX), self._changed:
            await self._changed.wait_for(lambda: self.open_count >= count)

    async def close(self) -> None:
        """There is nothing to release."""


async def waiting(world: World, turn_count: int) -> list[tuple[str, str]]:
    """Sessions with a pending turn each."""
    made = []
    for _ in range(turn_count):
        session_id = (await world.session()).session.id
        made.append((session_id, (await world.append(session_id, 1)).turns[0].id))
    return made


@asynccontextmanager
async def processes(world: World, model: Holding, count: int, **limits: int) -> AsyncIterator[None]:
    """As many runners as if each were a process of its own."""
    async with AsyncExitStack() as stack:
        for number in range(count):
            models = Models(ModelsConfig(), environ={}, clients=[model])
            runner = Runner(
                world.store,
                models,
                world.hub,
                name=f"process {number}",
                limits=RunnerLimits(poll_seconds=0.02, shutdown_grace_seconds=0, **limits),
            )
            await stack.enter_async_context(runner)
        yield


async def test_a_process_runs_no_more_turns_than_its_places(pool: Pool) -> None:
    world, model = await make_world(pool, definition=Definition(model="holding:on")), Holding()
    await waiting(world, 6)

    async with processes(world, model, 1, turns_max=2):
        await model.until_open(2)
        # There are turns for whoever has a place.
        other = await world.store.running.claim(runner="other", lease_seconds=15)

    assert other is not None
    assert model.open_count_max == 2


async def test_one_process_alone_never_overruns_the_limit_of_an_organization(pool: Pool) -> None:
    world, model = await make_world(pool, definition=Definition(model="holding:on")), Holding()
    await waiting(world, 6)

    async with processes(world, model, 1, turns_max=6, organization_turns_max=2):
        await model.until_open(2)
        assert (
            await world.store.running.claim(runner="other", lease_seconds=15, organization_turns_max=2)
            is None
        )

    assert model.open_count_max == 2


async def test_many_processes_overrun_the_limit_of_an_organization_by_one_each_at_most(pool: Pool) -> None:
    world, model = await make_world(pool, definition=Definition(model="holding:on")), Holding()

    async with processes(world, model, 4, turns_max=8, organization_turns_max=2):
        await asyncio.gather(*(waiting(world, 4) for _ in range(4)))
        await model.until_open(2)
        running = await pool.fetchval("SELECT count(*) FROM runs WHERE state = 'running'")

    assert running >= 2
    assert model.open_count_max <= 2 + 4


async def test_a_turn_that_is_cancelled_between_two_runs_is_run_by_nobody(pool: Pool) -> None:
    world, model = await make_world(pool, definition=Definition(model="holding:on")), Holding()
    [(session_id, turn_id)] = await waiting(world, 1)
    row = ids.from_wire(ids.Kind.SESSION, session_id)
    assert row is not None
    with world.hub.listening(row) as listener:
        async with processes(world, model, 1), asyncio.timeout(_SECONDS_MAX):
            while not await pool.fetchval("SELECT count(*) FROM deltas"):
                await listener.wait(seconds_max=0.05)
    assert await pool.fetchval("SELECT state FROM runs") == "finished", "it was handed back"

    await world.store.sessions.cancel(
        world.caller, session_id, turn_id=turn_id, expected=None, idempotency=None, render=rendered
    )
    claim = await world.store.running.claim(runner="next", lease_seconds=15)

    turn = await world.store.reading.turn(world.caller, session_id, turn_id)
    entries, _ = await world.store.reading.usage_entries(world.caller, after=0, session_id=None, limit=10)
    assert claim is None
    assert turn.state is TurnState.CANCELLED
    assert [reply.text for reply in turn.replies] == ["Well, "], "what was shown is kept"
    assert [(entry.outcome, entry.source, entry.billable) for entry in entries] == [
        ("failed", "estimated", False)
    ], "our stop broke it off, not the cancellation that came later"


async def test_a_turn_that_nobody_has_claimed_is_cancelled_and_run_by_nobody(pool: Pool) -> None:
    world, model = await make_world(pool, definition=Definition(model="holding:on")), Holding()
    [(session_id, turn_id), (_, _)] = await waiting(world, 2)

    await world.store.sessions.cancel(
        world.caller, session_id, turn_id=turn_id, expected=None, idempotency=None, render=rendered
    )
    async with processes(world, model, 1):
        await model.until_open(1)
        assert await world.store.running.claim(runner="other", lease_seconds=15) is None

    assert model.open_count_max == 1
    assert (await world.store.reading.turn(world.caller, session_id, turn_id)).replies == ()


async def test_a_provider_that_is_down_fails_the_next_turns_at_once_and_says_so(pool: Pool) -> None:
    async with FakeProvider() as provider:
        models = Models(
            ModelsConfig(
                endpoints={"fake": Endpoint(base_url=provider.base_url)},
                limits=CallLimits(attempts_max=1),
                breaker=BreakerLimits(failures_max=2, open_seconds=600),
            ),
            environ={},
        )
        world = await make_world(pool, definition=Definition(model="fake:any"))
        provider.plans.extend([Plan(status=503)] * 2)
        errors = []
        async with Runner(world.store, models, world.hub, name="test", limits=RunnerLimits()):
            for _ in range(3):
                [(session_id, turn_id)] = await waiting(world, 1)
                turn = await until_final(world, session_id, turn_id)
                assert turn.error is not None
                errors.append((turn.error.code, turn.error.provider))
        await models.close()

    assert errors == [("provider_unavailable", "fake")] * 2 + [("circuit_open", "fake")]
    assert len(provider.requests) == 2, "the third turn called nobody"
    assert await pool.fetchval("SELECT count(*) FROM usage_entries") == 2
