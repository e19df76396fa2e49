"""What only chat completions have of tools, reasoning and structured answers."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.models.base import ModelClient, ModelErrorCode
from api.models.limits import CallLimits
from api.models.openai_body import make_body
from api.models.openai_compatible import OpenAICompatibleClient
from api.models.registry import Models
from tests.models.asking import BOOK, LOOKUP, LOOSE, MONDAY, PERSON, answered, asked, user
from tests.models.calls import call, made_request
from tests.providers.plan import CallStyle
from tests.providers.server import FakeProvider, Plan, PlannedCall

ALL = (PlannedCall(name="lookup", arguments=MONDAY), PlannedCall(name="go_to_booking", arguments="{}"))


@pytest.fixture
def local(models: Models) -> ModelClient:
    return models.resolve("local:m-1")[0]


@pytest.fixture
async def openai(provider: FakeProvider) -> AsyncIterator[ModelClient]:
    """A client that takes the server for OpenAI's own."""
    client = OpenAICompatibleClient(
        provider="openai",
        base_url=f"{provider.base_url}/v1",
        api_key="sk-test",
        limits=CallLimits(),
        is_openai=True,
    )
    yield client
    await client.close()


@pytest.mark.parametrize(
    "style",
    [
        "plain",
        "names_repeated",
        "ids_renewed",
        "no_ids",
        "no_index",
        "bare",
        "index_zero",
        "whole",
        "whole_bare",
        "objects",
        "said_twice",
    ],
)
async def test_calls_are_put_together_whatever_the_servers_habits(
    local: ModelClient, provider: FakeProvider, style: CallStyle
) -> None:
    provider.plans.append(Plan(calls=ALL, call_style=style))

    heard = await call(local, tools=(LOOKUP, BOOK))

    assert heard.calls == [(planned.name, planned.arguments) for planned in ALL]
    assert len({made.id for made in heard.asked}) == len(ALL)
    assert all(made.id for made in heard.asked)


@pytest.mark.parametrize("style", ["plain", "no_ids", "whole_bare", "index_zero"])
async def test_two_calls_of_one_tool_stay_two(
    local: ModelClient, provider: FakeProvider, style: CallStyle
) -> None:
    tuesday = PlannedCall(name="lookup", arguments='{"day":"tuesday"}')
    provider.plans.append(Plan(calls=(ALL[0], tuesday), call_style=style))

    heard = await call(local, tools=(LOOKUP,))

    assert heard.calls == [("lookup", MONDAY), ("lookup", tuesday.arguments)]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_reasoning_is_read_from_either_field(
    local: ModelClient, provider: FakeProvider, field: Any
) -> None:
    provider.plans.append(Plan(reasoning="Hm, so.", reasoning_field=field, words=1))

    assert (await call(local)).reasoning == "Hm, so."


async def test_tools_are_sent_as_functions(openai: ModelClient, provider: FakeProvider) -> None:
    await call(openai, tools=(LOOKUP,))

    (tool,) = provider.requests[0].body["tools"]
    assert tool["type"] == "function"
    assert tool["function"] == {
        "name": "lookup",
        "description": "What a day brings.",
        "parameters": LOOKUP.parameters,
    }


async def test_calls_and_results_are_sent_in_their_own_messages(
    openai: ModelClient, provider: FakeProvider
) -> None:
    messages = (user("Monday?"), asked("lookup", text="One moment."), answered("rain"), user("Really?"))

    await call(openai, messages=messages, tools=(LOOKUP,))

    assert provider.requests[0].body["messages"] == [
        {"role": "user", "content": "Monday?"},
        {
            "role": "assistant",
            "content": "One moment.",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "lookup", "arguments": MONDAY}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        {"role": "user", "content": "Really?"},
    ]


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [("", "{}"), ("{?", '{"unreadable":"{?"}'), ("[1]", '{"unreadable":"[1]"}'), (MONDAY, MONDAY)],
)
async def test_arguments_go_back_as_an_object(
    local: ModelClient, provider: FakeProvider, arguments: str, sent: str
) -> None:
    messages = (user("Monday?"), asked("lookup", arguments=arguments), answered("no"))

    await call(local, messages=messages, tools=(LOOKUP,))

    assert provider.requests[0].body["messages"][1]["tool_calls"][0]["function"]["arguments"] == sent


async def test_a_server_that_is_offered_no_tools_is_told_of_calls_in_words(
    local: ModelClient, provider: FakeProvider
) -> None:
    messages = (user("Monday?"), asked("lookup", text="One moment."), answered("rain"), user("Really?"))

    await call(local, messages=messages)

    assert provider.requests[0].body["messages"] == [
        {"role": "user", "content": "Monday?"},
        {"role": "assistant", "content": f"One moment.\n\n[Called lookup with {MONDAY}]"},
        {"role": "user", "content": "[lookup answered]\nrain\n\nReally?"},
    ]


