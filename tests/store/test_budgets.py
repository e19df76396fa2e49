"""Budgets: refused at the limit, bounded by reservations under races, and always what the ledger says."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from api.events import Hub
from api.session.commands import IfActive
from api.session.document import Actor
from api.store import Caller, NotFound, Store, running
from api.store.base import BudgetState, utc_now
from api.store.errors import BudgetExceeded
from api.store.running import Intent
from db.pool import Pool
from tests.factories import World, completing, make_world, rendered
from tests.ledger import call, claimed, paid_turn, priced


async def put(world: World, limit: str | None = "1", **fields: Any) -> BudgetState:
    return await world.store.budgets.put(
        world.caller,
        **{
            "key_id": None,
            "period": "total",
            "time_zone": "UTC",
            "limit": None if limit is None else Decimal(limit),
            "warn_at": None,
            "reserve_per_call": Decimal(0),
            **fields,
        },
    )


async def only(world: World) -> BudgetState:
    (found,) = await world.store.budgets.budgets(world.caller)
    return found


def intent(world: World, **fields: Any) -> Intent:
    return Intent(
        **{
            "id": world.store.running.new_step_id(),
            "purpose": "reply",
            "speaker": "Ada",
            "provider": "scripted",
            "model": "echo",
            "started_at": utc_now(),
            "request": {},
            **fields,
        }
    )


async def require_healthy(world: World) -> None:
    found = [found async for found in world.store.doctor.examine(sessions_max=10) if found.findings]
    assert found == []


async def test_a_turn_is_refused_from_the_limit_on_and_nothing_is_changed(pool: Pool) -> None:
    world = await make_world(pool)
    await put(world, "0.02")
    session_id = (await world.session()).session.id
    await paid_turn(world, session_id)
    turn_id = await paid_turn(world, session_id)
    before = await world.store.reading.document(world.caller, session_id)

    with pytest.raises(BudgetExceeded) as refused:
        await world.append(session_id, None)
    with pytest.raises(BudgetExceeded):
        await world.store.sessions.regenerate(
            world.caller, session_id, turn_id=turn_id, text=None, expected=None, idempotency=None
        )
    with pytest.raises(BudgetExceeded):
        await world.session(greeting_is_generated=True)

    budget = refused.value.budget
    assert (budget.spent, budget.reserved, budget.limit) == (Decimal("0.02"), 0, Decimal("0.02"))
    assert await world.store.reading.document(world.caller, session_id) == before
    await world.session(greeting="Hello.")
    await put(world, "0.03")
    await world.append(session_id, None)
    await require_healthy(world)


async def test_a_budget_counts_what_was_spent_before_it_was_set(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    for _ in range(3):
        await paid_turn(world, session_id, "0.5")

    budget = await put(world, "1")

    assert (budget.spent, budget.is_exceeded) == (Decimal("1.5"), True)


async def test_what_is_under_way_is_reserved_until_it_is_settled(pool: Pool) -> None:
    world = await make_world(pool)
    await put(world, "1", reserve_per_call=Decimal("0.25"))
    session_id = (await world.session()).session.id
    await world.append(session_id, None)
    claim, step = await claimed(world), intent(world)
    assert await world.store.running.start_step(claim, step)

    running = await only(world)
    assert await world.store.running.settle(claim, step.id, priced("0.4"))
    settled = await only(world)
    await world.store.running.publish(claim, completing(claim, "Hi."))
    await world.append(session_id, None)
    claim, step = await claimed(world), intent(world)
    assert await world.store.running.start_step(claim, step)
    learnt = await only(world)

    assert (running.spent, running.reserved, running.call_count) == (0, Decimal("0.25"), 1)
    assert (settled.spent, settled.reserved, settled.call_count) == (Decimal("0.4"), 0, 0)
    # The next call of the same model is taken to cost what the dearest one did.
    assert learnt.reserved == Decimal("0.4")


async def test_turns_let_in_at_one_moment_do_not_overrun_what_is_reserved(pool: Pool) -> None:
    world = await make_world(pool)
    await put(world, "1", reserve_per_call=Decimal("0.3"))
    claims = []
    for _ in range(8):
        await world.append((await world.session()).session.id, 1)
        claims.append(await claimed(world))
    steps = [intent(world) for _ in claims]

    started = await asyncio.gather(
        *(world.store.running.start_step(claim, step) for claim, step in zip(claims, steps, strict=True)),
        return_exceptions=True,
    )

    let_in = [result is True for result in started]
    assert sum(let_in) == 4  # 0.0, 0.3, 0.6 and 0.9 were below the limit
    assert {type(result) for result in started if result is not True} == {BudgetExceeded}
    for claim, step, was_let_in in zip(claims, steps, let_in, strict=True):
        if was_let_in:
            assert await world.store.running.settle(claim, step.id, priced("0.3"))
    budget = await only(world)
    assert (budget.spent, budget.reserved) == (Decimal("1.2"), 0)
    await require_healthy(world)


async def test_a_turn_that_has_begun_is_carried_to_its_end(pool: Pool) -> None:
    world = await make_world(pool)
    await put(world, "1")
    await world.append((await world.session()).session.id, 1)
    claim = await claimed(world)
    await call(world, claim, priced("2"))

    await call(world, claim, priced("2"))

    assert (await only(world)).spent == 4


async def test_a_budget_of_a_key_counts_the_turns_of_that_key(pool: Pool) -> None:
    world = await make_world(pool)
    keys = [await world.store.access.create_key(world.organization_id, name=name) for name in ("a", "b")]
    one, other = (
        Caller(organization_id=world.caller.organization_id, actor=Actor(key_id=key.id)) for key in keys
    )
    await put(world, "0.01", key_id=keys[0].id)
    session_id = (await world.session()).session.id

    async def append(caller: Caller) -> None:
        await world.store.sessions.append(
            caller,
            session_id,
            text="Hi",
            speaker=None,
            if_active=IfActive.REJECT,
            expected=None,
            idempotency=None,
        )
        claim = await claimed(world)
        await call(world, claim)
        await world.store.running.publish(claim, completing(claim, "Hi."))

    await append(other)
    await append(other)
    await append(one)
    with pytest.raises(BudgetExceeded):
        await append(one)
    await append(other)

    assert (await only(world)).spent == Decimal("0.01")
    with pytest.raises(NotFound):
        await put(world, key_id="key_" + "0" * 32)


async def test_a_day_begins_and_ends_in_the_time_zone_of_the_budget(pool: Pool) -> None:
    now = [datetime(2026, 10, 24, 21, 59, tzinfo=UTC)]
    world = await make_world(pool)
    world.store = Store(pool, Hub(), clock=lambda: now[0])
    session_id = (await world.session()).session.id
    await put(world, "0.02", period="day", time_zone="Europe/Berlin")
    await put(world, "1", period="month", time_zone="Europe/Berlin")

    await paid_turn(world, session_id)
    await paid_turn(world, session_id)
    with pytest.raises(BudgetExceeded) as refused:
        await world.append(session_id, None)
    now[0] = datetime(2026, 10, 24, 22, 0, tzinfo=UTC)
    await paid_turn(world, session_id)
    day, month = await world.store.budgets.budgets(world.caller)

    # The day behind it has 25 hours there.
    assert refused.value.budget.resets_at == datetime(2026, 10, 24, 22, 0, tzinfo=UTC)
    assert day.resets_at == datetime(2026, 10, 25, 23, 0, tzinfo=UTC)
    assert month.resets_at == datetime(2026, 10, 31, 23, 0, tzinfo=UTC)
    assert (day.spent, month.spent) == (Decimal("0.01"), Decimal("0.03"))
    now[0] += timedelta(days=40)
    assert [budget.spent for budget in await world.store.budgets.budgets(world.caller)] == [0, 0]
    await require_healthy(world)


async def test_a_correction_moves_what_is_spent(pool: Pool) -> None:
    world = await make_world(pool)
    await put(world, "1")
    session_id = (await world.session()).session.id
    for _ in range(2):
        await paid_turn(world, session_id, "0.25")
    before = (await only(world)).spent
    await pool.execute(
        """
        INSERT INTO usage_entries (organization_id, seq, id, session_id, turn_id, run_id, step_id, attempt,
               corrects_id, corrects_known, speaker, purpose, provider, model, input_tokens, cached_tokens,
               cache_write_tokens, output_tokens, reasoning_tokens, cost, currency, source, outcome, billable,
               billable_reason, created_at, corrected_by, correction_reason)
        SELECT organization_id, 3, gen_random_uuid(), session_id, turn_id, run_id, step_id, attempt, id, true,
               speaker, purpose, provider, model, 0, 0, 0, 0, 0, -0.25, currency, 'manual', outcome, billable,
               billable_reason, created_at, '{}', 'waived'
          FROM usage_entries WHERE seq = 1
        """
    )

    assert (before, (await only(world)).spent) == (Decimal("0.5"), Decimal("0.25"))


async def test_a_warning_comes_before_the_limit(pool: Pool) -> None:
    world = await make_world(pool)
    await put(world, "1", warn_at=Decimal("0.01"))
    session_id = (await world.session()).session.id
    await paid_turn(world, session_id)

    done = await world.store.sessions.append(
        world.caller,
        session_id,
        text="Hi",
        speaker=None,
        if_active=IfActive.REJECT,
        expected=None,
        idempotency=None,
    )

    assert [budget.spent for budget in done.near_budgets] == [Decimal("0.01")]  # type: ignore[union-attr]


async def test_a_budget_that_is_removed_holds_nobody(pool: Pool) -> None:
    world = await make_world(pool)
    await put(world, "0")
    session_id = (await world.session()).session.id
    with pytest.raises(BudgetExceeded):
        await world.append(session_id, None)

    await world.store.budgets.delete(world.caller, key_id=None, period="total")

    await world.append(session_id, None)
    with pytest.raises(NotFound):
        await world.store.budgets.delete(world.caller, key_id=None, period="total")


async def test_a_call_without_a_budget_is_recorded_in_one_statement(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(pool)
    await world.append((await world.session()).session.id, 1)
    claim, step = await claimed(world), intent(world)

    async def never(*_: Any, **__: Any) -> bool:
        raise AssertionError("there is nothing more to ask")

    monkeypatch.setattr(running, "start_reserved_step", never)

    assert await world.store.running.start_step(claim, step)
    assert await pool.fetchval("SELECT reserved FROM steps") is None


async def test_a_run_that_has_lost_its_turn_makes_no_call_with_budgets_either(pool: Pool) -> None:
    world = await make_world(pool)
    await put(world)
    session_id = (await world.session()).session.id
    turn_id = (await world.append(session_id, 1)).turns[0].id
    claim = await claimed(world)
    await world.store.sessions.cancel(
        world.caller, session_id, turn_id=turn_id, expected=None, idempotency=None, render=rendered
    )

    assert not await world.store.running.start_step(claim, intent(world))


async def test_an_organization_without_a_budget_is_not_asked_again(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await paid_turn(world, session_id)
    asked: list[str] = []

    async with pool.acquire() as conn:
        with conn.query_logger(lambda record: asked.append(record.query)):
            near = await world.store.budgets.admit(conn, world.caller)

    assert (near, asked) == ((), [])
