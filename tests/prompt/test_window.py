"""What the model is shown of a conversation."""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.agents.definition import START_NODE, Definition, Greeting, Limits
from api.models.base import Message
from api.models.tokens import estimate_input_tokens
from api.prompt.frame import Frame, of_reply
from api.prompt.window import (
    CUT_OFF,
    CUT_OFF_BEFORE_IT_BEGAN,
    Prompt,
    build,
    build_from_pages,
    context_budget,
)
from api.session.document import Reply, Turn, TurnError, TurnState, UserMessage

NOW = datetime(2026, 11, 20, tzinfo=UTC)
AGENT = Definition(model="scripted:demo", instructions="Be kind.")


def make_turn(
    position: int,
    said: str | None = "Hello",
    *replies: str,
    state: TurnState = TurnState.COMPLETED,
    speaker: str | None = None,
    by: str = "assistant",
) -> Turn:
    return Turn(
        id=f"trn_{position}",
        branch=0,
        position=position,
        state=state,
        revision=position + 1,
        created_at=NOW,
        user_message=None if said is None else UserMessage(text=said, speaker=speaker),
        replies=tuple(Reply(speaker=by, text=text, created_at=NOW) for text in replies),
        error=TurnError(code="timeout", message="Too slow.") if state is TurnState.FAILED else None,
    )


def make_prompt(*turns: Turn, definition: Definition = AGENT, **fields: Any) -> Prompt:
    """The prompt for the last of the turns, which are in the order of their positions."""
    *earlier, current = turns
    return build(
        definition,
        current,
        reversed(earlier),
        frame=framed(current, definition),
        **{"model": "demo", "context_tokens": None, **fields},
    )


def framed(current: Turn, definition: Definition = AGENT) -> Frame:
    """The frame of a turn's first call."""
    node = definition.node(START_NODE)
    assert node is not None
    return of_reply(definition, node, current, context={}, variables={})


def shown(prompt: Prompt) -> list[str]:
    return [f"{message.role}: {message.text}" for message in prompt.request.messages]


def pending(position: int, said: str | None = "Now") -> Turn:
    return make_turn(position, said, state=TurnState.PENDING)


def test_turns_are_shown_oldest_first_and_the_current_message_last() -> None:
    prompt = make_prompt(make_turn(0, None, "Welcome."), make_turn(1, "One", "Yes"), pending(2))

    assert shown(prompt) == ["assistant: Welcome.", "user: One", "assistant: Yes", "user: Now"]
    assert prompt.request.instructions == "Be kind."
    assert prompt.request.model == "demo"
    assert (prompt.first_turn_id, prompt.last_turn_id) == ("trn_0", "trn_2")


def test_neither_words_nor_partial_text_of_a_failed_turn_are_shown() -> None:
    failed = make_turn(1, "Secret", "Half a", state=TurnState.FAILED)

    prompt = make_prompt(make_turn(0, "One", "Yes"), failed, pending(2))

    assert shown(prompt) == ["user: One", "assistant: Yes", "user: Now"]


def test_a_cancelled_turn_is_shown_as_cut_off() -> None:
    spoken = make_turn(0, "One", "Well, I", state=TurnState.CANCELLED)
    silent = make_turn(1, "Two", state=TurnState.CANCELLED)

    prompt = make_prompt(spoken, silent, pending(2))

    assert shown(prompt) == [
        "user: One",
        f"assistant: Well, I\n{CUT_OFF}",
        "user: Two",
        f"assistant: {CUT_OFF_BEFORE_IT_BEGAN}",
        "user: Now",
    ]


def test_only_the_last_reply_of_a_cancelled_turn_was_cut_off() -> None:
    prompt = make_prompt(make_turn(0, "One", "Whole.", "Ha", state=TurnState.CANCELLED), pending(1))

    assert shown(prompt)[1:3] == ["assistant: Whole.", f"assistant: Ha\n{CUT_OFF}"]


