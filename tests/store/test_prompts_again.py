"""Every recorded call renders again to exactly what was sent, whatever has become of its turn since."""

import asyncio
from typing import Any

import msgspec
import pytest

from api.agents.definition import (
    ApprovalMode,
    Definition,
    Greeting,
    Limits,
    McpCall,
    Node,
    Tool,
    ToolEffect,
    Transition,
    Variable,
)
from api.models.base import ModelRequest
from api.runner.tools.base import Invocation, ToolOutcome, ToolResult
from api.session.document import Decision, TurnState
from api.store import Done, NotFound
from api.store.audit import Interaction
from api.store.interactions import Filters
from db.pool import Pool
from tests.factories import make_world, rendered
from tests.runner.conversing import Line, Stage, asks, stage

LOOK = Tool(name="look", description="Looks a thing up.", effect=ToolEffect.READ)
PAY = Tool(name="pay", effect=ToolEffect.ONCE, approval=ApprovalMode.ALWAYS)
PLAIN = Definition(model="lines:one", instructions="Be brief.")
HELPER = Definition(
    model="lines:one",
    instructions="Help {{customer.name | the customer}}.",
    tools=(LOOK, PAY, Tool(name="far", effect=ToolEffect.READ, mcp=McpCall(server="shop", tool="f"))),
)
CLINIC = Definition(
    model="lines:one",
    instructions="You work for {{clinic | the clinic}}.",
    tools=(LOOK,),
    nodes=(
        Node(
            name="start",
            instructions="Find out what they want.",
            tools=("look",),
            transitions=(
                Transition(to="booking", label="book", condition="They come.", says="Well, {{name}}."),
            ),
            extraction=(Variable(name="name"),),
        ),
        Node(
            name="booking",
            instructions="Book a day for {{name}}, {{variables.name}}, {{nothing | whoever}}.",
            transitions=(Transition(to="start", label="back", condition="Something else."),),
        ),
    ),
)
LEARNED = Line(text='{"name": "Ada"}')


async def whole(scene: Stage) -> list[Interaction]:
    """Every call of the session, oldest first."""
    read = scene.world.store.interactions
    found, _ = await read.listed(
        scene.world.caller, Filters(session_id=scene.session_id), before=None, limit=500
    )
    return [await read.interaction(scene.world.caller, call.id) for call in reversed(found)]


def sent(scene: Stage) -> list[ModelRequest]:
    """What the model was sent, without what is of that moment alone."""
    return [msgspec.structs.replace(request, timeout_seconds=None) for request in scene.model.requests]


async def require_exact(scene: Stage) -> list[Interaction]:
    """Assert that every call renders to what the model was sent; answers the calls."""
    calls = await whole(scene)
    assert [call.difference for call in calls] == [None] * len(calls)
    assert [call.prompt for call in calls] == sent(scene)
    return calls


async def test_calls_of_plain_turns(pool: Pool) -> None:
    scene = await stage(pool, PLAIN, *(Line(text=f"Answer {number}.") for number in range(3)))

    async with scene.running():
        turns = [await scene.ask(f"Question {number}") for number in range(3)]
    calls = await require_exact(scene)

    last = calls[-1].sources
    assert last is not None
    assert last.turn_ids == tuple(turn.id for turn in turns)
    assert calls[-1].response is not None
    assert calls[-1].response.text == "Answer 2."
    assert await pool.fetchval("SELECT count(*) FROM prompt_parts") == 0


async def test_calls_that_saw_only_the_end_of_the_conversation(pool: Pool) -> None:
    short = Definition(model="lines:one", limits=Limits(context_tokens=256))
    scene = await stage(pool, short, *(Line(text=f"{number} " * 60) for number in range(6)))

    async with scene.running():
        for number in range(6):
            await scene.ask(f"{number} " * 60)
    calls = await require_exact(scene)

    assert calls[-1].sources is not None
    assert 1 <= len(calls[-1].sources.turn_ids) < 6


