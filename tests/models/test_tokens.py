"""How many tokens a request is believed to take."""

from api.models.base import Message
from api.models.tokens import (
    estimate_call_tokens,
    estimate_input_tokens,
    estimate_message_tokens,
    estimate_tool_tokens,
    estimate_whole_message_tokens,
)
from tests.models.asking import LOOKUP, MONDAY, PERSON, answered, asked, user
from tests.models.calls import made_request


def test_tools_calls_results_and_the_schema_of_the_answer_are_counted() -> None:
    messages = (user("Monday?"), asked("lookup", text="One moment."), answered("rain"))
    asking = messages[1]

    whole = estimate_input_tokens(
        made_request(messages=messages, instructions="Be kind.", tools=(LOOKUP,), answer_schema=PERSON)
    )

    without_schema = made_request(messages=messages, instructions="Be kind.", tools=(LOOKUP,))
    assert estimate_input_tokens(without_schema) < whole
    assert estimate_input_tokens(without_schema) == (
        estimate_message_tokens("Be kind.")
        + estimate_message_tokens("Monday?")
        + estimate_message_tokens("One moment.")
        + estimate_call_tokens(asking.tool_calls[0])
        + estimate_message_tokens("rain")
        + estimate_tool_tokens(LOOKUP)
    )


def test_a_call_is_counted_with_its_name_and_arguments() -> None:
    (made,) = asked("lookup").tool_calls

    # 4 for the frame, then 4 bytes a token, begun ones counted.
    assert estimate_call_tokens(made) == 4 + -(-len("lookup" + MONDAY) // 4)


def test_a_message_without_calls_is_counted_as_ever() -> None:
    message = Message(role="user", text="Hello", name="Ada")

    assert estimate_whole_message_tokens(message) == estimate_message_tokens("Hello", "Ada")
