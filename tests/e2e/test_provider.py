"""With a provider's key set, the same conversation talks to that provider's model."""

import asyncio
from pathlib import Path

from api.cli.chat.client import Client, Json
from tests.e2e.services import serving
from tests.providers.server import FakeProvider, Plan

KEY = "sk-of-this-test-alone"


def converse(data_dir: Path, base_url: str) -> tuple[Json, list[Json], str]:
    """Say one thing to the newest agent; give the session, its ledger, and all that the service printed."""
    environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": base_url}
    with serving(data_dir, environ=environ) as service:
        service.wait_until_ready()
        with Client(address=service.address, key=service.access.key) as client:
            session = client.create_session(client.newest_agent_id(), name=None)
            client.write(session, "messages", {"text": "Who are you?"})
            session = client.settled(session["id"])
            return session, client.usage(session), service.output


async def test_the_newest_demo_agent_speaks_through_the_provider(data_dir: Path) -> None:
    async with FakeProvider() as provider:
        provider.plans.append(Plan(text="A model, somewhere else.", input_tokens=20))

        session, usage, output = await asyncio.to_thread(converse, data_dir, f"{provider.base_url}/v1")

    (request,) = provider.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body["model"] == "gpt-5-mini"
    assert session["turns"][-1]["replies"][0]["text"] == "A model, somewhere else."
    (entry,) = usage
    assert (entry["provider"], entry["input_tokens"], entry["source"]) == ("openai", 20, "provider")
    assert entry["cost"] is not None
    assert KEY not in output


async def test_a_provider_that_fails_makes_a_failed_turn_with_the_error_in_it(data_dir: Path) -> None:
    async with FakeProvider() as provider:
        provider.plans.append(Plan(status=401, error_message="No such key."))

        session, _, output = await asyncio.to_thread(converse, data_dir, f"{provider.base_url}/v1")

    turn = session["turns"][-1]
    assert (turn["state"], turn["error"]["code"]) == ("failed", "unauthorized")
    assert KEY not in output
