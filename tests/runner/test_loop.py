"""The runner carries turns out: on a real Postgres, with the scripted model."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from api.agents.definition import Definition, Greeting
from api.models.registry import Models, ModelsConfig
from api.runner.loop import Runner, RunnerLimits
from api.session import ids
from api.session.document import Turn, TurnState
from api.store.base import utc_now
from api.store.partial import steps_of
from api.store.rows import turn_uuid
from api.store.running import Intent, Price
from db.pool import Pool
from tests.factories import World, delta_of, make_world, rendered

_SECONDS_MAX = 10


@asynccontextmanager
async def running(world: World, **limits: object) -> AsyncIterator[None]:
    """A runner beside the test."""
    models = Models(ModelsConfig(), environ={})
    async with Runner(world.store, models, world.hub, name="test", limits=RunnerLimits(**limits)):
        yield
    await models.close()


async def until_final(world: World, session_id: str, turn_id: str) -> Turn:
    """Wait until the turn is final, woken by the hub."""
    row = ids.from_wire(ids.Kind.SESSION, session_id)
    assert row is not None
    async with asyncio.timeout(_SECONDS_MAX):
        with world.hub.listening(row) as listener:
            while not (
                turn := await world.store.reading.turn(world.caller, session_id, turn_id)
            ).state.is_final:
                await listener.wait(seconds_max=_SECONDS_MAX)
    return turn


async def test_a_pending_turn_is_answered_and_its_call_is_in_the_ledger(pool: Pool) -> None:
    world = await make_world(pool, definition=Definition(model="scripted:echo"))
    await world.store.access.add_prices(
        world.organization_id,
        [
            Price(
                provider="scripted",
                model_pattern="*",
                valid_from=utc_now(),
                input_per_million=Decimal(3),
                output_per_million=Decimal("7.5"),
            )
        ],
    )
    session = (await world.session()).session

    async with running(world):
        turn_id = (await world.append(session.id, 1, "Hello there")).turns[0].id
        turn = await until_final(world, session.id, turn_id)

    entries, head = await world.store.reading.usage_entries(world.caller, after=0, session_id=None, limit=10)
    assert turn.state is TurnState.COMPLETED
    assert "Hello there" in turn.replies[0].text
    assert (head, [entry.seq for entry in entries]) == (1, [1])
    [entry] = entries
    expected = (entry.input_tokens * 3 + entry.output_tokens * Decimal("7.5")) / 1_000_000
    assert entry.cost == expected
    assert turn.usage is not None
    assert turn.usage.cost == expected
    async with pool.acquire() as conn:
        of_the_rows = await steps_of(conn, world.caller.organization_id, turn_uuid(turn_id))
    assert (turn.steps, turn.usage) == of_the_rows, "what the runner knew is what the database holds"
    assert (await world.store.reading.usage_totals(world.caller)).usage.cost == expected


async def test_a_provider_error_makes_a_failed_turn_that_costs_nothing(pool: Pool) -> None:
    world = await make_world(pool, definition=Definition(model="scripted:fail"))
    session = (await world.session()).session

    async with running(world):
        turn_id = (await world.append(session.id, 1)).turns[0].id
        turn = await until_final(world, session.id, turn_id)

    entries, _ = await world.store.reading.usage_entries(world.caller, after=0, session_id=None, limit=10)
    assert turn.state is TurnState.FAILED
    assert turn.error is not None
    assert turn.error.code == "provider_unavailable"
    assert [(e.outcome, e.billable, e.billable_reason, e.cost) for e in entries] == [
        ("failed", False, "refused", 0)
    ]


async def test_an_unknown_price_is_null_and_counted_never_zero(pool: Pool) -> None:
    world = await make_world(pool, definition=Definition(model="scripted:echo"))
    session = (await world.session()).session

    async with running(world):
        turn_id = (await world.append(session.id, 1)).turns[0].id
        turn = await until_final(world, session.id, turn_id)

    assert turn.usage is not None
    assert (turn.usage.cost, turn.usage.unknown_count) == (None, 1)


async def test_cancelling_a_running_turn_keeps_what_was_shown_and_settles(pool: Pool) -> None:
    world = await make_world(pool, definition=Definition(model="scripted:slow"))
    session = (await world.session()).session

    async with running(world, flush_seconds=0.01):
        turn_id = (await world.append(session.id, 1, "Tell me a long story about the sea")).turns[0].id
        async with asyncio.timeout(_SECONDS_MAX):
            while not await pool.fetchval("SELECT count(*) FROM deltas"):
                await asyncio.sleep(0.01)
        cancelled = delta_of(
            await world.store.sessions.cancel(
                world.caller, session.id, turn_id=turn_id, expected=None, idempotency=None, render=rendered
            )
        )
        async with asyncio.timeout(_SECONDS_MAX):
            while not await pool.fetchval("SELECT count(*) FROM usage_entries"):
                await asyncio.sleep(0.01)

    [turn] = cancelled.turns
    shown = await pool.fetchval("SELECT string_agg(text, '' ORDER BY number) FROM deltas")
    entries, _ = await world.store.reading.usage_entries(world.caller, after=0, session_id=None, limit=10)
    assert turn.state is TurnState.CANCELLED
    assert turn.replies[0].text == shown
    assert turn.replies[0].truncated
    assert [(e.outcome, e.source, e.billable) for e in entries] == [("cancelled", "estimated", True)]


async def test_a_turn_handed_back_at_shutdown_is_finished_by_the_next_runner(pool: Pool) -> None:
    world = await make_world(pool, definition=Definition(model="scripted:slow"))
    session = (await world.session()).session

    async with running(world, shutdown_grace_seconds=0, flush_seconds=0.01):
        turn_id = (await world.append(session.id, 1)).turns[0].id
        async with asyncio.timeout(_SECONDS_MAX):
            while not await pool.fetchval("SELECT count(*) FROM deltas"):
                await asyncio.sleep(0.01)
    async with running(world):
        turn = await until_final(world, session.id, turn_id)

    entries, _ = await world.store.reading.usage_entries(world.caller, after=0, session_id=None, limit=10)
    assert turn.state is TurnState.COMPLETED
    assert [(e.outcome, e.attempt) for e in entries] == [("failed", 1), ("completed", 1)]


async def test_a_turn_whose_runs_are_lost_three_times_fails_and_is_not_tried_again(pool: Pool) -> None:
    world = await make_world(pool, definition=Definition(model="scripted:echo"))
    session = (await world.session()).session
    turn_id = (await world.append(session.id, 1)).turns[0].id
    for attempt in (1, 2, 3):
        claim = await world.store.running.claim(runner="dead", lease_seconds=15)
        assert claim is not None
        assert claim.attempt == attempt
        await pool.execute("UPDATE runs SET lease_expires_at = now() - interval '1 second'")

    async with running(world):
        turn = await until_final(world, session.id, turn_id)

    assert turn.state is TurnState.FAILED
    assert turn.error is not None
    assert turn.error.code == "attempts_exhausted"
    assert await pool.fetchval("SELECT count(*) FROM steps") == 0, "no model was called"


async def test_a_generated_greeting_is_made_by_the_model(pool: Pool) -> None:
    definition = Definition(model="scripted:demo", greeting=Greeting(generate=True))
    world = await make_world(pool, definition=definition)

    async with running(world):
        created = await world.session(greeting_is_generated=True)
        turn = await until_final(world, created.session.id, created.turns[0].id)

    assert turn.state is TurnState.COMPLETED
    assert turn.user_message is None
    assert turn.replies[0].text


async def test_a_finished_call_that_was_not_published_is_published_and_not_made_again(pool: Pool) -> None:
    world = await make_world(pool, definition=Definition(model="scripted:echo"))
    session = (await world.session()).session

    async with crashing_before_publish(world):
        turn_id = (await world.append(session.id, 1, "Once only")).turns[0].id
        async with asyncio.timeout(_SECONDS_MAX):
            while not await pool.fetchval("SELECT count(*) FROM usage_entries"):
                await asyncio.sleep(0.01)
    await pool.execute("UPDATE runs SET lease_expires_at = now() - interval '1 second'")
    async with running(world):
        turn = await until_final(world, session.id, turn_id)

    assert turn.state is TurnState.COMPLETED
    assert "Once only" in turn.replies[0].text
    assert await pool.fetchval("SELECT count(*) FROM usage_entries") == 1
    assert await pool.fetchval("SELECT max(attempt) FROM runs") == 2


async def test_a_call_that_a_dead_process_left_open_is_settled_as_unknown(pool: Pool) -> None:
    world = await make_world(pool, definition=Definition(model="scripted:echo"))
    session = (await world.session()).session
    turn_id = (await world.append(session.id, 1)).turns[0].id
    claim = await world.store.running.claim(runner="dead", lease_seconds=15)
    assert claim is not None
    intent = Intent(
        id=world.store.running.new_step_id(),
        purpose="reply",
        speaker="Ada",
        provider="scripted",
        model="echo",
        started_at=utc_now(),
        request={},
    )
    assert await world.store.running.start_step(claim, intent)
    await pool.execute("UPDATE runs SET lease_expires_at = now() - interval '1 second'")

    async with running(world):
        turn = await until_final(world, session.id, turn_id)

    entries, _ = await world.store.reading.usage_entries(world.caller, after=0, session_id=None, limit=10)
    assert turn.state is TurnState.COMPLETED
    assert [(e.source, e.billable, e.billable_reason, e.cost, e.attempt) for e in entries] == [
        ("unknown", False, "lost", None, 1),
        ("provider", True, "completed", None, 2),
    ]


@asynccontextmanager
async def crashing_before_publish(world: World) -> AsyncIterator[None]:
    """A runner that dies between the settlement of a call and the commit of its turn."""
    publish: Callable[..., Awaitable[bool]] = world.store.running.publish

    async def crash(*_: object, **__: object) -> bool:
        raise ConnectionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.store.running, "publish", crash)
        async with running(world):
            yield
    assert world.store.running.publish == publish
