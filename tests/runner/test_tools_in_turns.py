"""What becomes of the tools that a model asks for, within one turn."""

import asyncio

import pytest

from api.agents.definition import Definition, Limits, Node, Tool, ToolEffect
from api.agents.policy import RuleAction
from api.models.base import Message
from api.runner.tools.base import Invocation, ToolOutcome, ToolResult
from api.session.document import TurnState
from api.store import StoredAnswer
from db.pool import Pool
from tests.runner.conversing import Line, asks, stage

LOOK = Tool(name="look", description="Looks a thing up.", effect=ToolEffect.READ)
AGENT = Definition(model="lines:one", instructions="Be brief.", tools=(LOOK,))


async def test_a_tool_is_called_and_its_result_told_to_the_model(pool: Pool) -> None:
    scene = await stage(
        pool, AGENT, asks(("look", {"day": "monday"}), text="Let me see."), Line(text="It is free.")
    )

    async with scene.running():
        turn = await scene.ask("Is monday free?")

    [made] = scene.tools.made
    assert (made.tool, made.arguments) == (LOOK, {"day": "monday"})
    assert (turn.state, turn.replies[0].text) == (TurnState.COMPLETED, "Let me see.\n\nIt is free.")
    assert [(step.kind, step.tool, step.outcome) for step in turn.steps] == [
        ("model", None, "completed"),
        ("tool", "look", "completed"),
        ("model", None, "completed"),
    ]
    first, second = scene.model.requests
    assert [spec.name for spec in first.tools] == ["look"]
    assert second.messages[-1] == Message(role="tool", text='{"day":"monday"}', tool_call_id="call_0")
    assert turn.usage is not None
    assert turn.usage.input_tokens == 200


async def test_what_is_shown_is_what_is_kept(pool: Pool) -> None:
    scene = await stage(pool, AGENT, asks(("look", {}), text="Let me see."), Line(text="It is free."))

    async with scene.running():
        turn = await scene.ask()

    shown = await pool.fetch("SELECT text FROM deltas ORDER BY number")
    assert "".join(row["text"] for row in shown) == turn.replies[0].text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (asks(("fly", {})), "no tool called `fly`"),
        (asks(("look", "{")), "no JSON object"),
    ],
)
async def test_a_call_that_cannot_be_made_is_refused_and_the_model_told_why(
    pool: Pool, line: Line, words: str
) -> None:
    scene = await stage(pool, AGENT, line, Line(text="Sorry."))

    async with scene.running():
        turn = await scene.ask()

    assert scene.tools.made == []
    assert words in scene.model.requests[1].messages[-1].text
    assert turn.replies[0].text == "Sorry."


async def test_a_tool_that_cannot_be_reached_is_missing_and_the_turn_says_so(pool: Pool) -> None:
    scene = await stage(pool, AGENT, Line(text="I cannot look."))
    scene.tools.missing["look"] = "the server does not answer."

    async with scene.running():
        turn = await scene.ask()

    assert scene.model.requests[0].tools == ()
    [notice] = turn.notices
    assert notice.code == "tool_missing"
    assert "`look`" in notice.message


async def test_after_the_limit_of_iterations_the_model_answers_without_tools(pool: Pool) -> None:
    limited = Definition(model="lines:one", tools=(LOOK,), limits=Limits(iterations=2))
    scene = await stage(
        pool, limited, asks(("look", {"n": 1})), asks(("look", {"n": 2})), Line(text="Enough.")
    )

    async with scene.running():
        turn = await scene.ask()

    assert [len(request.tools) for request in scene.model.requests] == [1, 1, 0]
    assert turn.replies[0].text == "Enough."
    assert [notice.code for notice in turn.notices] == ["iteration_limit"]


async def test_calls_of_one_answer_are_made_in_order_and_all_answered(pool: Pool) -> None:
    scene = await stage(pool, AGENT, asks(("look", {"n": 1}), ("look", {"n": 2})), Line(text="Both."))

    async with scene.running():
        await scene.ask()

    assert [made.arguments for made in scene.tools.made] == [{"n": 1}, {"n": 2}]
    assert [message.tool_call_id for message in scene.model.requests[1].messages[-2:]] == ["call_0", "call_1"]
    assert len({made.idempotency_key for made in scene.tools.made}) == 2


