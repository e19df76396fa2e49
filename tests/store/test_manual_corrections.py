"""A person corrects the ledger: further rows, in a chain, and every total follows; nothing else is let in."""

import asyncio
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
import pytest

from api.runner import settling
from api.session import ids
from api.store import Idempotency, NotFound, Replay, StoredAnswer
from api.store.corrections import Corrected
from api.store.errors import Inconsistent, NothingToCorrect
from api.store.ledger import UsageEntry
from db.pool import Pool
from tests.factories import World, make_world
from tests.ledger import call, claimed, entries_of, paid_turn, priced


def shown(entry: UsageEntry) -> StoredAnswer:
    return StoredAnswer(status=201, headers={}, body=msgspec.json.encode(entry))


async def correct(world: World, entry_id: str, key: str | None = None, **figures: Any) -> Any:
    idempotency = None if key is None else Idempotency(key=key, fingerprint=b"x" * 32)
    return await world.store.corrections.correct(
        world.caller,
        entry_id,
        Corrected(**{"reason": "wrong price", **figures}),
        idempotency=idempotency,
        render=shown,
    )


async def with_entry(pool: Pool, cost: str | None = "0.01") -> tuple[World, str, UsageEntry]:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await paid_turn(world, session_id, cost)
    return world, session_id, (await entries_of(world))[0]


async def require_sound(world: World, session_id: str, *, cost: Decimal | None, unknown: int) -> None:
    totals = await world.store.reading.usage_totals(world.caller)
    of_session = await world.store.reading.session_usage(world.caller, session_id)
    preview = await world.store.reading.rewind_preview(world.caller, session_id, turn_id=None)
    for usage in (totals.usage, of_session, preview.usage):
        assert (usage.cost, usage.unknown_count) == (cost, unknown)
    assert totals.call_count == 1
    found = [found async for found in world.store.doctor.examine(sessions_max=10) if found.findings]
    assert found == []


async def test_a_correction_is_a_row_of_differences_with_actor_and_reason(pool: Pool) -> None:
    world, session_id, entry = await with_entry(pool)

    await correct(world, entry.id, cost=Decimal("0.004"), input_tokens=5)

    original, correction = await entries_of(world)
    assert original == entry
    assert (correction.corrects_id, correction.correction_number, correction.source) == (
        entry.id,
        1,
        "manual",
    )
    assert (correction.input_tokens, correction.output_tokens) == (-2, 0)
    assert correction.cost == Decimal("-0.006")
    assert (correction.corrected_by, correction.correction_reason) == (world.caller.actor, "wrong price")
    assert (correction.billable, correction.key_id) == (True, world.caller.actor.key_id)
    await require_sound(world, session_id, cost=Decimal("0.004"), unknown=0)


async def test_corrections_form_a_chain_whose_net_is_what_was_said_last(pool: Pool) -> None:
    world, session_id, entry = await with_entry(pool)

    for cost in ("0.02", "0.005", "0"):
        await correct(world, entry.id, cost=Decimal(cost))

    chain = await world.store.corrections.entry(world.caller, entry.id)
    assert [one.correction_number for one in chain.corrections] == [1, 2, 3]
    assert [one.corrects_id for one in chain.corrections] == [entry.id] * 3
    assert [one.cost for one in chain.corrections] == [Decimal("0.01"), Decimal("-0.015"), Decimal("-0.005")]
    assert (chain.net.cost, chain.net.input_tokens) == (Decimal(0), 7)
    await require_sound(world, session_id, cost=Decimal(0), unknown=0)


async def test_an_unknown_cost_becomes_known_once(pool: Pool) -> None:
    world, session_id, entry = await with_entry(pool, cost=None)
    await require_sound(world, session_id, cost=None, unknown=1)

    await correct(world, entry.id, output_tokens=4)
    await require_sound(world, session_id, cost=None, unknown=1)
    await correct(world, entry.id, cost=Decimal("0.03"))
    await require_sound(world, session_id, cost=Decimal("0.03"), unknown=0)
    await correct(world, entry.id, cost=Decimal("0.02"))

    await require_sound(world, session_id, cost=Decimal("0.02"), unknown=0)


