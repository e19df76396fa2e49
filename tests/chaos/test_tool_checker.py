"""The checker of tools finds what it is there for, and blames nobody for what is allowed."""

import msgspec
import pytest

from tests.chaos.tool_checker import ApprovalFact, MadeFact, ToolFacts, check_tools
from tests.chaos.tool_server import Arrival


def arrival(tool: str, argument: str = "t1.1", key: str | None = None) -> Arrival:
    return Arrival(tool=tool, argument=argument, key=key)


def approval(tool: str, decision: str | None, **fields: object) -> ApprovalFact:
    asked = ApprovalFact(
        turn_id="turn",
        turn_state="completed" if decision else "awaiting_approval",
        step_id="step",
        tool=tool,
        argument="t1.1",
        reason="required",
        decision=decision,
        is_standing=False,
        is_open=decision is None,
    )
    return msgspec.structs.replace(asked, **fields)


def kinds(arrivals: list[Arrival], approvals: list[ApprovalFact], **fields: object) -> set[str]:
    """What is found; every arrival has a step of its own."""
    made = [
        MadeFact(id=str(number), turn_id="turn", tool=each.tool, argument=each.argument)
        for number, each in enumerate(arrivals)
    ]
    facts = msgspec.structs.replace(ToolFacts(approvals=approvals, made=made), **fields)
    return {kind for kind, _ in check_tools(arrivals, facts)}


AGAIN = approval("send", "approved", reason="outcome_unknown", step_id="again")


@pytest.mark.parametrize(
    ("arrivals", "approvals"),
    [
        ([arrival("send")], []),
        ([arrival("send"), arrival("send")], [AGAIN]),
        ([arrival("pay")], [approval("pay", "approved")]),
        ([], [approval("pay", "denied")]),
        ([arrival("look"), arrival("look")], []),
        ([arrival("set", key="a"), arrival("set", key="a"), arrival("set", "t1.2", key="b")], []),
        ([arrival("book", key="a")], [approval("book", "approved")]),
        (
            [arrival("book", "t1.2", key="b")],
            [approval("book", "approved", is_standing=True)],
        ),
    ],
)
def test_what_is_allowed_is_not_blamed(arrivals: list[Arrival], approvals: list[ApprovalFact]) -> None:
    assert kinds(arrivals, approvals) == set()


@pytest.mark.parametrize(
    ("arrivals", "approvals", "kind"),
    [
        ([arrival("send")] * 2, [], "a call was made again that may be made once"),
        ([arrival("send")] * 3, [AGAIN], "a call was made again that may be made once"),
        ([arrival("pay")] * 2, [approval("pay", "approved")], "an approval was used up twice"),
        ([arrival("pay")], [approval("pay", "denied")], "a call was made that nobody had approved"),
        ([arrival("book", key="a")], [], "a call was made that nobody had approved"),
        ([arrival("set", key="a"), arrival("set", key="b")], [], "a repetition came under another key"),
        ([arrival("set")], [], "a repetition came under another key"),
        (
            [arrival("set", key="a"), arrival("set", "t1.2", key="a")],
            [],
            "two calls came under one key",
        ),
        (
            [],
            [approval("pay", None, turn_state="cancelled")],
            "somebody is asked and no turn waits",
        ),
        ([], [approval("pay", "denied"), approval("pay", "denied")], "two approvals allow one step"),
    ],
)
def test_what_must_not_be_is_blamed(
    arrivals: list[Arrival], approvals: list[ApprovalFact], kind: str
) -> None:
    assert kind in kinds(arrivals, approvals)


def test_a_turn_that_waits_for_nobody_is_blamed() -> None:
    assert kinds([], [approval("pay", "denied")], waiting=["turn"]) == {"a turn waits and nobody is asked"}


def test_a_call_without_a_step_is_blamed() -> None:
    assert kinds([arrival("look")], [], made=[]) == {"a call was made without a step"}
