"""Every model call of a session is an interaction: found by what it belongs to, gone with its session."""

from datetime import timedelta
from typing import Any

import msgspec

from api.agents.definition import Definition
from api.session.document import Actor
from api.store import Caller
from api.store.audit import Summary
from api.store.base import utc_now
from api.store.interactions import Filters
from db.pool import Pool
from tests.factories import World, make_world
from tests.runner.conversing import Line, stage

AGENT = Definition(model="lines:one", instructions="Be brief.")


async def listed(world: World, caller: Caller | None = None, **filters: Any) -> list[Summary]:
    """All interactions that fit, newest first."""
    found, goes_on = await world.store.interactions.listed(
        caller or world.caller, Filters(**filters), before=None, limit=500
    )
    assert goes_on is None
    return found


async def test_a_call_is_told_with_all_that_it_belongs_to(pool: Pool) -> None:
    scene = await stage(pool, AGENT, Line(text="Hi."))

    async with scene.running():
        turn = await scene.ask()
    [call] = await listed(scene.world)

    assert call.id == turn.steps[0].id
    assert (call.source, call.session_id, call.agent) == ("session", scene.session_id, scene.world.agent)
    assert (call.purpose, call.speaker, call.provider, call.model) == ("reply", "assistant", "lines", "one")
    assert call.turn is not None
    assert (call.turn.id, call.turn.state, call.turn.place) == (turn.id, turn.state, "in_effect")
    assert (call.outcome, call.billable, call.attempt) == ("completed", True, 1)
    assert call.usage is not None
    assert call.usage == turn.usage
    assert call.actor == scene.world.caller.actor
    assert call.client is not None
    assert call.client.id == scene.world.caller.actor.key_id


async def test_what_became_of_the_turn_is_told_as_it_is_now(pool: Pool) -> None:
    scene = await stage(pool, AGENT, *(Line(text=f"Answer {number}.") for number in range(5)))

    async with scene.running():
        first = await scene.ask()
        second = await scene.ask()
        await scene.rewind(first.id)
        rewound = await listed(scene.world)
        third = await scene.ask()
        discarded = await listed(scene.world)

    def places(found: list[Summary]) -> dict[str, str]:
        return {call.turn.id: call.turn.place for call in found if call.turn is not None}

    assert places(rewound) == {first.id: "in_effect", second.id: "rewound"}
    assert places(discarded) == {first.id: "in_effect", second.id: "discarded", third.id: "in_effect"}


async def test_a_failed_turn_says_why(pool: Pool) -> None:
    scene = await stage(pool, AGENT, Line())

    async with scene.running():
        turn = await scene.ask()
    [call] = await listed(scene.world)

    assert call.outcome == "completed"
    assert call.turn is not None
    assert turn.error is not None
    assert call.turn.error == turn.error


async def test_filters_find_their_own(pool: Pool) -> None:
    scene = await stage(pool, AGENT, *(Line(text="Hi.") for _ in range(3)))
    world = scene.world
    other = msgspec.structs.replace(world.caller, actor=Actor(key_id="key_" + "1" * 32))
    project = (await world.session(metadata={"project": "spring", "more": 1})).session.id
    async with scene.running():
        began_at = utc_now()
        await scene.ask()
        own, scene.session_id = scene.session_id, project
        await scene.ask()
        world.caller, caller = other, world.caller
        await scene.ask()
        world.caller = caller

    async def sessions(**filters: Any) -> list[str | None]:
        return [call.session_id for call in await listed(world, **filters)]

    assert await sessions() == [project, project, own]
    assert await sessions(session_id=own) == [own]
    assert await sessions(agent_id=world.agent.id) == [project, project, own]
    assert await sessions(client="key_" + "1" * 32) == [project]
    assert await sessions(client="key_" + "0" * 32, agent_id=world.agent.id) == [project, own]
    assert await sessions(project="spring") == [project, project]
    assert await sessions(project="spring", session_id=own) == []
    assert await sessions(session_id="ses_no", client="nobody") == []
    assert await sessions(agent_id="agt_no") == []
    assert await sessions(since=began_at) == [project, project, own]
    assert await sessions(since=utc_now() + timedelta(hours=1)) == []


async def test_pages_follow_one_another(pool: Pool) -> None:
    scene = await stage(pool, AGENT, *(Line(text="Hi.") for _ in range(3)))
    async with scene.running():
        for _ in range(3):
            await scene.ask()
    everything = await listed(scene.world)

    read = scene.world.store.interactions.listed
    first, goes_on = await read(scene.world.caller, Filters(), before=None, limit=2)
    second, end = await read(scene.world.caller, Filters(), before=goes_on, limit=2)

    assert [*first, *second] == everything
    assert (len(first), end) == (2, None)


async def test_nobody_sees_the_calls_of_another_organization(pool: Pool) -> None:
    scene = await stage(pool, AGENT, Line(text="Hi."))
    async with scene.running():
        await scene.ask()

    stranger = await make_world(pool, name="Other")

    assert await listed(stranger) == []
    assert await listed(stranger, session_id=scene.session_id) == []


async def test_calls_go_with_their_session(pool: Pool) -> None:
    scene = await stage(pool, AGENT, Line(text="Hi."))
    async with scene.running():
        await scene.ask()

    await scene.world.store.sessions.erase(scene.world.caller, scene.session_id, expected=None)

    assert await listed(scene.world) == []
    assert await pool.fetchval("SELECT count(*) FROM interactions") == 0