def test_a_greeting_that_was_cancelled_before_it_began_is_not_shown() -> None:
    prompt = make_prompt(make_turn(0, None, state=TurnState.CANCELLED), pending(1))

    assert shown(prompt) == ["user: Now"]
    assert prompt.first_turn_id == "trn_1"


def test_turns_that_are_not_final_are_not_shown() -> None:
    prompt = make_prompt(pending(0, "Waiting"), pending(1))

    assert shown(prompt) == ["user: Now"]


def test_a_reply_without_text_is_not_shown() -> None:
    prompt = make_prompt(make_turn(0, "One", ""), pending(1))

    assert shown(prompt) == ["user: One", "user: Now"]


def test_names_are_shown_only_where_the_role_does_not_tell() -> None:
    host = Definition(model="scripted:demo", speaker="Ada")
    own = make_turn(0, "One", "Mine", by="Ada")
    guest = make_turn(1, "Two", "Theirs", by="Grace", speaker="Bo")

    prompt = make_prompt(own, guest, pending(2), definition=host)

    assert [message.name for message in prompt.request.messages] == [None, None, "Bo", "Grace", None]


def test_a_generated_greeting_has_instructions_of_its_own_and_no_message() -> None:
    agent = Definition(
        model="scripted:demo",
        instructions="Be kind.",
        greeting=Greeting(generate=True, instructions="Greet in French."),
    )

    greeting = make_prompt(pending(0, None), definition=agent)
    later = make_prompt(pending(1), definition=agent)

    assert greeting.request.instructions == "Be kind.\n\nGreet in French."
    assert greeting.request.messages == ()
    assert later.request.instructions == "Be kind."


def test_a_greeting_without_instructions_of_its_own_takes_the_agents() -> None:
    agent = Definition(model="scripted:demo", instructions="Be kind.", greeting=Greeting(generate=True))

    assert make_prompt(pending(0, None), definition=agent).request.instructions == "Be kind."


def test_limits_and_temperature_go_into_the_request() -> None:
    agent = Definition(model="scripted:demo", limits=Limits(output_tokens=50), temperature=0.5)

    own = make_prompt(pending(0), definition=agent, output_tokens_max=99).request
    default = make_prompt(pending(0), output_tokens_max=99).request

    assert (own.output_tokens_max, own.temperature) == (50, 0.5)
    assert (default.output_tokens_max, default.temperature) == (99, None)


def test_reading_stops_at_the_first_turn_that_does_not_fit() -> None:
    turns = [
        make_turn(0, "tiny", "x"),
        make_turn(1, "y" * 4_000, "z"),
        make_turn(2, "Two", "Yes"),
        pending(3),
    ]
    seen: list[str] = []

    def backwards() -> Iterator[Turn]:
        for turn in reversed(turns[:-1]):
            seen.append(turn.id)
            yield turn

    prompt = build(AGENT, turns[-1], backwards(), frame=framed(turns[-1]), model="demo", context_tokens=500)

    assert shown(prompt) == ["user: Two", "assistant: Yes", "user: Now"]
    assert prompt.first_turn_id == "trn_2"
    assert seen == ["trn_2", "trn_1"]


def test_the_current_message_is_shown_even_where_it_does_not_fit() -> None:
    prompt = make_prompt(make_turn(0, "One", "Yes"), pending(1, "x" * 4_000), context_tokens=256)

    assert shown(prompt) == ["user: " + "x" * 4_000]


def test_the_budget_for_an_unknown_window_can_be_set() -> None:
    assert context_budget(AGENT, window_tokens=None, context_tokens_default=5_000) == 5_000


async def test_no_page_is_asked_for_behind_the_one_where_the_budget_ends() -> None:
    turns = [make_turn(number, "x" * 400, "y" * 400) for number in range(10)]
    asked = 0

    async def pages() -> AsyncIterator[Sequence[Turn]]:
        nonlocal asked
        for end in range(10, 0, -2):
            asked += 1
            yield turns[end - 2 : end][::-1]

    prompt = await build_from_pages(
        AGENT, pending(10), pages(), frame=framed(pending(10)), model="demo", context_tokens=700
    )

    assert prompt.first_turn_id == "trn_7"
    assert asked == 2


