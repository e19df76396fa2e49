"""Tools, reasoning and structured answers: what all network clients have in common."""

import pytest

from api.models.base import FinishReason, ModelClient, ModelErrorCode
from api.models.messages import NO_RESULT_TEXT
from api.models.registry import Models
from api.models.tool_calls import CALLS_MAX
from tests.models.asking import BOOK, LOOKUP, MONDAY, answered, asked, user
from tests.models.calls import call
from tests.providers.server import FakeProvider, Plan, PlannedCall

PROVIDERS = ["openai", "anthropic", "local"]
LOOKS_UP = PlannedCall(name="lookup", arguments=MONDAY)
BOOKS = PlannedCall(name="go_to_booking", arguments="")


@pytest.fixture(params=PROVIDERS)
def client(models: Models, request: pytest.FixtureRequest) -> ModelClient:
    return models.resolve(f"{request.param}:m-1")[0]


@pytest.fixture(params=PROVIDERS)
def impatient(impatient_models: Models, request: pytest.FixtureRequest) -> ModelClient:
    return impatient_models.resolve(f"{request.param}:m-1")[0]


async def test_calls_come_whole_and_in_order(client: ModelClient, provider: FakeProvider) -> None:
    provider.plans.append(Plan(calls=(LOOKS_UP, BOOKS, LOOKS_UP)))

    heard = await call(client, tools=(LOOKUP, BOOK))

    assert heard.calls == [("lookup", MONDAY), ("go_to_booking", ""), ("lookup", MONDAY)]
    assert [made.id for made in heard.asked] == ["call_1", "call_2", "call_3"]
    assert heard.finished is not None
    assert heard.finished.finish_reason is FinishReason.TOOL_CALLS
    assert heard.text == ""
    assert heard.finished.usage is not None


async def test_text_before_calls_streams_as_always(client: ModelClient, provider: FakeProvider) -> None:
    provider.plans.append(Plan(text="One moment.", calls=(LOOKS_UP,)))

    heard = await call(client, tools=(LOOKUP,))

    assert heard.text == "One moment."
    assert heard.delta_count == 2
    assert heard.calls == [("lookup", MONDAY)]


async def test_arguments_are_the_text_that_the_model_wrote(
    client: ModelClient, provider: FakeProvider
) -> None:
    written = '{"day": "mon\\u0064ay", ?'
    provider.plans.append(Plan(calls=(PlannedCall(name="lookup", arguments=written),)))

    heard = await call(client, tools=(LOOKUP,))

    assert heard.calls == [("lookup", written)]


async def test_what_cannot_be_stored_is_replaced_in_calls_too(
    client: ModelClient, provider: FakeProvider
) -> None:
    odd = PlannedCall(name="look\x00up", arguments='{"day":"\ud83d\ude00\x00"}')
    provider.plans.append(Plan(calls=(odd,), call_characters=1))

    heard = await call(client, tools=(LOOKUP,))

    assert heard.calls == [("look�up", '{"day":"\U0001f600�"}')]


async def test_calls_in_a_noisy_stream_that_finishes_with_stop_are_calls(
    client: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(calls=(LOOKS_UP,), is_noisy=True, stops_after_calls=True))

    heard = await call(client, tools=(LOOKUP,))

    assert heard.calls == [("lookup", MONDAY)]
    assert heard.finished is not None
    assert heard.finished.finish_reason is FinishReason.TOOL_CALLS


async def test_calls_cut_short_by_the_output_limit_are_none(
    client: ModelClient, provider: FakeProvider
) -> None:
    reason = "max_tokens" if client.provider == "anthropic" else "length"
    provider.plans.append(Plan(text="Well", calls=(LOOKS_UP,), finish_reason=reason))

    heard = await call(client, tools=(LOOKUP,))

    assert heard.calls == []
    assert heard.finished is not None
    assert heard.finished.finish_reason is FinishReason.LENGTH


async def test_a_finish_for_calls_without_any_is_of_another_kind(
    client: ModelClient, provider: FakeProvider
) -> None:
    reason = "tool_use" if client.provider == "anthropic" else "tool_calls"
    provider.plans.append(Plan(words=2, finish_reason=reason))

    heard = await call(client, tools=(LOOKUP,))

    assert heard.finished is not None
    assert heard.finished.finish_reason is FinishReason.OTHER


