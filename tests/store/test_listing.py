"""Lists of sessions find what was asked for, whatever the database's locale makes of letters."""

from uuid import UUID

import pytest

from db import sessions
from db.pool import Pool
from tests.factories import make_world, rendered


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


# As many have the name as are put in order, or one more.
@pytest.mark.parametrize("few", [4, 5])
async def test_pages_by_name_hold_every_session_once_however_many_have_it(
    pool: Pool, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_FEW_NAMES", few)
    world = await make_world(pool)
    ids = [(await world.session(name=f"Talk {number}")).session.id for number in range(4)]
    await world.session(name="Other")
    await world.store.sessions.end(
        world.caller, ids[0], resolution=None, expected=None, idempotency=None, render=rendered
    )

    async def page(before: UUID | None, state: str | None = None) -> list[tuple[UUID, str]]:
        found = await world.store.reading.list_sessions(
            world.caller,
            before=before,
            state=state,
            agent_id=world.agent.id,
            active_since=None,
            query="talk",
            limit=2,
        )
        return [(row, session.id) for row, session, _ in found]

    first = await page(None)
    second = await page(first[-1][0])

    assert [name for _, name in first + second] == ids[::-1]
    assert await page(second[-1][0]) == []
    assert [name for _, name in await page(None, "ended")] == ids[:1]
