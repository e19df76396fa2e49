"""The order of roles that every provider accepts, and calls beside their results."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.models.anthropic_body import make_body as anthropic_body
from api.models.base import Message, ToolCall
from api.models.messages import (
    NO_RESULT_TEXT,
    OPENING_TEXT,
    Exchange,
    alternating,
    arguments_object,
    with_calls_as_text,
)
from api.models.openai_body import make_body as openai_body
from tests.models.asking import LOOKUP, MONDAY, answered, asked, user
from tests.models.calls import made_request
from tests.providers.protocol import fault_in

WORDS = st.text(alphabet="ab", min_size=1, max_size=4)

MESSAGES = st.lists(
    st.builds(
        Message,
        role=st.sampled_from(["user", "assistant"]),
        text=st.text(min_size=1, max_size=10),
        name=st.none() | st.just("Ada"),
    ),
    max_size=8,
)

IDS = st.sampled_from(["call_1", "call_2", "call.3"])
WITH_CALLS = st.lists(
    st.one_of(
        st.builds(Message, role=st.just("user"), text=WORDS),
        st.builds(Message, role=st.just("tool"), text=WORDS, tool_call_id=st.none() | IDS),
        st.builds(
            Message,
            role=st.just("assistant"),
            text=WORDS | st.just(""),
            tool_calls=st.lists(
                st.builds(
                    ToolCall, id=IDS, name=st.just("lookup"), arguments=st.sampled_from(["", "{?", MONDAY])
                ),
                unique_by=lambda call: call.id,
                min_size=1,
                max_size=3,
            ).map(tuple),
        ),
        st.builds(Message, role=st.just("assistant"), text=WORDS),
    ),
    max_size=10,
)


@settings(max_examples=50)
@given(messages=MESSAGES)
def test_roles_take_turns_and_no_text_is_lost(messages: list[Message]) -> None:
    exchanges = alternating(messages)

    assert [e.role for e in exchanges] == ["user", "assistant"] * (len(exchanges) // 2) + ["user"] * (
        len(exchanges) % 2
    )
    spoken = [f"{m.name}: {m.text}" if m.name else m.text for m in messages]
    began_by_agent = not messages or messages[0].role == "assistant"
    opening = [OPENING_TEXT] if began_by_agent else []
    assert "\n\n".join(e.text for e in exchanges) == "\n\n".join(opening + spoken)


@settings(max_examples=200)
@given(messages=WITH_CALLS, offers_tools=st.booleans())
def test_no_provider_refuses_any_conversation_with_calls(messages: list[Message], offers_tools: bool) -> None:
    request = made_request(messages=tuple(messages), tools=(LOOKUP,) if offers_tools else ())

    assert fault_in("/v1/messages", anthropic_body(request)) is None
    assert fault_in("/v1/chat/completions", openai_body(request, is_openai=True)) is None
    assert fault_in("/v1/chat/completions", openai_body(request, is_openai=False)) is None


@settings(max_examples=100)
@given(messages=WITH_CALLS)
def test_every_call_is_there_once_with_its_result_and_all_words_are_kept(messages: list[Message]) -> None:
    exchanges = alternating(messages)

    calls = [call for exchange in exchanges for call in exchange.calls]
    made = [call for message in messages for call in message.tool_calls]
    assert [(call.name, call.arguments) for call in calls] == [(call.name, call.arguments) for call in made]
    assert len({call.id for call in calls}) == len(calls)
    told = {message.text for message in messages if message.role == "tool"}
    assert {call.result for call in calls} <= told | {NO_RESULT_TEXT}
    spoken = [m.text for m in messages if m.role != "tool" and m.text]
    said = "\n\n".join(e.text for e in exchanges if e.text)
    assert said.removeprefix(f"{OPENING_TEXT}").strip("\n") == "\n\n".join(spoken)


@settings(max_examples=100)
@given(messages=WITH_CALLS)
def test_calls_told_in_words_keep_the_order_of_roles_and_every_result(messages: list[Message]) -> None:
    exchanges = alternating(messages)

    told = with_calls_as_text(exchanges)

    assert all(one.role != other.role for one, other in itertools.pairwise(told))
    assert all(not exchange.calls for exchange in told)
    everything = "\n".join(exchange.text for exchange in told)
    assert all(call.result in everything for exchange in exchanges for call in exchange.calls)


def test_results_stand_with_their_calls_wherever_they_were() -> None:
    messages = (
        user("Two things."),
        asked("lookup", "lookup"),
        answered("second", 2),
        user("Hurry."),
        answered("first", 1),
    )

    exchanges = alternating(messages)

    assert [(e.role, e.text) for e in exchanges] == [
        ("user", "Two things."),
        ("assistant", ""),
        ("user", "Hurry."),
    ]
    assert [call.result for call in exchanges[1].calls] == ["first", "second"]


def test_an_id_that_comes_again_means_the_newest_call_and_is_sent_as_another() -> None:
    messages = (user("One."), asked("lookup"), answered("old"), asked("lookup"), answered("new"))

    calls = [call for exchange in alternating(messages) for call in exchange.calls]

    assert [(call.id, call.result) for call in calls] == [("call_1", "old"), ("call_1_2", "new")]


def test_a_result_of_no_call_is_left_out() -> None:
    assert alternating((answered("rain"), user("Hello"))) == [Exchange(role="user", text="Hello")]


def test_words_before_calls_join_what_the_agent_had_just_said() -> None:
    messages = (user("Hi"), Message(role="assistant", text="Well."), asked("lookup"), answered("rain"))

    (_, told) = alternating(messages)

    assert told.text == "Well."
    assert told.calls[0].result == "rain"


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ("", {}),
        (" \n", {}),
        (MONDAY, {"day": "monday"}),
        ("7", {"unreadable": "7"}),
        ('{"a": NaN}', {"unreadable": '{"a": NaN}'}),
        ("[" * 100_000, {"unreadable": "[" * 100_000}),
        ('{"a": "\\ud83d"}', {"unreadable": '{"a": "\\ud83d"}'}),
    ],
    ids=["empty", "blank", "object", "number", "not a number", "deep", "half a character"],
)
def test_arguments_are_given_back_as_an_object(arguments: str, value: object) -> None:
    assert arguments_object(arguments) == value
    json.dumps(arguments_object(arguments)).encode()
