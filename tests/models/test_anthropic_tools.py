"""What only Anthropic's Messages API has of tools, thinking and structured answers."""

from typing import Any

import pytest

from api.models.anthropic_body import OUTPUT_TOKENS_DEFAULT, make_body
from api.models.base import FinishReason, Message, ModelClient, ModelErrorCode
from api.models.messages import NO_RESULT_TEXT
from api.models.registry import Models
from tests.models.asking import LOOKUP, LOOSE, MONDAY, PERSON, answered, asked, user
from tests.models.calls import call, made_request
from tests.providers.server import FakeProvider, Plan, PlannedCall

BUDGETED = ["claude-sonnet-4-5", "claude-haiku-4-5-20251001", "claude-opus-4-20250514", "claude-3-7-sonnet-1"]
ADAPTIVE = ["claude-opus-4-6", "claude-sonnet-5", "claude-haiku-5-5"]


@pytest.fixture
def client(models: Models) -> ModelClient:
    return models.resolve("anthropic:m-1")[0]


async def test_tools_are_sent_with_their_schemas(client: ModelClient, provider: FakeProvider) -> None:
    await call(client, tools=(LOOKUP,))

    body = provider.requests[0].body
    assert body["tools"] == [
        {"name": "lookup", "description": "What a day brings.", "input_schema": LOOKUP.parameters}
    ]
    assert "tool_choice" not in body


async def test_results_open_the_message_behind_their_calls(
    client: ModelClient, provider: FakeProvider
) -> None:
    messages = (
        user("Monday?"),
        asked("lookup", "lookup", text="One moment."),
        answered("rain", 2),
        answered("sun", 1),
        user("Really?"),
    )

    await call(client, messages=messages, tools=(LOOKUP,))

    monday = {"day": "monday"}
    assert provider.requests[0].body["messages"] == [
        {"role": "user", "content": "Monday?"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "One moment."},
                {"type": "tool_use", "id": "call_1", "name": "lookup", "input": monday},
                {"type": "tool_use", "id": "call_2", "name": "lookup", "input": monday},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "sun"},
                {"type": "tool_result", "tool_use_id": "call_2", "content": "rain"},
                {"type": "text", "text": "Really?"},
            ],
        },
    ]


async def test_calls_are_declared_and_forbidden_where_no_tools_are_offered(
    client: ModelClient, provider: FakeProvider
) -> None:
    messages = (user("Monday?"), asked("lookup"), answered("rain"))

    heard = await call(client, messages=messages)

    body = provider.requests[0].body
    assert heard.error is None
    assert body["tools"] == [{"name": "lookup", "input_schema": {"type": "object"}}]
    assert body["tool_choice"] == {"type": "none"}


async def test_ids_of_other_providers_are_sent_in_characters_that_it_takes(
    client: ModelClient, provider: FakeProvider
) -> None:
    odd = Message(role="tool", text="rain", tool_call_id="call.1/ä")
    asking = asked("lookup")
    (one,) = asking.tool_calls
    asking = Message(
        role="assistant", text="", tool_calls=(type(one)(id="call.1/ä", name="lookup", arguments=MONDAY),)
    )

    heard = await call(client, messages=(user("Monday?"), asking, odd), tools=(LOOKUP,))

    assert heard.error is None
    sent = provider.requests[0].body["messages"]
    assert sent[1]["content"][0]["id"] == sent[2]["content"][0]["tool_use_id"]
    assert sent[1]["content"][0]["id"].replace("_", "").isalnum()
    assert sent[1]["content"][0]["id"].isascii()


async def test_an_unanswered_call_gets_a_result_that_says_so(
    client: ModelClient, provider: FakeProvider
) -> None:
    heard = await call(client, messages=(user("Monday?"), asked("lookup")), tools=(LOOKUP,))

    assert heard.error is None
    assert provider.requests[0].body["messages"][-1]["content"][0]["content"] == NO_RESULT_TEXT


async def test_a_call_without_arguments_has_none(client: ModelClient, provider: FakeProvider) -> None:
    provider.plans.append(Plan(text="So.", calls=(PlannedCall(name="lookup", arguments=""),)))

    heard = await call(client, tools=(LOOKUP,))

    assert heard.calls == [("lookup", "")]
    assert heard.finished is not None
    assert heard.finished.finish_reason is FinishReason.TOOL_CALLS


@pytest.mark.parametrize(
    "garbage",
    [
        '{"type": "content_block_start", "index": 9, "content_block": {"type": "tool_use", "id": 7}}',
        '{"type": "content_block_start", "content_block": {"type": "tool_use", "name": "lookup"}}',
        '{"type": "content_block_delta", "index": 8, "delta": {"type": "input_json_delta"}}',
        '{"type": "content_block_delta", "index": 8, "delta": '
        '{"type": "input_json_delta", "partial_json": 7}}',
        '{"type": "content_block_delta", "index": 8, "delta": {"type": "thinking_delta", "thinking": null}}',
    ],
)
async def test_what_is_no_call_is_passed_over(
    client: ModelClient, provider: FakeProvider, garbage: str
) -> None:
    provider.plans.append(Plan(words=2, garbage_after=1, garbage=garbage))

    heard = await call(client, tools=(LOOKUP,))

    assert heard.error is None
    assert heard.text == "word0 word1 "
    assert heard.calls == []


def body_of(**fields: Any) -> dict[str, Any]:
    return make_body(made_request(**fields))


