"""Models that answer what no model should: the turn comes to an end all the same, and at once."""

import pytest

from api.agents.definition import Definition, Node, Tool, ToolEffect, Transition, Variable, VariableType
from api.session.document import TurnState
from db.pool import Pool
from tests.runner.conversing import Line, asks, stage

LOOK = Tool(name="look", effect=ToolEffect.READ)
AGENT = Definition(model="lines:one", tools=(LOOK,))
FORM = Definition(
    model="lines:one",
    nodes=(
        Node(
            name="start",
            transitions=(Transition(to="next", label="go", condition="Always."),),
            extraction=(
                Variable(name="name"),
                Variable(name="age", type=VariableType.INTEGER),
                Variable(name="size", type=VariableType.NUMBER),
            ),
        ),
        Node(name="next", instructions="For {{name}}."),
    ),
)


@pytest.mark.parametrize(
    "document",
    [
        '{"name": "\\ud800", "age": null, "size": null}',
        '{"name": "a\\u0000b", "age": null, "size": null}',
    ],
)
async def test_what_is_learned_can_be_stored(pool: Pool, document: str) -> None:
    scene = await stage(pool, FORM, asks(("go", {})), Line(text=document), Line(text="Well."))

    async with scene.running():
        turn = await scene.ask()

    assert turn.state is TurnState.COMPLETED
    assert turn.variables is not None
    assert "\N{REPLACEMENT CHARACTER}" in turn.variables["name"]
    assert "\N{REPLACEMENT CHARACTER}" in scene.model.requests[-1].instructions


@pytest.mark.parametrize(
    "document",
    [
        '{"name": null, "age": 123456789012345678901234567890, "size": null}',
        '{"name": null, "age": 1e300, "size": null}',
        '{"name": null, "age": null, "size": 1e999}',
        '{"name": null, "age": null, "size": NaN}',
        '{"name": null, "age": null, "size": ' + "9" * 400 + "}",
    ],
)
async def test_a_number_beyond_all_measure_is_not_learned(pool: Pool, document: str) -> None:
    scene = await stage(pool, FORM, asks(("go", {})), Line(text=document), Line(text="Well."))

    async with scene.running():
        turn = await scene.ask()

    assert (turn.state, turn.variables) == (TurnState.COMPLETED, {})
    assert [notice.code for notice in turn.notices] == ["extraction_failed"]


async def test_the_name_of_a_tool_that_is_not_there_is_kept_short(pool: Pool) -> None:
    scene = await stage(pool, AGENT, asks(("x" * 500_000, {})), Line(text="Sorry."))

    async with scene.running():
        turn = await scene.ask()

    assert turn.steps[1].tool is not None
    assert len(turn.steps[1].tool) <= 100
    assert len(scene.model.requests[1].messages[-1].text) < 300


async def test_a_hundred_calls_of_one_answer_are_all_answered(pool: Pool) -> None:
    scene = await stage(pool, AGENT, asks(*(("look", {"n": n}) for n in range(100))), Line(text="Well."))

    async with scene.running():
        turn = await scene.ask()

    assert len(scene.tools.made) == 16
    assert len(scene.model.requests[1].messages) == 102
    assert turn.state is TurnState.COMPLETED


async def test_calls_of_one_id_are_told_apart(pool: Pool) -> None:
    twins = asks(("look", {"n": 1}), ("look", {"n": 2}))
    same = Line(
        calls=tuple(type(call)(id="call", name=call.name, arguments=call.arguments) for call in twins.calls)
    )
    scene = await stage(pool, AGENT, same, Line(text="Well."))

    async with scene.running():
        turn = await scene.ask()

    assert turn.state is TurnState.COMPLETED
    assert len({made.idempotency_key for made in scene.tools.made}) == 2
