"""What may happen to a turn that waits for a person, and what it tells."""

import asyncio

import pytest

from api.agents.definition import ApprovalMode, Definition, Tool, ToolEffect
from api.runner.tools.base import Invocation, ToolOutcome, ToolResult
from api.session.commands import IfActive
from api.session.document import Decision, TurnState
from db.pool import Pool
from tests.factories import rendered
from tests.runner.conversing import Line, asks, stage

LOOK = Tool(name="look", effect=ToolEffect.READ)
PAY = Tool(name="pay", effect=ToolEffect.ONCE, approval=ApprovalMode.ALWAYS)
SEND = Tool(name="send", effect=ToolEffect.ONCE)
AGENT = Definition(model="lines:one", tools=(LOOK, PAY, SEND))

PAY_FIVE = asks(("pay", {"amount": 5}), text="I need a word of yours.")


async def lose(invocation: Invocation) -> ToolResult:
    """Answer nothing in time."""
    return ToolResult(outcome=ToolOutcome.UNKNOWN, content="No answer in time.")


async def test_a_tool_that_is_gone_when_it_is_approved_is_not_called(pool: Pool) -> None:
    scene = await stage(pool, AGENT, PAY_FIVE, Line(text="A pity."))

    async with scene.running():
        waiting = await scene.until((await scene.say()).id, TurnState.AWAITING_APPROVAL)
        scene.tools.missing["pay"] = "the server does not answer."
        await scene.decide(waiting.approvals[0], Decision.APPROVED)
        turn = await scene.until(waiting.id)

    assert scene.tools.made == []
    assert "cannot be reached" in scene.model.requests[1].messages[-1].text
    assert [notice.code for notice in turn.notices] == ["tool_missing"]


async def test_a_call_of_unknown_end_that_cannot_be_repeated_is_told_as_such(pool: Pool) -> None:
    scene = await stage(pool, AGENT, asks(("send", {})), Line(text="A pity."))

    scene.tools.answer = lose
    async with scene.running():
        waiting = await scene.until((await scene.say()).id, TurnState.AWAITING_APPROVAL)
        scene.tools.missing["send"] = "the server does not answer."
        await scene.decide(waiting.approvals[0], Decision.APPROVED)
        await scene.until(waiting.id)

    told = scene.model.requests[1].messages[-1].text
    assert "nobody knows" in told
    assert "cannot be reached" in told


async def test_what_a_person_says_of_an_unknown_end_is_told_to_the_model(pool: Pool) -> None:
    scene = await stage(pool, AGENT, asks(("send", {})), Line(text="Good."))

    scene.tools.answer = lose
    async with scene.running():
        waiting = await scene.until((await scene.say()).id, TurnState.AWAITING_APPROVAL)
        await scene.decide(waiting.approvals[0], Decision.DENIED, note="It went through.")
        await scene.until(waiting.id)

    assert "It went through." in scene.model.requests[1].messages[-1].text


async def test_a_tool_that_was_missing_before_the_wait_is_noted_behind_it(pool: Pool) -> None:
    scene = await stage(pool, AGENT, PAY_FIVE, Line(text="Paid."))
    scene.tools.missing["look"] = "the server does not answer."

    async with scene.running():
        waiting = await scene.until((await scene.say()).id, TurnState.AWAITING_APPROVAL)
        scene.tools.missing.clear()
        await scene.decide(waiting.approvals[0], Decision.APPROVED)
        turn = await scene.until(waiting.id)

    assert [notice.code for notice in waiting.notices] == ["tool_missing"]
    assert [notice.code for notice in turn.notices] == ["tool_missing"]


async def test_a_turn_that_fails_says_which_tools_were_missing(pool: Pool) -> None:
    scene = await stage(pool, AGENT, Line(text=""))
    scene.tools.missing["look"] = "the server does not answer."

    async with scene.running():
        turn = await scene.ask()

    assert turn.state is TurnState.FAILED
    assert [notice.code for notice in turn.notices] == ["tool_missing"]


@pytest.mark.parametrize("command", ["rewind", "end", "interrupt", "regenerate"])
async def test_what_takes_a_waiting_turn_away_closes_its_question(pool: Pool, command: str) -> None:
    scene = await stage(pool, AGENT, Line(text="Hello."), PAY_FIVE, Line(text="Something else."))
    sessions, caller = scene.world.store.sessions, scene.world.caller

    async with scene.running():
        first = await scene.ask()
        waiting = await scene.until((await scene.say()).id, TurnState.AWAITING_APPROVAL)
        if command == "rewind":
            await scene.rewind(first.id)
        elif command == "end":
            await sessions.end(
                caller,
                scene.session_id,
                resolution="enough",
                expected=None,
                idempotency=None,
                render=rendered,
            )
        elif command == "interrupt":
            await scene.world.append(scene.session_id, None, "Wait", if_active=IfActive.INTERRUPT)
        else:
            await sessions.regenerate(
                caller,
                scene.session_id,
                turn_id=first.id,
                text=None,
                expected=None,
                idempotency=None,
            )
        turn = await scene.until(waiting.id)

    assert turn.state is TurnState.CANCELLED
    assert turn.replies[0].text == "I need a word of yours."
    assert scene.tools.made == []
    assert await pool.fetchval("SELECT count(*) FROM approvals WHERE closed_at IS NULL") == 0


async def test_messages_queued_behind_a_waiting_turn_are_answered_in_their_order(pool: Pool) -> None:
    scene = await stage(pool, AGENT, PAY_FIVE, Line(text="Paid."), Line(text="Second."), Line(text="Third."))

    async with scene.running():
        waiting = await scene.until((await scene.say("one")).id, TurnState.AWAITING_APPROVAL)
        queued = [
            (await scene.world.append(scene.session_id, None, text, if_active=IfActive.ENQUEUE)).turns[-1]
            for text in ("two", "three")
        ]
        runs_meanwhile = await pool.fetchval("SELECT count(*) FROM runs")
        await scene.decide(waiting.approvals[0], Decision.APPROVED)
        done = [await scene.until(turn.id) for turn in (waiting, *queued)]

    assert runs_meanwhile == 1
    assert [turn.replies[0].text.split("\n\n")[-1] for turn in done] == ["Paid.", "Second.", "Third."]


async def test_two_runners_make_an_approved_call_once(pool: Pool) -> None:
    scene = await stage(pool, AGENT, PAY_FIVE, Line(text="Paid."))

    async with scene.running(), scene.running(), scene.running():
        waiting = await scene.until((await scene.say()).id, TurnState.AWAITING_APPROVAL)
        approval = waiting.approvals[0]
        outcomes = await asyncio.gather(
            *(scene.decide(approval, Decision.APPROVED) for _ in range(6)), return_exceptions=True
        )
        turn = await scene.until(waiting.id)

    assert len([outcome for outcome in outcomes if outcome is None]) == 1
    assert len(scene.tools.made) == 1
    assert [step.id for step in turn.steps].count(approval.step_id) == 1
