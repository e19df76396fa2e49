"""The model that needs no account."""

import asyncio
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.models.base import FinishReason, Message, ModelErrorCode, ModelRequest, ModelUsage, TextDelta
from api.models.scripted import MODELS, ScriptedClient
from api.models.tokens import estimate_text_tokens
from tests.models.calls import Heard, call


async def say(*texts: str, model: str = "demo", **fields: object) -> Heard:
    """Call with a conversation in which the user and the agent take turns, the user first."""
    messages = tuple(
        Message(role="assistant" if number % 2 else "user", text=text) for number, text in enumerate(texts)
    )
    return await call(ScriptedClient(), model=model, messages=messages, **fields)


async def test_demo_greets_when_nobody_has_spoken() -> None:
    heard = await say()

    assert heard.text.startswith("Hello! I am the scripted demo model")


async def test_demo_recalls_what_the_user_said_before() -> None:
    heard = await say("My name is Ada and my favourite colour is green.", "Noted.", "What is my name?")

    assert heard.text == "Your name is Ada."


async def test_demo_knows_nothing_of_turns_that_it_was_not_shown() -> None:
    heard = await say("What is my name?")

    assert heard.text == "You have not told me your name in this conversation."


async def test_demo_takes_note_of_what_it_is_told() -> None:
    heard = await say("My name is Ada and my favourite colour is green.")

    assert heard.text == "Noted: your name is Ada and your favourite colour is green."


async def test_demo_tells_what_a_changed_fact_was_before() -> None:
    heard = await say("Call me Ada.", "Noted.", "My name is Grace!")

    assert heard.text == "Noted: your name is Grace. Before, you had given Ada as your name."


async def test_demo_lists_all_that_it_was_told() -> None:
    heard = await say(
        "My name is Ada. My cat is black. My town is Turin.", "Noted.", "What do you know about me?"
    )

    assert heard.text == "You told me that your name is Ada, your cat is black and your town is Turin."


async def test_demo_has_nothing_to_list_when_it_was_told_nothing() -> None:
    heard = await say("Hello", "Hi", "What have I told you?")

    assert heard.text == "You have told me nothing about yourself in this conversation."


async def test_demo_answers_anything_else_with_what_it_sees() -> None:
    first = await say("Good morning")
    second = await say("My name is Ada", "Noted.", "x" * 100)

    assert first.text == (
        'You said: "Good morning". That is the first message that I see in this conversation.'
    )
    assert second.text == (
        f'You said: "{"x" * 79}…", Ada. That is message 2 that I see; the one before was "My name is Ada".'
    )


async def test_echo_repeats_the_last_message() -> None:
    assert (await say("One", "Two", " Three \n four ", model="echo")).text == " Three \n four "
    assert (await say(model="echo")).text == "There is nothing to repeat yet."


async def test_one_word_is_one_delta_and_usage_is_counted_by_the_stated_rule() -> None:
    heard = await say("four words are here", model="echo", instructions="12345678")

    assert heard.delta_count == 4
    assert heard.finished is not None
    # Instructions: 4 + 8 bytes / 4. Message: 4 + 19 bytes / 4, begun ones counted. Output: 19 bytes / 4.
    assert heard.finished.usage == ModelUsage(input_tokens=(4 + 2) + (4 + 5), output_tokens=5)
    assert heard.finished.finish_reason is FinishReason.STOP


async def test_an_answer_beyond_the_output_limit_is_cut() -> None:
    heard = await say("a b c d e f g", model="echo", output_tokens_max=2)

    assert heard.text == "a b c d "
    assert heard.finished is not None
    assert heard.finished.finish_reason is FinishReason.LENGTH


async def test_fail_fails_as_an_overloaded_provider() -> None:
    heard = await say("Hello", model="fail")

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.PROVIDER_UNAVAILABLE
    assert heard.error.status == 503
    assert heard.text == ""


async def test_break_breaks_off_and_tells_what_it_used() -> None:
    heard = await say("Hello there", model="break")

    assert heard.delta_count == 2
    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.STREAM_BROKEN
    assert heard.error.usage is not None
    assert heard.error.usage.output_tokens == estimate_text_tokens(heard.text)


async def test_slow_can_be_left_between_two_words() -> None:
    request = ModelRequest(model="slow", messages=(Message(role="user", text="Hello"),))

    async with asyncio.timeout(5), aclosing(ScriptedClient().stream(request)) as stream:
        first = await anext(stream)

    assert first == TextDelta("You ")


async def test_an_unknown_script_names_those_that_there_are() -> None:
    heard = await say("Hello", model="opera")

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.UNKNOWN_MODEL
    assert all(f"scripted:{name}" in heard.error.message for name in MODELS)


@pytest.mark.parametrize("model", ["demo", "echo"])
async def test_searching_a_very_long_message_takes_no_time_to_speak_of(model: str) -> None:
    async with asyncio.timeout(2):
        heard = await say("what my is " * 2_900, "Noted.", "what my name is " * 2_000, model=model)

    assert heard.error is None


@settings(max_examples=30)
@given(texts=st.lists(st.text(max_size=40), max_size=5), limit=st.none() | st.integers(1, 20))
def test_the_same_conversation_gets_the_same_answer(texts: list[str], limit: int | None) -> None:
    first, second = (asyncio.run(say(*texts, output_tokens_max=limit)) for _ in range(2))

    assert first == second
    assert first.finished is not None
    assert first.finished.usage is not None
    assert first.finished.usage.output_tokens == estimate_text_tokens(first.text)


@settings(max_examples=50)
@given(text=st.text(min_size=1, max_size=60))
def test_deltas_join_to_the_whole_text(text: str) -> None:
    heard = asyncio.run(say(text, model="echo"))

    assert heard.text == text