@pytest.mark.parametrize("after", [1, 3])
async def test_a_break_between_pieces_of_a_call_is_a_broken_stream_and_not_repeated(
    client: ModelClient, provider: FakeProvider, after: int
) -> None:
    provider.plans.append(Plan(calls=(LOOKS_UP,), cut_after=after))

    heard = await call(client, tools=(LOOKUP,))

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.STREAM_BROKEN
    assert len(provider.requests) == 1


async def test_an_end_between_pieces_of_a_call_is_a_broken_stream(
    client: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(calls=(LOOKS_UP,), ends_after=2))

    heard = await call(client, tools=(LOOKUP,))

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.STREAM_BROKEN


async def test_an_overload_told_between_pieces_of_a_call_is_not_repeated(
    client: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(calls=(LOOKS_UP,), error_after=2, error_type="overloaded_error"))

    heard = await call(client, tools=(LOOKUP,))

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.PROVIDER_UNAVAILABLE
    assert len(provider.requests) == 1


async def test_a_refusal_before_any_call_is_repeated(client: ModelClient, provider: FakeProvider) -> None:
    provider.plans.extend([Plan(status=529, retry_after="0"), Plan(calls=(LOOKS_UP,))])

    heard = await call(client, tools=(LOOKUP,))

    assert heard.calls == [("lookup", MONDAY)]
    assert len(provider.requests) == 2


async def test_a_stream_of_nothing_but_pieces_of_calls_does_not_stall(
    impatient: ModelClient, provider: FakeProvider
) -> None:
    """It lasts longer than the limit for silence."""
    provider.plans.append(Plan(calls=(LOOKS_UP,) * 2, call_characters=3, delay_ms=50))

    heard = await call(impatient, tools=(LOOKUP,))

    assert len(heard.calls) == 2


async def test_silence_between_pieces_of_a_call_meets_its_limit(
    impatient: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(calls=(LOOKS_UP,), stall_after=2))

    heard = await call(impatient, tools=(LOOKUP,))

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.TIMEOUT
    assert "0.3 seconds" in heard.error.message


async def test_a_break_behind_the_finish_reason_loses_no_call(
    client: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(calls=(LOOKS_UP,), cuts_after_finish=True))

    heard = await call(client, tools=(LOOKUP,))

    assert heard.calls == [("lookup", MONDAY)]


async def test_more_calls_than_anybody_needs_are_an_answer_cut_off(
    client: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(calls=(LOOKS_UP,) * (CALLS_MAX + 1), stall_after=10_000))

    heard = await call(client, tools=(LOOKUP,))

    assert heard.calls == []
    assert heard.finished is not None
    assert heard.finished.finish_reason is FinishReason.LENGTH


async def test_reasoning_is_told_apart_from_the_text(client: ModelClient, provider: FakeProvider) -> None:
    provider.plans.append(Plan(reasoning="Let me think.", text="Done.", reasoning_tokens=7))

    heard = await call(client)

    assert heard.reasoning == "Let me think."
    assert heard.text == "Done."
    assert heard.finished is not None
    assert heard.finished.usage is not None
    assert heard.finished.usage.output_tokens == 8


async def test_a_call_that_breaks_after_reasoning_is_not_repeated(
    client: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(reasoning="Let me", error_after=1, error_type="overloaded_error"))

    heard = await call(client)

    assert heard.error is not None
    assert heard.reasoning == "Let "
    assert len(provider.requests) == 1


async def test_no_tools_are_sent_when_there_are_none(client: ModelClient, provider: FakeProvider) -> None:
    await call(client)

    assert "tools" not in provider.requests[0].body
    assert "tool_choice" not in provider.requests[0].body


@pytest.mark.parametrize("tools", [(LOOKUP, BOOK), ()], ids=["with tools", "without tools"])
async def test_a_conversation_with_calls_is_accepted(
    client: ModelClient, provider: FakeProvider, tools: tuple[object, ...]
) -> None:
    """The fake provider refuses what the real one does: results out of place, calls without tools."""
    messages = (
        user("What about monday?"),
        asked("lookup", "lookup", text="One moment."),
        answered("rain", 2),
        answered("sun", 1),
        asked("lookup", arguments="{?"),
        answered("unreadable"),
        user("And now?"),
        asked("go_to_booking", first_id=3, arguments=""),
    )

    heard = await call(client, messages=messages, tools=tools)

    assert heard.error is None
    sent = str(provider.requests[0].body["messages"])
    assert sent.index("sun") < sent.index("rain") < sent.index("unreadable") < sent.index("And now?")
    assert sent.index("And now?") < sent.index(NO_RESULT_TEXT)