@pytest.mark.parametrize("model", BUDGETED)
@pytest.mark.parametrize(("effort", "budget"), [("low", 1_024), ("medium", 4_096), ("high", 16_384)])
def test_older_models_think_within_a_budget_beside_the_reply(model: str, effort: str, budget: int) -> None:
    body = body_of(model=model, reasoning=effort, temperature=0.5)

    assert body["thinking"]["type"] == "enabled"
    assert body["thinking"]["budget_tokens"] == budget
    assert body["max_tokens"] == OUTPUT_TOKENS_DEFAULT + budget
    assert "extra_body" not in body


@pytest.mark.parametrize(
    ("limit", "budget"), [(100_000, 16_384), (8_000, 4_000), (2_048, 1_024), (500, None)]
)
def test_an_output_limit_holds_for_thinking_and_reply_together(limit: int, budget: int | None) -> None:
    body = body_of(model=BUDGETED[0], reasoning="high", output_tokens_max=limit)

    assert body["max_tokens"] == limit
    assert body.get("thinking", {}).get("budget_tokens") == budget


@pytest.mark.parametrize("said", [(), (user("Really?"),)], ids=["results last", "words behind them"])
def test_older_models_do_not_think_while_they_go_on_after_results(said: tuple[Message, ...]) -> None:
    messages = (user("Monday?"), asked("lookup"), answered("rain"), *said)

    going_on = body_of(model=BUDGETED[0], reasoning="high", messages=messages, tools=(LOOKUP,))
    later = body_of(
        model=BUDGETED[0],
        reasoning="high",
        messages=(*messages, Message(role="assistant", text="Rain."), user("Thanks.")),
        tools=(LOOKUP,),
    )

    assert "thinking" not in going_on
    assert later["thinking"]["type"] == "enabled"


@pytest.mark.parametrize("model", ADAPTIVE)
def test_newer_models_are_told_an_effort_and_may_be_told_not_to_think(model: str) -> None:
    messages = (user("Monday?"), asked("lookup"), answered("rain"))

    high = body_of(model=model, reasoning="high", messages=messages, tools=(LOOKUP,), temperature=0.5)
    off = body_of(model=model, reasoning="off", temperature=0.5)

    assert high["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert high["output_config"] == {"effort": "high"}
    assert high["max_tokens"] == OUTPUT_TOKENS_DEFAULT
    assert "extra_body" not in high
    assert off["thinking"] == {"type": "disabled"}
    assert off["extra_body"] == {"temperature": 0.5}
    assert "output_config" not in off


def test_a_model_that_always_thinks_is_told_the_least_effort() -> None:
    body = body_of(model="claude-mythos-5", reasoning="off")

    assert body["thinking"]["type"] == "adaptive"
    assert body["output_config"] == {"effort": "low"}


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "claude-3-5-haiku-latest", "reasoning": "high"},
        {"model": "claude-sonnet-5"},
        {"model": "claude-sonnet-4-5", "reasoning": "off"},
    ],
    ids=str,
)
def test_nothing_is_said_of_thinking_where_nothing_needs_to_be(fields: dict[str, Any]) -> None:
    assert "thinking" not in body_of(**fields)


async def test_thinking_within_a_budget_is_accepted(client: ModelClient, provider: FakeProvider) -> None:
    model = "claude-sonnet-4-5-20991231"  # the SDK warns of those that exist and are to go
    messages = (user("Monday?"), asked("lookup"), answered("rain"), user("Really?"))

    first = await call(client, model=model, reasoning="high", temperature=0.2)
    going_on = await call(client, model=model, reasoning="high", messages=messages, tools=(LOOKUP,))

    assert (first.error, going_on.error) == (None, None)
    assert "thinking" in provider.requests[0].body


async def test_a_strict_schema_is_the_format_of_the_answer(
    client: ModelClient, provider: FakeProvider
) -> None:
    await call(client, answer_schema=PERSON, model="claude-sonnet-5", reasoning="low")

    body = provider.requests[0].body
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": PERSON}, "effort": "low"}
    assert "system" not in body


@pytest.mark.parametrize(
    ("model", "schema"), [("claude-sonnet-5", LOOSE), ("claude-3-7-sonnet-latest", PERSON)]
)
def test_any_other_schema_is_asked_for_in_words(model: str, schema: dict[str, Any]) -> None:
    body = body_of(model=model, answer_schema=schema, instructions="Be kind.")

    assert "output_config" not in body
    assert body["system"].startswith("Be kind.\n\nAnswer with one JSON document")


def test_a_schema_of_too_many_alternatives_is_asked_for_in_words() -> None:
    def schema(count: int) -> dict[str, Any]:
        names = [f"v{number}" for number in range(count)]
        properties = {name: {"type": ["string", "null"]} for name in names}
        return {**PERSON, "properties": properties, "required": names}

    few = body_of(model="claude-sonnet-5", answer_schema=schema(16))
    many = body_of(model="claude-sonnet-5", answer_schema=schema(17))

    assert "output_config" in few
    assert "output_config" not in many
    assert '"v16"' in many["system"]


async def test_a_schema_that_is_refused_is_asked_for_again_in_words(
    client: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(status=400, error_message="The compiled grammar is too large."))

    first = await call(client, answer_schema=PERSON)
    second = await call(client, answer_schema=PERSON)

    assert (first.error, second.error) == (None, None)
    assert ["output_config" in request.body for request in provider.requests] == [True, False, False]
    assert "additionalProperties" in provider.requests[1].body["system"]


async def test_any_other_refusal_of_a_request_with_a_schema_is_told(
    client: ModelClient, provider: FakeProvider
) -> None:
    provider.plans.append(Plan(status=400, error_message="max_tokens: too large"))

    heard = await call(client, answer_schema=PERSON)

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.BAD_REQUEST
    assert len(provider.requests) == 1
