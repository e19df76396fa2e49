"""A risky call waits for a person; what they say is enforced, and told to the model."""

import asyncio

import pytest

from api.agents.definition import ApprovalMode, Definition, Tool, ToolEffect
from api.runner.tools.base import Invocation, ToolOutcome, ToolResult
from api.session.document import Approval, ApprovalReason, Decision, Turn, TurnState
from db.pool import Pool
from tests.runner.conversing import Line, Stage, asks, stage

LOOK = Tool(name="look", effect=ToolEffect.READ)
PAY = Tool(name="pay", effect=ToolEffect.ONCE, approval=ApprovalMode.ALWAYS)
SEND = Tool(name="send", effect=ToolEffect.ONCE)
AGENT = Definition(model="lines:one", tools=(LOOK, PAY, SEND))

PAY_FIVE = asks(("pay", {"amount": 5}), text="I need a word of yours.")


async def parked(scene: Stage) -> tuple[Turn, Approval]:
    """Say something and wait until the turn waits."""
    turn = await scene.until((await scene.say()).id, TurnState.AWAITING_APPROVAL)
    return turn, turn.approvals[-1]


async def test_a_turn_waits_without_a_lease_and_goes_on_when_approved(pool: Pool) -> None:
    scene = await stage(pool, AGENT, PAY_FIVE, Line(text="Paid."))

    async with scene.running():
        waiting, approval = await parked(scene)
        made_before, running = (
            len(scene.tools.made),
            await pool.fetchval("SELECT count(*) FROM runs WHERE state = 'running'"),
        )
        await scene.decide(approval, Decision.APPROVED)
        turn = await scene.until(waiting.id)

    assert (made_before, running) == (0, 0)
    assert (approval.tool, approval.arguments, approval.reason) == (
        "pay",
        {"amount": 5},
        ApprovalReason.REQUIRED,
    )
    assert waiting.replies[0].text == "I need a word of yours."
    assert [made.arguments for made in scene.tools.made] == [{"amount": 5}]
    assert turn.replies[0].text == "I need a word of yours.\n\nPaid."
    assert turn.approvals[0].decision is Decision.APPROVED
    attempts = await pool.fetch("SELECT attempt FROM runs ORDER BY started_at")
    assert [row["attempt"] for row in attempts] == [1, 1]


async def test_a_denied_call_is_not_made_and_the_model_is_told_why(pool: Pool) -> None:
    scene = await stage(pool, AGENT, PAY_FIVE, Line(text="As you wish."))

    async with scene.running():
        waiting, approval = await parked(scene)
        await scene.decide(approval, Decision.DENIED, note="Too dear.")
        turn = await scene.until(waiting.id)

    assert scene.tools.made == []
    assert "Too dear." in scene.model.requests[1].messages[-1].text
    assert turn.state is TurnState.COMPLETED


async def test_results_of_sibling_calls_survive_the_wait(pool: Pool) -> None:
    both = asks(("pay", {"amount": 5}), ("look", {"at": 1}), ("pay", {"amount": 6}))
    scene = await stage(pool, AGENT, both, Line(text="Done."))

    async with scene.running():
        waiting, _ = await parked(scene)
        first, second = waiting.approvals
        await scene.decide(first, Decision.APPROVED)
        still = await scene.until(waiting.id, TurnState.AWAITING_APPROVAL)
        await scene.decide(second, Decision.DENIED)
        await scene.until(waiting.id)

    assert still.approvals[0].decision is Decision.APPROVED
    assert [made.arguments for made in scene.tools.made] == [{"at": 1}, {"amount": 5}]
    results = scene.model.requests[1].messages[-3:]
    assert [message.tool_call_id for message in results] == ["call_0", "call_1", "call_2"]


async def test_a_cancel_while_waiting_clears_the_question(pool: Pool) -> None:
    scene = await stage(pool, AGENT, PAY_FIVE)

    async with scene.running():
        waiting, _ = await parked(scene)
        await scene.cancel(waiting.id)
        turn = await scene.until(waiting.id)

    assert turn.state is TurnState.CANCELLED
    assert turn.replies[0].text == "I need a word of yours."
    assert scene.tools.made == []


