"""Where a turn stands is read from its steps, whoever has made them."""

import msgspec
import pytest

from api.agents.definition import Definition, Limits, Node, Tool, ToolEffect, Transition
from api.models.base import Message, ToolCall
from api.prompt.progress import (
    EXTRACTION,
    ModelAnswer,
    Progress,
    Recorded,
    Standing,
    ToolAnswer,
    ToolEnd,
    ToolRequest,
    replay,
)
from api.session.document import Actor, Approval, ApprovalReason, Decision
from api.store.base import utc_now

DEFINITION = Definition(
    model="scripted:demo",
    tools=(Tool(name="look", effect=ToolEffect.READ), Tool(name="pay", effect=ToolEffect.ONCE)),
    nodes=(
        Node(
            name="start",
            tools=("look", "pay"),
            transitions=(Transition(to="booking", label="book", condition="They want an appointment."),),
        ),
        Node(name="booking", transitions=(Transition(to="bye", label="leave", condition="It is done."),)),
        Node(name="bye", end=True),
        Node(name="form", answer_schema={"type": "object", "required": ["day"]}),
    ),
)


def asks(step_id: str, *calls: ToolCall, text: str = "") -> Recorded:
    """A model call that asked for tools."""
    answer = ModelAnswer(text=text, finish_reason="tool_calls", tool_calls=calls)
    return Recorded(id=step_id, purpose="reply", state="completed", answer=answer)


def speaks(step_id: str, text: str, *, finish_reason: str = "stop") -> Recorded:
    """A model call that brought the answer."""
    answer = ModelAnswer(text=text, finish_reason=finish_reason)
    return Recorded(id=step_id, purpose="reply", state="completed", answer=answer)


def call(name: str, arguments: str = "{}") -> ToolCall:
    return ToolCall(id=f"call_{name}", name=name, arguments=arguments)


def made(
    step_id: str,
    asked_by: str,
    index: int,
    name: str,
    *,
    end: ToolEnd | None = ToolEnd.COMPLETED,
    content: str = "42",
    says: str = "",
    standing: Standing | None = None,
) -> Recorded:
    """A tool step; still open for `end` of None."""
    answer = None if end is None else ToolAnswer(end=end, content=content, says=says, standing=standing)
    return Recorded(
        id=step_id,
        purpose="tool",
        state="started" if end is None else "completed",
        request=ToolRequest(tool=name, effect="read", asked_by=asked_by, call_index=index),
        answer=answer,
    )


def question(step_id: str, asked_by: str, index: int, decision: Decision | None) -> Approval:
    now = utc_now()
    return Approval(
        id="apv_1",
        asked_by=asked_by,
        call_index=index,
        step_id=step_id,
        tool="pay",
        arguments={},
        arguments_digest="d",
        effect="once",
        reason=ApprovalReason.REQUIRED,
        requested_at=now,
        expires_at=now,
        decision=decision,
        decided_at=None if decision is None else now,
        decided_by=None if decision is None else Actor(key_id="key_1"),
        note="Too dear." if decision is Decision.DENIED else None,
    )


def progress(
    *steps: Recorded,
    definition: Definition = DEFINITION,
    node: str = "start",
    approvals: tuple[Approval, ...] = (),
) -> Progress:
    return replay(definition, node=node, variables={"a": 1}, steps=steps, approvals=approvals)


def test_a_turn_without_steps_has_everything_before_it() -> None:
    found = progress()

    assert not found.is_answered
    assert (found.node.name, found.variables, found.has_moved) == ("start", {"a": 1}, False)
    assert (found.messages, found.open_calls, found.text) == ((), (), "")


def test_a_text_ends_the_turn() -> None:
    found = progress(speaks("m1", "Hello."))

    assert found.is_answered
    assert found.text == "Hello."


def test_a_call_of_the_model_that_failed_has_left_nothing() -> None:
    failed = Recorded(id="m1", purpose="reply", state="failed")

    assert progress(failed, speaks("m2", "Hello.")).text == "Hello."
    assert not progress(failed).is_answered


def test_what_the_model_asks_for_is_open_until_a_step_has_answered_it() -> None:
    round_one = asks("m1", call("look"), call("pay"), text="Let me see.")

    found = progress(round_one, made("t1", "m1", 0, "look"))

    assert [open_call.index for open_call in found.open_calls] == [1]
    assert found.messages == ()
    assert found.settled_messages()[1:] == (
        Message(role="tool", text="42", tool_call_id="call_look"),
        Message(role="tool", text="Taken.", tool_call_id="call_pay"),
    )


def test_a_whole_round_is_shown_to_the_model_in_the_order_of_its_calls() -> None:
    round_one = asks("m1", call("look"), call("pay"), text="Let me see.")

    found = progress(round_one, made("t1", "m1", 1, "pay", content="paid"), made("t2", "m1", 0, "look"))

    assert found.open_calls == ()
    assert [(message.role, message.text) for message in found.messages] == [
        ("assistant", "Let me see."),
        ("tool", "42"),
        ("tool", "paid"),
    ]


def test_the_reply_is_all_that_was_said_in_order() -> None:
    steps = (
        asks("m1", call("look"), text="Let me see."),
        made("t1", "m1", 0, "look"),
        speaks("m2", "It is 42."),
    )

    found = progress(*steps)

    assert found.text == "Let me see.\n\nIt is 42."
    assert [(piece.step_id, piece.text) for piece in found.pieces] == [
        ("m1", "Let me see."),
        ("m2", "\n\nIt is 42."),
    ]