async def test_pages_and_a_plain_row_of_turns_give_the_same_prompt() -> None:
    turns = [make_turn(number, f"said {number}", f"reply {number}") for number in range(5)]

    async def pages() -> AsyncIterator[Sequence[Turn]]:
        yield turns[:1:-1]
        yield turns[1::-1]

    paged = await build_from_pages(
        AGENT, pending(5), pages(), frame=framed(pending(5)), model="demo", context_tokens=9_000
    )

    assert paged == make_prompt(*turns, pending(5), context_tokens=9_000)


TEXTS = st.text(alphabet="ab c\u00e9\u4e2d", min_size=1, max_size=60)
TURNS = st.lists(
    st.tuples(TEXTS, TEXTS, st.sampled_from([TurnState.COMPLETED, TurnState.FAILED, TurnState.CANCELLED])),
    max_size=12,
)


@settings(max_examples=100)
@given(drawn=TURNS, context_tokens=st.integers(20, 200))
def test_a_prompt_can_be_rendered_again_from_its_first_and_last_turn(
    drawn: list[tuple[str, str, TurnState]], context_tokens: int
) -> None:
    turns = [make_turn(n, said, reply, state=state) for n, (said, reply, state) in enumerate(drawn)]
    current = pending(len(turns))
    prompt = make_prompt(*turns, current, context_tokens=context_tokens)

    stretch = [turn for turn in turns if turn.position >= int(prompt.first_turn_id.removeprefix("trn_"))]
    again = make_prompt(*stretch, make_turn(current.position, "Now", "Said since"))

    assert again.request == prompt.request
    assert again.sha256 == prompt.sha256


@settings(max_examples=100)
@given(drawn=TURNS, context_tokens=st.integers(20, 200))
def test_a_prompt_holds_the_newest_turns_within_its_budget(
    drawn: list[tuple[str, str, TurnState]], context_tokens: int
) -> None:
    turns = [make_turn(n, said, reply, state=state) for n, (said, reply, state) in enumerate(drawn)]
    whole = make_prompt(*turns, pending(len(turns)))
    prompt = make_prompt(*turns, pending(len(turns)), context_tokens=context_tokens)

    assert prompt.estimated_tokens == estimate_input_tokens(prompt.request) <= context_tokens
    assert whole.request.messages[len(whole.request.messages) - len(prompt.request.messages) :] == (
        prompt.request.messages
    )


def test_another_request_has_another_digest() -> None:
    first = make_prompt(pending(0, "One"))
    second = make_prompt(pending(0, "Two"))

    assert first.sha256 != second.sha256
    assert first.request.messages == (Message(role="user", text="One"),)


@pytest.mark.parametrize(
    ("limits", "window_tokens", "output_tokens_max", "budget"),
    [
        (Limits(context_tokens=1_000), 400_000, None, 1_000),
        (Limits(output_tokens=8_000), 128_000, None, 90_000),
        (Limits(output_tokens=8_000), 128_000, 2_000, 90_000),
        (Limits(), 128_000, 8_000, 90_000),
        (Limits(), 128_000, None, (128_000 - 4_096) * 3 // 4),
        (Limits(output_tokens=8_000), None, None, 32_000),
        (Limits(), 2_000, None, 750),
        (Limits(output_tokens=500_000), 128_000, None, 256),
    ],
)
def test_the_budget_is_what_the_window_leaves(
    limits: Limits, window_tokens: int | None, output_tokens_max: int | None, budget: int
) -> None:
    agent = Definition(model="scripted:demo", limits=limits)

    assert context_budget(agent, window_tokens=window_tokens, output_tokens_max=output_tokens_max) == budget
