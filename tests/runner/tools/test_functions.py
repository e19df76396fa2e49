"""Tools that are Python functions."""

import asyncio

import pytest

from api.runner.tools.base import ToolOutcome
from api.runner.tools.functions import FunctionRefused, FunctionTools, load
from tests.runner.tools import sample_functions
from tests.runner.tools.server import invocation

MODULE = sample_functions.__name__
NAMES = (
    "quote",
    "greet",
    "fail",
    "fail_in_time",
    "wait",
    "wait_forever",
    "nothing",
    "odd",
    "long",
)


def function_tools(*, threads_max: int = 4) -> FunctionTools:
    return FunctionTools(
        {name: load(f"{MODULE}:{name}") for name in NAMES}, threads_max=threads_max, result_bytes_max=1_000
    )


def test_a_signature_becomes_the_schema() -> None:
    found = load(f"{MODULE}:quote")

    assert found.description == "Say what a basket costs, at today's prices."
    assert found.parameters == {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
            "currency": {"enum": ["EUR", "USD"], "description": "What to pay in.", "default": "EUR"},
            "notes": {"type": "array", "items": {"type": "string"}, "default": []},
        },
        "required": ["items"],
        "additionalProperties": False,
        "$defs": {
            "Item": {
                "title": "Item",
                "description": "Something in the basket.",
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "count": {"type": "integer", "minimum": 1, "default": 1},
                },
                "required": ["name"],
            }
        },
    }


def test_the_key_is_in_no_schema() -> None:
    found = load(f"{MODULE}:greet")

    assert list(found.parameters["properties"]) == ["name"]
    assert found.takes_key


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("nonsense", "not of the form"),
        (":x", "not of the form"),
        ("no.such.module:x", "cannot be imported"),
        (f"{MODULE}:gone", "has no `gone`"),
        (f"{MODULE}:constant", "not a function"),
        (f"{MODULE}:everything", "cannot be given by name"),
        (f"{MODULE}:unreadable", "cannot be read"),
        (f"{MODULE}:strange", "make no schema"),
    ],
)
def test_what_cannot_be_registered_says_why(target: str, reason: str) -> None:
    with pytest.raises(FunctionRefused, match=reason):
        load(target)


async def test_arguments_arrive_as_their_types_and_defaults_stay_fresh() -> None:
    tools = function_tools()
    given = invocation(arguments={"items": [{"name": "a", "count": 2}, {"name": "b"}]})

    results = [await tools.call(given, "quote") for _ in range(2)]

    assert [(result.outcome, result.content) for result in results] == [
        (ToolOutcome.COMPLETED, '{"total":3,"currency":"EUR","notes":["seen"]}')
    ] * 2


async def test_the_key_goes_to_who_asks_for_it() -> None:
    result = await function_tools().call(invocation(arguments={"name": "Ada"}), "greet")

    assert (result.outcome, result.content) == (ToolOutcome.COMPLETED, "Hello Ada (trn_1/stp_2)")


async def test_an_exception_is_a_failure_with_its_message_alone() -> None:
    result = await function_tools().call(invocation(arguments={"message": "no such order"}), "fail")

    assert (result.outcome, result.content) == (ToolOutcome.FAILED, "no such order")


async def test_a_timeout_that_the_function_raises_is_its_failure() -> None:
    result = await function_tools().call(invocation(), "fail_in_time")

    assert (result.outcome, result.content) == (ToolOutcome.FAILED, "theirs")


async def test_arguments_that_do_not_fit_are_a_failure() -> None:
    result = await function_tools().call(invocation(arguments={"message": 1}), "fail")

    assert result.outcome is ToolOutcome.FAILED
    assert result.content.startswith("The function was not called")


async def test_a_function_that_is_not_registered_is_a_failure() -> None:
    result = await function_tools().call(invocation(), "gone")

    assert result.outcome is ToolOutcome.FAILED


async def test_what_a_function_gives_back_is_bounded_and_storable() -> None:
    tools = function_tools()

    long = await tools.call(invocation(), "long")
    odd = await tools.call(invocation(), "odd")
    nothing = await tools.call(invocation(), "nothing")

    assert len(long.content.encode()) <= 1_000
    assert long.content.startswith("x\ufffd\ufffdx")
    assert (odd.outcome, "not JSON" in odd.content) == (ToolOutcome.COMPLETED, True)
    assert (nothing.outcome, nothing.content) == (ToolOutcome.COMPLETED, "Done.")


async def test_a_function_that_outlives_its_time_is_unknown_and_keeps_its_thread() -> None:
    sample_functions.release.clear()
    tools = function_tools(threads_max=1)

    late = await tools.call(invocation(timeout_seconds=0.1), "wait")
    behind = await tools.call(invocation(timeout_seconds=0.1), "nothing")
    sample_functions.release.set()
    after = await tools.call(invocation(), "nothing")

    assert (late.outcome, behind.outcome) == (ToolOutcome.UNKNOWN, ToolOutcome.FAILED)
    assert "was not called" in behind.content
    assert after.outcome is ToolOutcome.COMPLETED


async def test_an_asynchronous_function_that_outlives_its_time_is_unknown() -> None:
    result = await function_tools().call(invocation(timeout_seconds=0.1), "wait_forever")

    assert result.outcome is ToolOutcome.UNKNOWN


async def test_a_call_that_is_cancelled_gives_its_thread_back_when_it_ends() -> None:
    sample_functions.release.clear()
    tools = function_tools(threads_max=1)
    calling = asyncio.create_task(tools.call(invocation(), "wait"))
    await asyncio.sleep(0)

    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    sample_functions.release.set()

    assert (await tools.call(invocation(), "nothing")).outcome is ToolOutcome.COMPLETED
