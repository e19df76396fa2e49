"""Turns with tools that pass from one runner to the next: nothing is done twice, and nothing out of order."""

import asyncio
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from api.agents.definition import ApprovalMode, Definition, Limits, Node, Tool, ToolEffect, Transition
from api.runner.tools.base import Invocation, ToolOutcome, ToolResult
from api.session.document import ApprovalReason, Decision, TurnState
from api.store.base import utc_now
from db.pool import Pool
from tests.runner.conversing import Line, Stage, asks, stage

PAY = Tool(name="pay", effect=ToolEffect.ONCE, approval=ApprovalMode.ALWAYS)
SEND = Tool(name="send", effect=ToolEffect.ONCE)
AGENT = Definition(model="lines:one", tools=(PAY, SEND))
LIMITED = Limits(turn_seconds=1)


def an_hour_behind() -> datetime:
    """The clock of a machine that is badly set."""
    return utc_now() - timedelta(hours=1)


async def test_runners_whose_clocks_disagree_go_on_in_the_order_of_their_claims(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = await stage(
        pool,
        AGENT,
        asks(("pay", {"n": 1}), text="One."),
        asks(("pay", {"n": 2}), text="Two."),
        Line(text="Three."),
    )

    async with scene.running():
        waiting = await scene.until((await scene.say()).id, TurnState.AWAITING_APPROVAL)
    await scene.decide(waiting.approvals[0], Decision.APPROVED)
    with monkeypatch.context() as patched:
        for module in ("run", "model_calls", "tool_calls"):
            patched.setattr(f"api.runner.{module}.utc_now", an_hour_behind, raising=False)
        async with scene.running():
            waiting = await scene.until(waiting.id, TurnState.AWAITING_APPROVAL)
    await scene.decide(waiting.approvals[1], Decision.APPROVED)
    async with scene.running():
        turn = await scene.until(waiting.id)

    assert turn.replies[0].text == "One.\n\nTwo.\n\nThree."
    assert [made.arguments for made in scene.tools.made] == [{"n": 1}, {"n": 2}]
    assert [step.kind for step in turn.steps] == ["model", "tool", "model", "tool", "model"]


async def test_the_rest_of_a_round_belongs_to_the_node_that_was_left(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runner dies behind the transition: what it would have refused is no tool of the next node."""
    here = Node(
        name="start",
        transitions=(
            Transition(to="there", label="go", condition="Always."),
            Transition(to="there", label="send", condition="Never."),
        ),
    )
    there = Node(name="there", tools=("send",))
    agent = Definition(model="lines:one", tools=(SEND,), nodes=(here, there))
    scene = await stage(pool, agent, asks(("go", {}), ("send", {})), Line(text="Here we are."))
    running = scene.world.store.running
    start_step, tool_steps = running.start_step, 0

    async def die(claim: Any, intent: Any) -> bool:
        nonlocal tool_steps
        tool_steps += intent.kind == "tool"
        if tool_steps == 2:
            raise OSError("the machine is gone")
        return await start_step(claim, intent)

    with monkeypatch.context() as patched:
        patched.setattr(running, "start_step", die)
        async with scene.running():
            turn = await scene.say()
            await until_steps(scene, "completed", count=2)
    await scene.pool.execute("UPDATE runs SET lease_expires_at = now() - interval '1 second'")
    async with scene.running():
        turn = await scene.until(turn.id)

    assert scene.tools.made == []
    assert turn.node == "there"
    assert "Another transition" in scene.model.requests[-1].messages[-1].text


async def until_steps(scene: Stage, state: str, *, count: int) -> None:
    """Wait until so many steps are in this state."""
    async with asyncio.timeout(10):
        while await scene.pool.fetchval("SELECT count(*) FROM steps WHERE state = $1", state) < count:
            await asyncio.sleep(0.01)


async def test_a_result_survives_a_database_that_is_away_for_a_moment(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = await stage(pool, AGENT, asks(("send", {})), Line(text="Sent."))
    running = scene.world.store.running
    end_tool_step, tries = running.end_tool_step, 0

    async def falter(*given: Any) -> bool:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError("connection lost")
        return await end_tool_step(*given)

    monkeypatch.setattr(running, "end_tool_step", falter)
    async with scene.running():
        turn = await scene.ask()

    assert turn.state is TurnState.COMPLETED
    assert len(scene.tools.made) == 1


async def test_a_result_is_kept_when_the_process_is_stopped_while_it_is_written(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = await stage(pool, AGENT, asks(("send", {})), Line(text="Sent."))
    running = scene.world.store.running
    end_tool_step, writing, goes_on = running.end_tool_step, asyncio.Event(), asyncio.Event()

    async def linger(*given: Any) -> bool:
        writing.set()
        await goes_on.wait()
        return await end_tool_step(*given)

    monkeypatch.setattr(running, "end_tool_step", linger)
    turn = await scene.say()
    async with asyncio.timeout(10):
        async with scene.running(grace_seconds=0.01):
            await writing.wait()
            asyncio.get_running_loop().call_later(0.05, goes_on.set)
    async with scene.running():
        turn = await scene.until(turn.id, TurnState.AWAITING_APPROVAL, TurnState.COMPLETED)

    assert turn.state is TurnState.COMPLETED
    assert len(scene.tools.made) == 1


async def test_no_call_is_begun_when_the_time_of_the_turn_is_over(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = await stage(pool, AGENT, asks(("send", {"n": 1}), ("send", {"n": 2})))
    shift = 0.0
    clock = asyncio.get_running_loop().time
    monkeypatch.setattr("api.runner.run.time", SimpleNamespace(monotonic=lambda: clock() + shift))

    async def take_long(invocation: Invocation) -> ToolResult:
        nonlocal shift
        shift = 1_000.0
        return ToolResult(outcome=ToolOutcome.COMPLETED, content="Sent.")

    scene.tools.answer = take_long
    async with scene.running():
        turn = await scene.ask()

    assert [made.arguments for made in scene.tools.made] == [{"n": 1}]
    assert turn.error is not None
    assert turn.error.code == "timeout"
    assert len(turn.steps) == 2


async def test_a_call_that_does_not_let_go_when_the_time_is_over_fails_the_turn(pool: Pool) -> None:
    scene = await stage(
        pool, Definition(model="lines:one", tools=(SEND,), limits=LIMITED), asks(("send", {}))
    )

    async def cling(invocation: Invocation) -> ToolResult:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return ToolResult(outcome=ToolOutcome.COMPLETED, content="Sent after all.")
        raise AssertionError

    scene.tools.answer = cling
    async with scene.running():
        turn = await scene.ask()

    assert turn.error is not None
    assert turn.error.code == "timeout"


@pytest.mark.parametrize("error", [asyncio.CancelledError, RuntimeError])
async def test_a_tool_that_breaks_its_promise_does_not_take_the_turn_along(
    pool: Pool, error: type[BaseException]
) -> None:
    scene = await stage(pool, AGENT, asks(("send", {})))

    async def break_off(invocation: Invocation) -> ToolResult:
        raise error

    scene.tools.answer = break_off
    async with scene.running():
        turn = await scene.until((await scene.say()).id, TurnState.AWAITING_APPROVAL)

    assert turn.approvals[0].reason is ApprovalReason.OUTCOME_UNKNOWN
    assert len(scene.tools.made) == 1


async def test_a_turn_whose_steps_cannot_be_read_fails_all_the_same(pool: Pool) -> None:
    scene = await stage(pool, AGENT, asks(("pay", {})))

    async with scene.running():
        waiting = await scene.until((await scene.say()).id, TurnState.AWAITING_APPROVAL)
    await pool.execute("UPDATE steps SET result = '{}'")
    await scene.decide(waiting.approvals[0], Decision.APPROVED)
    async with scene.running(lease_seconds=0.4, heartbeat_seconds=0.2, attempts_max=1):
        turn = await scene.until(waiting.id)

    assert turn.error is not None
    assert turn.error.code == "attempts_exhausted"
    assert scene.tools.made == []
