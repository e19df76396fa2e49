"""Lists of sessions find what was asked for, whatever the database's locale makes of letters."""

import pytest

from db.pool import Pool
from tests.factories import make_world


@pytest.mark.parametrize("query", ["Ärger", "Är", "Ä", "100% s", "back\\slash", "x_y"])
async def test_a_session_is_found_by_the_beginning_of_its_name(pool: Pool, query: str) -> None:
    world = await make_world(pool)
    wanted = [
        (await world.session(name=name)).session.id
        for name in ("Ärger mit dem Konto", "100% sure", "back\\slashes", "x_y")
        if name.startswith(query)
    ]
    await world.session(name="100 percent xzy")

    found = await world.store.reading.list_sessions(
        world.caller, before=None, state=None, agent_id=None, active_since=None, query=query, limit=10
    )

    assert [session.id for _, session, _ in found] == wanted