async def test_calls_of_tools(pool: Pool) -> None:
    scene = await stage(
        pool,
        HELPER,
        asks(("look", {"n": 1}), ("look", "{"), ("fly", {}), text="Let me see."),
        asks(("look", {"n": 2})),
        Line(text="Found.", reasoning="So it was."),
        Line(text="Again."),
        context={"customer": {"name": "Ada"}},
    )
    scene.tools.missing["far"] = "It does not answer."

    async with scene.running():
        turn = await scene.ask()
        await scene.ask()
    first, second, third, _ = await require_exact(scene)

    assert third.sources is not None
    assert third.sources.step_ids == tuple(step.id for step in turn.steps[:-1])
    assert third.sources.context_fields == ("customer.name",)
    assert [(tool.name, tool.source) for tool in third.sources.tools] == [("look", "http"), ("pay", "http")]
    assert third.response is not None
    assert (third.response.text, third.response.reasoning) == ("Found.", "So it was.")
    assert [call.attempts[0].outcome for call in first.calls] == ["completed", "refused", "refused"]
    assert first.calls[0].attempts[0].arguments == {"n": 1}
    assert first.calls[0].attempts[0].idempotency_key == scene.tools.made[0].idempotency_key
    assert first.calls[1].arguments == "{"
    assert second.calls[0].attempts[0].content == '{"n":2}'
    assert await pool.fetchval("SELECT count(*) FROM prompt_parts") == 1


async def test_tools_are_shown_as_they_were_offered(pool: Pool) -> None:
    scene = await stage(pool, HELPER, Line(text="One."), Line(text="Two."))

    async with scene.running():
        await scene.ask()
        scene.tools.missing["far"] = "It does not answer."
        await scene.ask()
    first, second = await require_exact(scene)

    assert first.sources is not None
    assert second.sources is not None
    assert ("far", "mcp:shop") in [(tool.name, tool.source) for tool in first.sources.tools]
    assert "far" not in [tool.name for tool in second.sources.tools]


async def test_calls_of_transitions_and_extractions(pool: Pool) -> None:
    scene = await stage(
        pool,
        CLINIC,
        Line(text="Hello."),
        asks(("look", {}), ("book", {}), text="Oh."),
        LEARNED,
        Line(text="Which day?"),
        Line(text="Monday it is."),
        asks(("back", {})),
        Line(text="What else?"),
        asks(("book", {})),
        Line(text="no JSON"),
        Line(text="Which day?"),
        context={"clinic": "St Anne"},
    )

    async with scene.running():
        for _ in range(5):
            await scene.ask()
    calls = await require_exact(scene)

    assert [(call.summary.purpose, call.summary.node) for call in calls[1:5]] == [
        ("reply", "start"),
        ("extraction", "start"),
        ("reply", "booking"),
        ("reply", "booking"),
    ]
    booking = calls[3].sources
    assert booking is not None
    assert booking.context_fields == ("clinic",)
    assert booking.variables == ("name",)
    assert booking.unfilled == ("nothing",)
    assert [(tool.name, tool.source) for tool in booking.tools] == [("back", "transition")]


async def test_calls_around_approvals(pool: Pool) -> None:
    both = asks(("pay", {"amount": 5}), ("look", {}), ("pay", {"amount": 6}), text="May I?")
    scene = await stage(pool, HELPER, both, Line(text="Done."))

    async with scene.running():
        waiting = await scene.until((await scene.say()).id, TurnState.AWAITING_APPROVAL)
        await require_exact(scene)
        first, second = waiting.approvals
        await scene.decide(first, Decision.APPROVED)
        await scene.decide(second, Decision.DENIED, note="Too dear.")
        await scene.until(waiting.id)
    asking, _ = await require_exact(scene)

    paid, looked, denied = asking.calls
    assert [attempt.outcome for attempt in paid.attempts] == ["completed"]
    assert [approval.decision for approval in paid.approvals] == [Decision.APPROVED]
    assert looked.approvals == ()
    assert denied.attempts == ()
    assert [(approval.decision, approval.note) for approval in denied.approvals] == [
        (Decision.DENIED, "Too dear.")
    ]