def test_an_open_or_unknown_attempt_leaves_its_call_open() -> None:
    asking = asks("m1", call("pay"))

    for end in (None, ToolEnd.UNKNOWN):
        found = progress(asking, made("t1", "m1", 0, "pay", end=end))

        [still_open] = found.open_calls
        assert still_open.step is not None
        assert still_open.step.id == "t1"


def test_a_later_attempt_answers_a_call_whose_first_is_unknown() -> None:
    found = progress(
        asks("m1", call("pay")),
        made("t1", "m1", 0, "pay", end=ToolEnd.UNKNOWN),
        made("t2", "m1", 0, "pay", content="paid"),
    )

    assert found.messages[-1].text == "paid"


def test_a_denial_answers_the_call_and_tells_the_model_why() -> None:
    found = progress(asks("m1", call("pay")), approvals=(question("t1", "m1", 0, Decision.DENIED),))

    assert found.open_calls == ()
    assert "Too dear." in found.messages[-1].text


def test_an_approval_is_used_up_by_its_step() -> None:
    approval = question("t1", "m1", 0, Decision.APPROVED)

    before = progress(asks("m1", call("pay")), approvals=(approval,))
    after = progress(
        asks("m1", call("pay")), made("t1", "m1", 0, "pay", end=ToolEnd.UNKNOWN), approvals=(approval,)
    )

    assert before.open_calls[0].approval == approval
    assert after.open_calls[0].approval is None


def test_a_denied_repetition_leaves_the_first_attempt_unknown() -> None:
    found = progress(
        asks("m1", call("pay")),
        made("t1", "m1", 0, "pay", end=ToolEnd.UNKNOWN, content="Nobody knows."),
        approvals=(question("t2", "m1", 0, Decision.DENIED),),
    )

    assert found.messages[-1].text == "Nobody knows. It was not made again. They said: Too dear."


def moves(to: str, step_id: str = "t1", asked_by: str = "m1", says: str = "") -> Recorded:
    standing = Standing(node=to, variables={"day": "monday"})
    return made(step_id, asked_by, 0, "book", content="Done.", standing=standing, says=says)


def test_a_transition_changes_node_and_variables_and_may_speak() -> None:
    found = progress(asks("m1", call("book"), text="Sure."), moves("booking", says="One moment."))

    assert (found.node.name, found.variables, found.has_moved) == ("booking", {"day": "monday"}, True)
    assert (found.text, found.hop_count) == ("Sure.\n\nOne moment.", 1)


def test_an_end_node_takes_no_tools() -> None:
    found = progress(asks("m1", call("book")), moves("bye"))

    assert not found.takes_tools(DEFINITION)


def test_calls_in_an_end_node_are_not_taken_up() -> None:
    found = progress(asks("m1", call("book")), moves("bye"), asks("m2", call("look"), text="Goodbye."))

    assert found.is_answered
    assert found.text == "Goodbye."


def test_no_transition_is_left_when_the_hops_are_used_up() -> None:
    definition = msgspec.structs.replace(DEFINITION, limits=Limits(hops=1))

    found = progress(asks("m1", call("book")), moves("booking"), speaks("m2", "Hi."), definition=definition)

    assert found.transitions(definition) == ()
    assert [notice.code for notice in found.notices] == ["hop_limit"]


def test_the_limit_of_iterations_ends_the_asking_and_is_noted() -> None:
    definition = msgspec.structs.replace(DEFINITION, limits=Limits(iterations=1))
    round_one = (asks("m1", call("look")), made("t1", "m1", 0, "look"))

    asked = progress(*round_one, definition=definition)
    answered = progress(*round_one, asks("m2", call("look"), text="42."), definition=definition)

    assert not asked.takes_tools(definition)
    assert (answered.is_answered, answered.text) == (True, "42.")
    assert [notice.code for notice in answered.notices] == ["iteration_limit"]


def test_an_answer_that_does_not_fit_is_asked_for_once_more() -> None:
    once = progress(speaks("m1", "on monday"), node="form")
    twice = progress(speaks("m1", "on monday"), speaks("m2", '{"week": 1}'), node="form")
    fitting = progress(speaks("m1", "on monday"), speaks("m2", '{"day": 1}'), node="form")

    assert not once.is_answered
    assert [message.role for message in once.messages] == ["assistant", "user"]
    assert once.text == ""
    assert twice.is_answered
    assert twice.misfit is not None
    assert "day" in twice.misfit
    assert (fitting.misfit, fitting.text) == (None, '{"day": 1}')


def test_an_extraction_is_neither_said_nor_a_round() -> None:
    learned = Recorded(
        id="m2",
        purpose=EXTRACTION,
        state="completed",
        answer=ModelAnswer(text='{"day": "monday"}', finish_reason="stop"),
    )

    found = progress(asks("m1", call("book")), learned)

    assert found.extraction == learned.answer
    assert (found.text, len(found.open_calls)) == ("", 1)
    assert (
        progress(asks("m1", call("book")), learned, moves("booking"), speaks("m3", "Hi.")).extraction is None
    )


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_white_space_alone_is_not_said(text: str) -> None:
    assert progress(asks("m1", call("look"), text=text)).pieces == ()
