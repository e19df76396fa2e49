"""The fake provider does what it is told, so that the tests that rely on it show something."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

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
