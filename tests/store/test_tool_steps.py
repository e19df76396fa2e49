"""Tool calls as steps: recorded when they begin and end, and remembered by their turn."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from api.session.document import TurnState
from api.store.base import utc_now
from api.store.running import Claim, Intent
from db import runs
from db.pool import Pool
from tests.factories import World, asking, completing, make_world, rendered
from tests.store.test_races import intent, outcome


def call_of(step_id: UUID, *, tool: str = "refund", effect: str = "once") -> Intent:
    """A tool call that is about to be made."""
    return Intent(
        id=step_id,
        kind="tool",
        purpose="tool",
        speaker="Ada",
        started_at=utc_now(),
        request={"tool": tool, "effect": effect, "arguments": {"order": 7}},
    )


async def calling(pool: Pool) -> tuple[World, str, Claim, UUID]:
    """A claimed turn with a tool call under way."""
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await world.append(session_id, 1)
    claim = await claimed(world)
    step_id = world.store.running.new_step_id()
    assert await world.store.running.start_step(claim, call_of(step_id))
    return world, session_id, claim, step_id


async def claimed(world: World) -> Claim:
    claim = await world.store.running.claim(runner="test", lease_seconds=15)
    assert claim is not None
    return claim


async def lose(pool: Pool) -> None:
    await pool.execute("UPDATE runs SET lease_expires_at = now() - interval '1 second'")


async def test_a_finished_tool_call_is_remembered_by_its_turn(pool: Pool) -> None:
    world, session_id, claim, step_id = await calling(pool)
    running = world.store.running

    is_first = await running.end_tool_step(claim, step_id, "completed", {"content": "Done."})
    is_second = await running.end_tool_step(claim, step_id, "failed", None)
    assert await running.publish(claim, completing(claim, "Refunded."))

    (turn,) = (await world.store.reading.document(world.caller, session_id)).turns
    (step,) = turn.steps
    assert (is_first, is_second) == (True, False)
    assert (step.kind, step.tool, step.effect, step.outcome) == ("tool", "refund", "once", "completed")
    assert (step.model, step.usage, turn.usage) == (None, None, None)
    assert step.latency_ms is not None
    assert step.latency_ms >= 0
    assert await pool.fetchval("SELECT count(*) FROM usage_entries") == 0


async def test_a_step_tells_a_take_over_what_it_was_and_what_came_back(pool: Pool) -> None:
    world, _, claim, step_id = await calling(pool)
    await world.store.running.end_tool_step(claim, step_id, "completed", {"content": "Done."})

    (step,) = await world.store.running.steps(claim)

    assert (step.id, step.kind, step.provider, step.model) == (step_id, "tool", None, None)
    assert b'"order":7' in bytes(step.request)
    assert step.result is not None
    assert bytes(step.result) == b'{"content":"Done."}'


async def test_an_open_tool_call_is_ended_by_whoever_comes_first(pool: Pool) -> None:
    world, _, first, step_id = await calling(pool)
    await lose(pool)
    second = await claimed(world)
    running = world.store.running

    assert await running.end_tool_step(first, step_id, "completed", {"content": "After all."})
    assert not await running.end_tool_step(second, step_id, "failed", None)

    (step,) = await running.steps(second)
    assert (step.run_id, step.state) == (first.run_id, "completed")


async def test_a_model_call_does_not_end_without_what_it_cost(pool: Pool) -> None:
    world, _, claim, _ = await calling(pool)
    model_call = world.store.running.new_step_id()
    assert await world.store.running.start_step(claim, intent(model_call))

    assert not await world.store.running.end_tool_step(claim, model_call, "completed", None)


async def test_a_call_that_is_under_way_when_its_turn_is_cancelled_is_remembered(pool: Pool) -> None:
    world, session_id, claim, _ = await calling(pool)
    model_call = world.store.running.new_step_id()
    assert await world.store.running.start_step(claim, intent(model_call))
    assert await world.store.running.settle(claim, model_call, outcome())
    open_call = world.store.running.new_step_id()
    assert await world.store.running.start_step(claim, intent(open_call))

    await end(world, session_id)

    (turn,) = (await world.store.reading.document(world.caller, session_id)).turns
    assert turn.state is TurnState.CANCELLED
    assert [(step.kind, step.outcome) for step in turn.steps] == [
        ("tool", "cancelled"),
        ("model", "completed"),
    ]


async def test_a_preview_warns_of_calls_that_cannot_be_undone(pool: Pool) -> None:
    world, session_id, claim, step_id = await calling(pool)
    running = world.store.running
    await running.end_tool_step(claim, step_id, "completed", None)
    looked_up = running.new_step_id()
    assert await running.start_step(claim, call_of(looked_up, tool="lookup", effect="read"))
    await running.end_tool_step(claim, looked_up, "completed", None)
    assert await running.publish(claim, completing(claim, "Refunded."))

    preview = await world.store.reading.rewind_preview(world.caller, session_id, turn_id=None)

    assert [step.tool for step in preview.tool_calls] == ["refund"]


async def test_what_a_deleted_session_is_told_afterwards_is_not_kept(pool: Pool) -> None:
    world, session_id, claim, step_id = await calling(pool)
    await world.store.sessions.erase(world.caller, session_id, expected=None)

    assert await world.store.running.end_tool_step(claim, step_id, "completed", {"content": "secret"})

    assert "secret" not in str(await pool.fetch("SELECT row_to_json(s)::text FROM steps s"))


async def test_results_of_siblings_survive_the_wait(pool: Pool) -> None:
    world, session_id, claim, step_id = await calling(pool)
    running = world.store.running
    await running.end_tool_step(claim, step_id, "completed", {"content": "Found."})
    approval = world.approval()
    assert await running.publish(claim, asking(claim, approval))
    (waiting,) = (await world.store.reading.document(world.caller, session_id)).turns
    await world.decide(approval)

    again = await claimed(world)
    work = await running.work(again)

    assert [step.tool for step in waiting.steps] == ["refund"]
    assert work is not None
    assert [step.id for step in work.steps] == [step_id]
    assert work.turn.approvals[0].decision is not None


async def test_a_claim_judges_the_turn_as_it_is_when_it_is_locked(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(pool)
    await world.append((await world.session()).session.id, 1)
    claim = await claimed(world)
    await lose(pool)
    # The claim waits where it has found its candidates and locked none of them.
    waits = runs._CLAIM.replace(
        "FROM offered o\n", "FROM (SELECT pg_advisory_xact_lock(7)) gate, offered o\n"
    )
    assert waits != runs._CLAIM
    monkeypatch.setattr(runs, "_CLAIM", waits)

    late: Any
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock(7)")
        late = asyncio.create_task(world.store.running.claim(runner="late", lease_seconds=15))
        async with asyncio.timeout(10):
            while not await pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0)
        assert await world.store.running.publish(claim, asking(claim, world.approval()))

    assert await late is None


async def end(world: World, session_id: str) -> None:
    await world.store.sessions.end(
        world.caller, session_id, resolution=None, expected=None, idempotency=None, render=rendered
    )
