"""The fake provider does what it is told, so that the tests that rely on it show something."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.providers.protocol import fault_in
from tests.providers.server import FakeProvider, Plan


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as provider:
        yield provider


async def ask(base_url: str, text: str) -> httpx.Response:
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": text}]}
    async with httpx.AsyncClient(timeout=10) as client:
        return await client.post(f"{base_url}/v1/chat/completions", json=body)


async def test_a_directive_in_the_last_user_message_is_followed(provider: FakeProvider) -> None:
    streamed = await ask(provider.base_url, "Hello [[words=2 usage=none]]")
    refused = await ask(provider.base_url, "Hello [[status=429 retry_after=3]]")

    assert streamed.text.count('"content": "word') == 2
    assert "prompt_tokens" not in streamed.text
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "3"


async def test_a_queued_plan_comes_before_a_directive(provider: FakeProvider) -> None:
    provider.plans.append(Plan(text="Queued"))

    assert "Queued" in (await ask(provider.base_url, "[[text=Written]]")).text
    assert "Written" in (await ask(provider.base_url, "[[text=Written]]")).text


@pytest.mark.parametrize("directive", ["wrods=2", "words", "words=two"])
async def test_a_directive_that_cannot_be_read_is_refused(provider: FakeProvider, directive: str) -> None:
    refused = await ask(provider.base_url, f"[[{directive}]]")

    assert refused.status_code == 400
    assert "cannot be read" in refused.text


async def test_it_runs_on_its_own() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.providers.server", stdout=asyncio.subprocess.PIPE, cwd=os.getcwd()
    )
    try:
        assert process.stdout is not None
        base_url = (await asyncio.wait_for(process.stdout.readline(), timeout=20)).decode().strip()
        answer = await ask(base_url.removesuffix("/v1"), "Hello")
    finally:
        process.terminate()
        await process.wait()

    assert answer.status_code == 200


async def converse(base_url: str, *messages: dict[str, Any]) -> httpx.Response:
    async with httpx.AsyncClient(timeout=10) as client:
        body = {"model": "m", "messages": list(messages)}
        return await client.post(f"{base_url}/v1/chat/completions", json=body)


def call_of(call_id: str) -> dict[str, Any]:
    call = {"id": call_id, "type": "function", "function": {"name": "lookup", "arguments": "{}"}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


async def test_the_next_directive_is_for_the_request_that_brings_the_results(
    provider: FakeProvider,
) -> None:
    user = {"role": "user", "content": '[[calls=lookup:{"day":1};book:{}]] [[text=Done]]'}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}

    first = await converse(provider.base_url, user)
    second = await converse(provider.base_url, user, call_of("call_1"), result)

    assert first.text.count('"name"') == 2
    assert '"finish_reason": "tool_calls"' in first.text
    assert "Done" in second.text


async def test_plans_are_kept_for_the_conversation_that_they_are_meant_for(provider: FakeProvider) -> None:
    provider.expect("rain", Plan(text="First"), Plan(text="Second"))
    provider.expect("sun", Plan(text="Third"))

    said = [(await ask(provider.base_url, text)).text for text in ("sun", "rain", "rain", "rain")]

    assert ["Third" in said[0], "First" in said[1], "Second" in said[2], "word7" in said[3]] == [True] * 4


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "tool", "tool_call_id": "call_1", "content": "rain"}],
        [call_of("call_1"), {"role": "user", "content": "Hello"}],
        [call_of("call_1")],
    ],
    ids=["a result of nothing", "a call passed over", "a call at the end"],
)
async def test_calls_and_results_that_do_not_belong_together_are_refused(
    provider: FakeProvider, messages: list[dict[str, Any]]
) -> None:
    refused = await converse(provider.base_url, *messages)

    assert refused.status_code == 400


def blocks(*named: tuple[str, str]) -> list[dict[str, Any]]:
    """Blocks of Anthropic's messages: `use` and `result` with an id, `text` with its text."""
    made: dict[str, Any] = {
        "use": lambda value: {"type": "tool_use", "id": value, "name": "lookup", "input": {}},
        "result": lambda value: {"type": "tool_result", "tool_use_id": value, "content": "rain"},
        "text": lambda value: {"type": "text", "text": value},
    }
    return [made[kind](value) for kind, value in named]


HELLO: dict[str, Any] = {"role": "user", "content": "Hello"}
TOOLS: dict[str, Any] = {"tools": [{"name": "lookup", "input_schema": {"type": "object"}}]}
THINKING = {"type": "enabled", "budget_tokens": 1024}


@pytest.mark.parametrize(
    ("messages", "more", "fault"),
    [
        ([HELLO, HELLO], {}, "alternate"),
        (
            [HELLO, {"role": "assistant", "content": blocks(("use", "a"))}, HELLO],
            TOOLS,
            "immediately after",
        ),
        ([HELLO, {"role": "assistant", "content": blocks(("use", "a"))}], TOOLS, "immediately after"),
        (
            [
                HELLO,
                {"role": "assistant", "content": blocks(("use", "a"))},
                {"role": "user", "content": blocks(("text", "So"), ("result", "a"))},
            ],
            TOOLS,
            "come first",
        ),
        (
            [
                HELLO,
                {"role": "assistant", "content": blocks(("use", "a"))},
                {"role": "user", "content": blocks(("result", "a"))},
            ],
            {},
            "must define tools",
        ),
        (
            [
                HELLO,
                {"role": "assistant", "content": blocks(("use", "a"))},
                {"role": "user", "content": blocks(("result", "a"))},
            ],
            {**TOOLS, "thinking": THINKING},
            "Expected `thinking`",
        ),
        ([HELLO, {"role": "assistant", "content": blocks(("use", "a"), ("use", "a"))}], TOOLS, "unique"),
        ([{"role": "user", "content": blocks(("text", " "))}], {}, "non-whitespace"),
        ([HELLO], {"thinking": THINKING, "max_tokens": 1024}, "greater than"),
        ([HELLO], {"thinking": THINKING, "temperature": 0.5}, "temperature"),
    ],
)
def test_what_anthropic_refuses_is_refused(
    messages: list[dict[str, Any]], more: dict[str, Any], fault: str
) -> None:
    found = fault_in("/v1/messages", {"max_tokens": 4096, "messages": messages, **more})

    assert found is not None
    assert fault in found
