"""Sessions end by inactivity: of agents that say so, all of them after a downtime, none that came back."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from api.agents.definition import Definition, Limits
from api.app.idle_sessions import end_idle
from api.store import RevisionConflict
from api.store.base import utc_now
from db import idle
from db.pool import Pool
from tests.factories import World, make_world

WAITS = Definition(model="scripted:echo", limits=Limits(idle_seconds=3_600))
NEVER = Definition(model="scripted:echo")


async def state_of(world: World, session_id: str) -> tuple[str, str | None, str | None]:
    session = (await world.store.reading.document(world.caller, session_id)).session
    _, events = await world.store.reading.events_after(
        world.caller, session_id, after=session.revision - 1, limit=1
    )
    return session.state, session.resolution, events[0].actor.process


async def test_a_session_ends_when_nothing_has_happened_for_its_time(pool: Pool) -> None:
    world = await make_world(pool, definition=WAITS)
    session = (await world.conversation(1)).session
    last = session.updated_at

    early = await end_idle(pool, world.store, now=last + timedelta(seconds=3_599))
    ended = await end_idle(pool, world.store, now=last + timedelta(seconds=3_601))
    again = await end_idle(pool, world.store, now=last + timedelta(days=2))

    assert (early, ended, again) == (0, 1, 0)
    assert await state_of(world, session.id) == ("ended", "inactive", "system")


async def test_what_happens_begins_the_time_anew(pool: Pool) -> None:
    world = await make_world(pool, definition=WAITS)
    session = (await world.conversation(1)).session
    await pool.execute(
        "UPDATE sessions SET updated_at = $1, active_hour = date_trunc('hour', $1::timestamptz)",
        utc_now() - timedelta(hours=2),
    )
    await world.store.sessions.update(
        world.caller, session.id, name="Back", metadata=None, metadata_bytes_max=100, expected=None
    )

    assert await end_idle(pool, world.store, now=utc_now()) == 0


async def test_an_agent_that_does_not_say_so_never_ends_a_session(pool: Pool) -> None:
    world = await make_world(pool, definition=NEVER)
    await world.conversation(1)

    assert await end_idle(pool, world.store, now=utc_now() + timedelta(days=400)) == 0


async def test_who_waits_for_an_answer_is_not_idle(pool: Pool) -> None:
    world = await make_world(pool, definition=WAITS)
    session_id = (await world.session()).session.id
    await world.append(session_id, 1)

    assert await end_idle(pool, world.store, now=utc_now() + timedelta(days=2)) == 0


async def test_after_a_long_downtime_all_are_ended_and_none_that_came_back(pool: Pool) -> None:
    world = await make_world(pool, definition=WAITS)
    other = await make_world(pool, definition=WAITS, name="Other")
    sessions = [(await world.session()).session.id for _ in range(220)]
    sessions += [(await other.session()).session.id for _ in range(220)]
    last = utc_now()
    then = last + timedelta(days=3)
    # These came back after the downtime, before anybody looked.
    await pool.execute(
        """
        UPDATE sessions SET updated_at = $1, active_hour = date_trunc('hour', $1::timestamptz)
         WHERE id IN (SELECT id FROM sessions ORDER BY id LIMIT 5)
        """,
        then,
    )

    ended = await end_idle(pool, world.store, now=then)

    assert ended == len(sessions) - 5
    states = await pool.fetch("SELECT state, count(*) FROM sessions GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in states] == [("ended", 435), ("open", 5)]


async def test_a_session_that_becomes_active_between_look_and_end_stays_open(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(pool, definition=WAITS)
    session = (await world.conversation(1)).session
    look = idle.idle

    async def looking(*args: Any, **named: Any) -> Any:
        found = await look(*args, **named)
        if found:
            await world.append(session.id, None, "I am back")
            await world.answer()
        return found

    monkeypatch.setattr(idle, "idle", looking)
    ended = await end_idle(pool, world.store, now=utc_now() + timedelta(days=2))

    assert ended == 0
    document = await world.store.reading.document(world.caller, session.id)
    assert (document.session.state, document.session.turn_count) == ("open", 2)
    with pytest.raises(RevisionConflict):
        await world.append(session.id, session.revision)


async def test_two_processes_that_look_at_once_end_each_session_once(pool: Pool) -> None:
    world = await make_world(pool, definition=WAITS)
    for _ in range(30):
        await world.session()
    now = utc_now() + timedelta(days=1)

    counts = await asyncio.gather(*(end_idle(pool, world.store, now=now) for _ in range(2)))

    assert sum(counts) == 30
    revisions = await pool.fetch("SELECT revision FROM sessions")
    assert {row["revision"] for row in revisions} == {2}


def test_the_time_is_stored_where_the_statement_looks_for_it() -> None:
    stored = msgspec.json.decode(msgspec.json.encode(WAITS))

    assert stored["limits"]["idle_seconds"] == 3_600