async def test_what_the_ledger_says_already_is_refused_and_writes_nothing(pool: Pool) -> None:
    world, _, entry = await with_entry(pool)
    before = await entries_of(world)

    with pytest.raises(NothingToCorrect):
        await correct(world, entry.id, cost=Decimal("0.010"), input_tokens=7)
    with pytest.raises(Inconsistent):
        await correct(world, entry.id, cached_tokens=8)
    with pytest.raises(Inconsistent):
        await correct(world, entry.id, reasoning_tokens=4)
    with pytest.raises(NotFound):
        await correct(world, "use_" + "0" * 32, cost=Decimal(1))

    assert await entries_of(world) == before


async def test_a_correction_is_corrected_by_correcting_its_original(pool: Pool) -> None:
    world, _, entry = await with_entry(pool)
    await correct(world, entry.id, cost=Decimal(0))
    _, correction = await entries_of(world)

    with pytest.raises(NotFound):
        await correct(world, correction.id, cost=Decimal(1))


async def test_a_runner_that_tells_late_does_not_overrule_a_person(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await world.append(session_id, 1)
    claim = await claimed(world)
    await call(world, claim, settling.lost(model="echo", latency_ms=0))
    [entry] = await entries_of(world)
    step_id = ids.from_wire(ids.Kind.STEP, entry.step_id)
    assert step_id is not None
    await correct(world, entry.id, cost=Decimal("0.5"))

    is_written = await world.store.running.settle(claim, step_id, priced("0.3"))

    assert not is_written
    await require_sound(world, session_id, cost=Decimal("0.5"), unknown=0)


async def test_people_who_correct_at_the_same_moment_leave_a_chain(pool: Pool) -> None:
    world, session_id, entry = await with_entry(pool)
    costs = [Decimal(number) / 1_000 for number in range(20, 32)]

    await asyncio.gather(*(correct(world, entry.id, cost=cost) for cost in costs))

    chain = await world.store.corrections.entry(world.caller, entry.id)
    assert [one.correction_number for one in chain.corrections] == list(range(1, 13))
    assert chain.net.cost in costs
    await require_sound(world, session_id, cost=chain.net.cost, unknown=0)


async def test_a_repetition_corrects_once(pool: Pool) -> None:
    world, _, entry = await with_entry(pool)

    twins = await asyncio.gather(*(correct(world, entry.id, "same", cost=Decimal(0)) for _ in range(5)))

    first = [answer for answer in twins if isinstance(answer, StoredAnswer)]
    again = [answer.answer for answer in twins if isinstance(answer, Replay)]
    assert len(first) == 1
    assert again == first * 4
    assert len(await entries_of(world)) == 2


_WRONG = {
    "a gap in the chain": "correction_number = 2",
    "a correction of nothing": "corrects_id = gen_random_uuid()",
    "another call": "step_id = gen_random_uuid()",
    "less than no tokens": "input_tokens = -8",
    "less than no cost": "cost = -1",
    "a known cost called unknown": "corrects_known = false",
    "nobody who corrected": "corrected_by = NULL",
    "no reason": "correction_reason = NULL",
}


@pytest.mark.parametrize("change", _WRONG.values(), ids=_WRONG)
async def test_the_database_refuses_a_correction_that_does_not_fit(pool: Pool, change: str) -> None:
    world, _, _ = await with_entry(pool)
    before = await entries_of(world)

    async with pool.acquire() as conn:
        await conn.execute("CREATE TEMPORARY TABLE made AS SELECT * FROM usage_entries")
        await conn.execute(
            """
            UPDATE made SET corrects_id = id, id = gen_random_uuid(), seq = seq + 1, corrects_known = true,
                   input_tokens = -1, output_tokens = 0, cost = 0, corrected_by = '{}',
                   correction_reason = 'because', source = 'manual'
            """
        )
        await conn.execute(f"UPDATE made SET {change}")
        with pytest.raises((asyncpg.RestrictViolationError, asyncpg.CheckViolationError)):
            await conn.execute("INSERT INTO usage_entries SELECT * FROM made")
        await conn.execute("DROP TABLE made")

    assert await entries_of(world) == before


async def test_an_entry_names_the_key_that_created_its_turn(pool: Pool) -> None:
    world, _, entry = await with_entry(pool)

    assert entry.key_id == world.caller.actor.key_id == "key_" + "0" * 32