@pytest.mark.parametrize(("schema", "is_strict"), [(PERSON, True), (LOOSE, False)])
async def test_openai_is_asked_for_a_schema_strictly_where_it_can_be(
    openai: ModelClient, provider: FakeProvider, schema: dict[str, Any], is_strict: bool
) -> None:
    await call(openai, answer_schema=schema, tools=(LOOKUP,))

    body = provider.requests[0].body
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": is_strict},
    }
    assert body["messages"][0]["role"] == "user"


async def test_openai_is_asked_in_words_for_what_is_no_object(
    openai: ModelClient, provider: FakeProvider
) -> None:
    await call(openai, answer_schema={"type": "array"}, instructions="Be kind.")

    body = provider.requests[0].body
    assert "response_format" not in body
    assert body["messages"][0]["content"].startswith("Be kind.\n\nAnswer with one JSON document")


async def test_other_servers_are_shown_the_schema_and_held_to_it_unless_they_may_call_tools(
    local: ModelClient, provider: FakeProvider
) -> None:
    await call(local, answer_schema=PERSON)
    await call(local, answer_schema=PERSON, tools=(LOOKUP,))

    alone, with_tools = (request.body for request in provider.requests)
    assert alone["response_format"]["json_schema"]["schema"] == PERSON
    assert "response_format" not in with_tools
    assert all('"additionalProperties":false' in b["messages"][0]["content"] for b in (alone, with_tools))


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("name", ["local", "openai"])
async def test_a_server_that_refuses_the_schema_is_asked_again_in_words_alone(
    local: ModelClient, openai: ModelClient, provider: FakeProvider, name: str, status: int
) -> None:
    client = {"local": local, "openai": openai}[name]
    refusal = Plan(status=status, error_message="This response_format type is unavailable now")
    provider.plans.append(refusal)

    first = await call(client, answer_schema=PERSON)
    second = await call(client, answer_schema=PERSON)
    other = await call(client, answer_schema=LOOSE)

    assert [heard.error for heard in (first, second, other)] == [None] * 3
    bodies = [sent.body for sent in provider.requests]
    assert ["response_format" in body for body in bodies] == [True, False, False, True]
    assert "additionalProperties" in bodies[1]["messages"][0]["content"]


async def test_any_other_refusal_of_a_schema_is_told(local: ModelClient, provider: FakeProvider) -> None:
    provider.plans.append(Plan(status=400, error_message="no such model size"))

    heard = await call(local, answer_schema=PERSON)

    assert heard.error is not None
    assert heard.error.code is ModelErrorCode.BAD_REQUEST
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("model", "reasoning", "sent"),
    [
        ("gpt-5-mini", "high", "high"),
        ("gpt-5-mini", "off", "minimal"),
        ("gpt-5.1", "off", "none"),
        ("gpt-6", "off", "none"),
        ("o3-mini", "off", "low"),
        ("gpt-5.1-codex", "off", "low"),
        ("gpt-5.1-chat-latest", "low", None),
        ("gpt-5-pro", "off", None),
        ("gpt-4o", "off", None),
        ("gpt-5", None, None),
    ],
)
def test_openai_is_told_the_effort_in_the_words_of_the_model(
    model: str, reasoning: str | None, sent: str | None
) -> None:
    body = make_body(made_request(model=model, reasoning=reasoning), is_openai=True)

    assert body.get("reasoning_effort") == sent


async def test_other_servers_are_told_no_effort(local: ModelClient, provider: FakeProvider) -> None:
    await call(local, model="gpt-5", reasoning="high")

    assert "reasoning_effort" not in provider.requests[0].body


@pytest.mark.parametrize(
    "entries",
    [
        "7",
        "null",
        "[null]",
        "[7]",
        '[{"index": "x"}]',
        '[{"function": {"arguments": "{}"}}]',
        '[{"index": 0, "function": {"name": 7, "arguments": 7}}]',
        '[{"index": 0, "id": "a", "function": null}]',
        '[{"index": -1, "id": 5, "function": {"name": "", "arguments": ""}}]',
    ],
)
async def test_what_is_no_call_is_passed_over(
    local: ModelClient, provider: FakeProvider, entries: str
) -> None:
    garbage = '{"choices": [{"index": 0, "delta": {"tool_calls": ENTRIES}}]}'.replace("ENTRIES", entries)
    provider.plans.append(Plan(words=2, garbage_after=1, garbage=garbage))

    heard = await call(local, tools=(LOOKUP,))

    assert heard.error is None
    assert heard.text == "word0 word1 "
    assert heard.calls == []