async def test_calls_around_an_unknown_end(pool: Pool) -> None:
    send = Definition(model="lines:one", tools=(Tool(name="send", effect=ToolEffect.ONCE),))
    scene = await stage(pool, send, asks(("send", {})), Line(text="Well."))

    async def lose(invocation: Invocation) -> ToolResult:
        return ToolResult(outcome=ToolOutcome.UNKNOWN, content="No answer in time.")

    scene.tools.answer = lose
    async with scene.running():
        waiting = await scene.until((await scene.say()).id, TurnState.AWAITING_APPROVAL)
        await scene.decide(waiting.approvals[0], Decision.DENIED)
        await scene.until(waiting.id)
    asking, _ = await require_exact(scene)

    assert [attempt.outcome for attempt in asking.calls[0].attempts] == ["unknown"]


async def test_calls_after_a_misfit(pool: Pool) -> None:
    form = Node(name="start", answer_schema={"type": "object", "required": ["day"]})
    scene = await stage(
        pool, Definition(model="lines:one", nodes=(form,)), Line(text="monday"), Line(text='{"day": 1}')
    )

    async with scene.running():
        await scene.ask()

    await require_exact(scene)


async def test_calls_of_rewound_discarded_and_cancelled_turns(pool: Pool) -> None:
    scene = await stage(
        pool,
        CLINIC,
        Line(text="Hello."),
        asks(("book", {})),
        LEARNED,
        Line(text="Which day?"),
        Line(text="Fine."),
        Line(text="Once more."),
        Line(),
        asks(("look", {}), text="Let me see."),
        Line(text="After all."),
    )
    begun = asyncio.Event()

    async def hang(invocation: Invocation) -> ToolResult:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    scene.tools.answer = hang
    async with scene.running():
        first = await scene.ask()
        await scene.ask()
        await scene.ask()
        await scene.rewind(first.id)
        await scene.ask()
        await scene.ask("This one fails.")
        cancelled = await scene.say()
        async with asyncio.timeout(10):
            await begun.wait()
        await scene.cancel(cancelled.id)
        await scene.until(cancelled.id)
        await scene.ask()
    calls = await require_exact(scene)

    places = [call.summary.turn.place for call in calls if call.summary.turn is not None]
    assert places == ["in_effect"] + ["discarded"] * 4 + ["in_effect"] * 4
    assert calls[-1].sources is not None
    assert cancelled.id in calls[-1].sources.turn_ids


async def test_calls_of_regenerated_restored_and_forked_turns(pool: Pool) -> None:
    scene = await stage(
        pool,
        CLINIC,
        Line(text="Hello."),
        asks(("book", {})),
        LEARNED,
        Line(text="Which day?"),
        Line(text="Hello again."),
        Line(text="Well?"),
        Line(text="Fine."),
        Line(text="In the fork."),
    )
    sessions, caller = scene.world.store.sessions, scene.world.caller
    common: dict[str, Any] = {"expected": None, "idempotency": None}
    async with scene.running():
        first = await scene.ask()
        second = await scene.ask()
        done = await sessions.regenerate(caller, scene.session_id, turn_id=first.id, text="Hi", **common)
        assert isinstance(done, Done)
        assert done.turn_id is not None
        await scene.until(done.turn_id)
        await scene.ask()
        await sessions.restore(caller, scene.session_id, ordinal=1, render=rendered, **common)
        await scene.ask()
        own = await require_exact(scene)
        forked = await sessions.fork(caller, scene.session_id, turn_id=second.id, render=rendered, **common)
        assert isinstance(forked, Done)
        scene.session_id = forked.delta.session.id
        scene.model.requests.clear()
        await scene.ask()
        [in_fork] = await require_exact(scene)

    assert [call.summary.node for call in own] == [
        "start",
        "start",
        "start",
        "booking",
        "start",
        "start",
        "booking",
    ]
    assert own[-1].sources is not None
    assert own[-1].sources.turn_ids[:2] == (first.id, second.id)
    assert (in_fork.summary.node, in_fork.summary.session_id) == ("booking", scene.session_id)
    assert in_fork.prompt is not None
    assert "Book a day for Ada" in in_fork.prompt.instructions