async def test_a_cancel_breaks_a_call_off_and_keeps_what_was_said(pool: Pool) -> None:
    scene = await stage(pool, AGENT, asks(("look", {}), text="Let me see."))
    begun = asyncio.Event()

    async def hang(invocation: Invocation) -> ToolResult:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    scene.tools.answer = hang
    async with scene.running():
        turn = await scene.say()
        async with asyncio.timeout(10):
            await begun.wait()
        await scene.cancel(turn.id)
        kept = await scene.until(turn.id)

    assert kept.state is TurnState.CANCELLED
    assert kept.replies[0].text == "Let me see."
    states = await pool.fetch("SELECT state FROM steps WHERE kind = 'tool'")
    assert [row["state"] for row in states] == ["cancelled"]


async def test_the_time_of_a_turn_holds_for_its_tools(pool: Pool) -> None:
    limited = Definition(model="lines:one", tools=(LOOK,), limits=Limits(turn_seconds=1))
    scene = await stage(pool, limited, asks(("look", {})))

    async def hang(invocation: Invocation) -> ToolResult:
        await asyncio.Event().wait()
        raise AssertionError

    scene.tools.answer = hang
    async with scene.running():
        turn = await scene.ask()

    assert turn.state is TurnState.FAILED
    assert turn.error is not None
    assert turn.error.code == "timeout"


async def test_reasoning_is_kept_apart_from_the_reply(pool: Pool) -> None:
    scene = await stage(pool, AGENT, Line(text="42.", reasoning="Six by seven."))

    async with scene.running():
        turn = await scene.ask()

    result = await pool.fetchval("SELECT result::text FROM steps")
    assert turn.replies[0].text == "42."
    assert "Six by seven." in result


async def test_a_rule_may_forbid_a_call(pool: Pool) -> None:
    scene = await stage(pool, AGENT, asks(("look", {})), Line(text="I may not."))
    await scene.world.store.approval_rules.create(
        scene.world.caller,
        tool="look",
        action=RuleAction.DENY,
        arguments_schema=None,
        cost_max=None,
        idempotency=None,
        render=lambda record: StoredAnswer(status=201, headers={}, body=b""),
    )

    async with scene.running():
        await scene.ask()

    assert scene.tools.made == []
    assert "do not allow" in scene.model.requests[1].messages[-1].text


async def test_an_answer_that_does_not_fit_its_schema_is_asked_for_once_more(pool: Pool) -> None:
    form = Node(name="start", answer_schema={"type": "object", "required": ["day"]})
    agent = Definition(model="lines:one", nodes=(form,))
    scene = await stage(pool, agent, Line(text="monday"), Line(text='{"day": "monday"}'))

    async with scene.running():
        turn = await scene.ask()

    assert turn.replies[0].text == '{"day": "monday"}'
    assert "not valid JSON" in scene.model.requests[1].messages[-1].text
    kinds = await pool.fetch("SELECT kind FROM deltas ORDER BY number")
    assert "restarted" in [row["kind"] for row in kinds]


async def test_an_answer_that_never_fits_fails_the_turn_clearly(pool: Pool) -> None:
    form = Node(name="start", answer_schema={"type": "object", "required": ["day"]})
    scene = await stage(
        pool, Definition(model="lines:one", nodes=(form,)), Line(text="monday"), Line(text="{}")
    )

    async with scene.running():
        turn = await scene.ask()

    assert turn.state is TurnState.FAILED
    assert turn.error is not None
    assert turn.error.code == "answer_misfit"
    assert "day" in turn.error.message


async def test_an_unknown_end_of_a_harmless_call_is_told_to_the_model(pool: Pool) -> None:
    scene = await stage(pool, AGENT, asks(("look", {})), Line(text="No answer."))

    async def lose(invocation: Invocation) -> ToolResult:
        return ToolResult(outcome=ToolOutcome.UNKNOWN, content="No answer in time.")

    scene.tools.answer = lose
    async with scene.running():
        turn = await scene.ask()

    assert turn.state is TurnState.COMPLETED
    assert scene.model.requests[1].messages[-1].text == "No answer in time."
