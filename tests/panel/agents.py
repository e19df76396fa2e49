"""Agents for the tests of the panel."""

import msgspec

from api.agents.definition import Definition
from api.store import StoredAnswer
from tests.factories import World


async def add_agent(world: World, name: str, *, model: str = "openai:fake", **fields: object) -> str:
    """Publish a further agent, and give its id. `openai:` models are answered by the tests' own provider."""
    answer = await world.store.agents.create_agent(
        world.caller,
        name=name,
        definition=Definition(model=model, **fields),  # type: ignore[arg-type]
        idempotency=None,
        render=lambda version: StoredAnswer(
            status=201, headers={}, body=msgspec.json.encode({"id": version.agent_id})
        ),
    )
    assert isinstance(answer, StoredAnswer)
    made: str = msgspec.json.decode(answer.body)["id"]
    return made
