"""Publishing an agent's versions under keys, beside others who do the same."""

import msgspec
import pytest

from api.agents.definition import Definition
from api.store import RequestInFlight, StoredAnswer
from api.store.agents import AgentVersion
from db.pool import Pool
from tests.factories import make_world
from tests.store.test_races import _key


def rendered(version: AgentVersion) -> StoredAnswer:
    return StoredAnswer(status=201, headers={}, body=msgspec.json.encode(version.version))


async def test_publishing_behind_somebody_who_holds_the_agent_ends_as_in_flight(pool: Pool) -> None:
    world = await make_world(pool)
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT FROM agents FOR UPDATE")

        with pytest.raises(RequestInFlight):
            await world.store.agents.publish_version(
                world.caller,
                world.agent.id,
                definition=Definition(model="scripted:echo"),
                idempotency=_key(1),
                render=rendered,
            )

    assert await pool.fetchval("SELECT count(*) FROM agent_versions") == 1