async def test_tools_are_kept_once_and_that_is_remembered(pool: Pool) -> None:
    world, other = await make_world(pool), await make_world(pool, name="Other")
    keep = world.store.interactions.keep_part

    await keep(world.caller.organization_id, "a" * 64, b"[]")
    await keep(world.caller.organization_id, "a" * 64, b"[]")
    await keep(other.caller.organization_id, "a" * 64, b"[]")
    await other.store.interactions.keep_part(world.caller.organization_id, "a" * 64, b"[]")

    assert await pool.fetchval("SELECT count(*) FROM prompt_parts") == 2
    # Once more in the same process asks the database nothing: it would refuse this digest.
    await pool.execute("ALTER TABLE prompt_parts ADD CHECK (sha256 = '') NOT VALID")
    await keep(world.caller.organization_id, "a" * 64, b"[]")


async def test_a_call_of_a_runner_that_died_and_those_of_its_successor(pool: Pool) -> None:
    scene = await stage(pool, HELPER, asks(("look", {"n": 1})), Line(text="Found."))
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
        await pool.execute("UPDATE runs SET lease_expires_at = now() - interval '1 second'")
        scene.tools.answer = echo
        async with scene.running():
            await scene.until(turn.id)
    asking, answering = await require_exact(scene)

    assert [attempt.outcome for attempt in asking.calls[0].attempts] == ["unknown", "completed"]
    assert (asking.summary.attempt, answering.summary.attempt) == (1, 2)


async def test_a_greeting_that_the_model_makes_up(pool: Pool) -> None:
    greeting = Greeting(generate=True, instructions="Greet {{customer | them}}.")
    agent = Definition(model="lines:one", instructions="Be brief.", greeting=greeting)
    scene = await stage(pool, agent, Line(text="Welcome."), Line(text="Yes."))
    delta = await scene.world.session(greeting_is_generated=True, context={"customer": "Ada"})
    scene.session_id = delta.session.id

    async with scene.running():
        await scene.until(delta.turns[0].id)
        await scene.ask()
    calls = await require_exact(scene)

    assert [call.summary.purpose for call in calls] == ["greeting", "reply"]
    assert calls[0].sources is not None
    assert calls[0].sources.context_fields == ("customer",)


async def test_a_difference_is_told_and_never_hidden(pool: Pool) -> None:
    scene = await stage(pool, HELPER, Line(text="One."), Line(text="Two."))
    async with scene.running():
        await scene.ask()
        await scene.ask()

    async def differences(change: str, *arguments: Any) -> list[str | None]:
        async with pool.acquire() as conn:
            transaction = conn.transaction()
            await transaction.start()
            await conn.execute(change, *arguments)
            await transaction.commit()
        return [call.difference for call in await whole(scene)]

    without_tools = await differences("DELETE FROM prompt_parts")
    other_context = await differences('UPDATE sessions SET context = \'{"customer": {"name": "Eve"}}\'')

    assert without_tools == ["The tools that were offered are not kept, so they are missing here."] * 2
    assert all(said is not None for said in other_context)


async def test_a_call_that_goes_on_has_no_response_yet(pool: Pool) -> None:
    scene = await stage(pool, PLAIN, Line(text="Hi."))
    async with scene.running():
        await scene.ask()
    # As it was before the call ended.
    await pool.execute("UPDATE steps SET state = 'started', ended_at = NULL, result = NULL")

    [call] = await whole(scene)

    assert (call.summary.outcome, call.response, call.calls) == (None, None, ())


@pytest.mark.parametrize("name", ["stp_x", "stp_" + "0" * 32, "int_" + "0" * 32])
async def test_what_is_no_interaction_is_not_found(pool: Pool, name: str) -> None:
    world = await make_world(pool)

    with pytest.raises(NotFound):
        await world.store.interactions.interaction(world.caller, name)


async def test_calls_of_others_and_of_deleted_sessions_are_not_found(pool: Pool) -> None:
    scene = await stage(pool, PLAIN, Line(text="Hi."))
    async with scene.running():
        turn = await scene.ask()
    stranger = await make_world(pool, name="Other")

    read = scene.world.store.interactions.interaction
    with pytest.raises(NotFound):
        await read(stranger.caller, turn.steps[0].id)
    await scene.world.store.sessions.erase(scene.world.caller, scene.session_id, expected=None)

    with pytest.raises(NotFound):
        await read(scene.world.caller, turn.steps[0].id)
