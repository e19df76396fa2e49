"""A run that was believed dead tells late what its call cost: the ledger is corrected, and adds up."""

import asyncio
from decimal import Decimal

import msgspec
import pytest

from api.runner import settling
from api.session.document import Usage
from api.store.doctor import Diagnosis
from db.pool import Pool
from tests.factories import World, make_world
from tests.store.test_races import intent, outcome
from tests.store.test_running import claimed

KNOWN = msgspec.structs.replace(
    outcome({"text": "Late."}),
    tokens=Usage(input_tokens=7, output_tokens=3, cost=Decimal("0.0000001"), unknown_count=0),
    unit_prices=b"{}",
)
LOST = settling.lost(model="echo", latency_ms=0)


async def diagnosis(world: World) -> list[Diagnosis]:
    return [found async for found in world.store.doctor.examine(sessions_max=10) if found.findings]


@pytest.mark.parametrize("late", [KNOWN, outcome()], ids=["a known cost", "an unknown price"])
async def test_the_real_figures_of_a_call_settled_as_lost_become_a_correction(
    pool: Pool, late: settling.Outcome
) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    turn_id = (await world.append(session_id, 1)).turns[0].id
    claim, running = await claimed(world), world.store.running
    step_id = running.new_step_id()
    assert await running.start_step(claim, intent(step_id))
    assert await running.settle(claim, step_id, LOST)

    written = await asyncio.gather(*(running.settle(claim, step_id, late) for _ in range(3)))
    written.append(await running.settle(claim, step_id, late))
    written.append(await running.settle(claim, step_id, LOST))

    entries, head = await world.store.reading.usage_entries(world.caller, after=0, session_id=None, limit=10)
    assert sum(written) == 1
    assert (head, [entry.source for entry in entries]) == (2, ["unknown", "provider"])
    assert [entry.corrects_id for entry in entries] == [None, entries[0].id]
    assert (entries[1].input_tokens, entries[1].cost) == (7, late.tokens.cost)
    totals = await world.store.reading.usage_totals(world.caller)
    preview = await world.store.reading.regenerate_preview(world.caller, session_id, turn_id=turn_id)
    unknown_count = int(late.tokens.cost is None)
    for told in (
        totals.usage,
        preview.usage,
        await world.store.reading.session_usage(world.caller, session_id),
    ):
        assert (told.input_tokens, told.cost, told.unknown_count) == (7, late.tokens.cost, unknown_count)
    assert totals.call_count == 1
    assert await diagnosis(world) == []


async def test_a_correction_leaves_the_call_that_was_settled_as_lost_unbilled(pool: Pool) -> None:
    world = await make_world(pool)
    await world.append((await world.session()).session.id, 1)
    claim, running = await claimed(world), world.store.running
    step_id = running.new_step_id()
    assert await running.start_step(claim, intent(step_id))
    assert await running.settle(claim, step_id, LOST)
    assert KNOWN.is_billable

    assert await running.settle(claim, step_id, KNOWN)

    entries, _ = await world.store.reading.usage_entries(world.caller, after=0, session_id=None, limit=10)
    assert [(entry.billable, entry.billable_reason) for entry in entries] == [(False, "lost")] * 2