async def test_a_rule_for_always_lets_later_calls_through(pool: Pool) -> None:
    scene = await stage(pool, AGENT, PAY_FIVE, Line(text="Paid."), PAY_FIVE, Line(text="Again."))

    async with scene.running():
        waiting, approval = await parked(scene)
        await scene.decide(approval, Decision.APPROVED, always=True)
        await scene.until(waiting.id)
        turn = await scene.ask()

    assert turn.state is TurnState.COMPLETED
    assert len(scene.tools.made) == 2


async def interrupted(scene: Stage, tool: str) -> Turn:
    """A turn whose runner is gone in the middle of a call of this tool."""
    begun = asyncio.Event()

    async def hang(invocation: Invocation) -> ToolResult:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    echo, scene.tools.answer = scene.tools.answer, hang
    turn = await scene.say()
    async with scene.running(lease_seconds=30, heartbeat_seconds=30):
        async with asyncio.timeout(10):
            await begun.wait()
        # As if the process had died: its step stays open, and its lease ends.
        await scene.pool.execute("UPDATE runs SET lease_expires_at = now() - interval '1 second'")
        scene.tools.answer = echo
        async with scene.running():
            await scene.until(turn.id, TurnState.AWAITING_APPROVAL, TurnState.COMPLETED, TurnState.FAILED)
            assert tool
    return await scene.until(turn.id, TurnState.AWAITING_APPROVAL, TurnState.COMPLETED, TurnState.FAILED)


async def test_a_harmless_call_of_a_dead_runner_is_made_again(pool: Pool) -> None:
    scene = await stage(pool, AGENT, asks(("look", {"at": 1})), Line(text="Found."))

    turn = await interrupted(scene, "look")

    assert turn.state is TurnState.COMPLETED
    assert len(scene.tools.made) == 2
    assert len({made.idempotency_key for made in scene.tools.made}) == 1


async def test_a_call_that_may_be_made_once_goes_to_a_person_when_its_runner_is_gone(pool: Pool) -> None:
    scene = await stage(pool, AGENT, asks(("send", {"to": "Ada"})), Line(text="Sent."))

    waiting = await interrupted(scene, "send")

    assert waiting.state is TurnState.AWAITING_APPROVAL
    [approval] = waiting.approvals
    assert (approval.reason, approval.arguments) == (ApprovalReason.OUTCOME_UNKNOWN, {"to": "Ada"})
    assert len(scene.tools.made) == 1


@pytest.mark.parametrize("decision", [Decision.APPROVED, Decision.DENIED])
async def test_a_person_says_whether_it_is_made_again(pool: Pool, decision: Decision) -> None:
    scene = await stage(pool, AGENT, asks(("send", {"to": "Ada"})), Line(text="Well."))
    waiting = await interrupted(scene, "send")

    await scene.decide(waiting.approvals[0], decision)
    async with scene.running():
        turn = await scene.until(waiting.id)

    assert turn.state is TurnState.COMPLETED
    assert len(scene.tools.made) == (2 if decision is Decision.APPROVED else 1)
    told = scene.model.requests[-1].messages[-1].text
    assert ("nobody knows" in told) == (decision is Decision.DENIED)


async def test_an_unknown_end_of_a_call_that_may_be_made_once_goes_to_a_person(pool: Pool) -> None:
    scene = await stage(pool, AGENT, asks(("send", {"to": "Ada"})), Line(text="Well."))

    async def lose(invocation: Invocation) -> ToolResult:
        return ToolResult(outcome=ToolOutcome.UNKNOWN, content="No answer in time.")

    scene.tools.answer = lose
    async with scene.running():
        waiting, approval = await parked(scene)

    assert waiting.state is TurnState.AWAITING_APPROVAL
    assert approval.reason is ApprovalReason.OUTCOME_UNKNOWN
    assert len(scene.tools.made) == 1
