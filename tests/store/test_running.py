"""The fence: a run that has lost its turn writes nothing any more, except what it has spent."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from msgspec import UNSET

from api.session.commands import IfActive
from api.session.document import TurnState
from api.store import Store
from api.store.base import utc_now
from api.store.running import Claim, Known, Shown
from db import deltas, runs, sessions
from db.pool import Pool
from tests.factories import World, completing, make_world, rendered
from tests.store.test_races import intent, outcome

_LEASE_LEFT = "SELECT extract(epoch FROM lease_expires_at - now())::float8 FROM runs WHERE state = 'running'"


async def claimed(world: World, *, lease_seconds: float = 15) -> Claim:
    claim = await world.store.running.claim(runner="test", lease_seconds=lease_seconds)
    assert claim is not None
    return claim


async def taken_over(pool: Pool) -> tuple[World, str, Claim, Claim]:
    """A session whose turn was claimed, and claimed again when the lease had run out."""
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await world.append(session_id, 1)
    first = await claimed(world)
    await pool.execute("UPDATE runs SET lease_expires_at = now() - interval '1 second'")
    return world, session_id, first, await claimed(world)


async def test_a_turn_with_a_live_lease_is_not_claimed_again(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await world.append(session_id, 1)
    await claimed(world)

    assert await world.store.running.claim(runner="other", lease_seconds=15) is None


async def test_a_lease_is_counted_by_the_clock_of_the_database(pool: Pool) -> None:
    world = await make_world(pool)
    wrong = Store(pool, world.hub, clock=lambda: utc_now() - timedelta(days=1))
    await world.append((await world.session()).session.id, 1)

    claim = await wrong.running.claim(runner="test", lease_seconds=15)
    assert claim is not None
    claimed_seconds = await pool.fetchval(_LEASE_LEFT)
    await wrong.running.heartbeat(claim, lease_seconds=300)
    renewed_seconds = await pool.fetchval(_LEASE_LEFT)

    assert 0 < claimed_seconds <= 15
    assert 15 < renewed_seconds <= 300


async def test_a_lease_that_ran_out_is_taken_over_with_a_higher_attempt_and_epoch(pool: Pool) -> None:
    _, _, first, second = await taken_over(pool)

    assert (first.attempt, second.attempt) == (1, 2)
    assert second.epoch == first.epoch + 1
    assert second.turn_id == first.turn_id
    assert [row["state"] for row in await pool.fetch("SELECT state FROM runs ORDER BY attempt")] == [
        "lost",
        "running",
    ]


async def test_a_run_that_was_taken_over_publishes_nothing(pool: Pool) -> None:
    world, session_id, first, second = await taken_over(pool)

    is_first_published = await world.store.running.publish(first, completing(first, "From the grave."))
    before = await world.store.reading.document(world.caller, session_id)
    is_second_published = await world.store.running.publish(second, completing(second, "Alive."))

    turn = (await world.store.reading.document(world.caller, session_id)).turns[0]
    assert (is_first_published, is_second_published) == (False, True)
    assert (before.session.revision, before.turns[0].state) == (2, TurnState.PENDING)
    assert turn.replies[0].text == "Alive."


async def test_a_run_that_was_taken_over_starts_shows_and_renews_nothing_but_settles(pool: Pool) -> None:
    world, _, first, second = await taken_over(pool)
    running = world.store.running
    step_id = running.new_step_id()
    piece = Shown(
        organization_id=first.organization_id,
        session_id=first.session_id,
        run_id=first.run_id,
        step_id=step_id,
        offset=0,
        text="Boo",
    )

    assert not await running.start_step(first, intent(step_id))
    assert await running.show([piece]) == set()
    assert not await running.heartbeat(first, lease_seconds=15)
    assert await running.heartbeat(second, lease_seconds=15)
    assert await pool.fetchval("SELECT count(*) FROM deltas") == 0


async def test_a_call_of_a_run_that_was_taken_over_is_settled_all_the_same(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await world.append(session_id, 1)
    first = await claimed(world)
    step_id = world.store.running.new_step_id()
    assert await world.store.running.start_step(first, intent(step_id))
    await pool.execute("UPDATE runs SET lease_expires_at = now() - interval '1 second'")
    await claimed(world)

    assert await world.store.running.settle(first, step_id, outcome())

    entries, _ = await world.store.reading.usage_entries(world.caller, after=0, session_id=None, limit=10)
    assert [entry.attempt for entry in entries] == [1]


@pytest.mark.parametrize("how", ["cancel", "rewind", "end", "regenerate", "interrupt"])
async def test_a_command_that_takes_the_turn_leaves_its_run_nothing_to_publish(pool: Pool, how: str) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    turn_id = (await world.append(session_id, 1)).turns[0].id
    claim = await claimed(world)
    sessions, caller = world.store.sessions, world.caller
    checked = {"expected": 2, "idempotency": None, "render": rendered}

    if how == "cancel":
        await sessions.cancel(caller, session_id, turn_id=turn_id, **checked)
    elif how == "rewind":
        await sessions.rewind(caller, session_id, turn_id=None, **checked)
    elif how == "regenerate":
        await sessions.regenerate(
            caller, session_id, turn_id=turn_id, text=None, expected=2, idempotency=None
        )
    elif how == "interrupt":
        await world.append(session_id, 2, if_active=IfActive.INTERRUPT)
    else:
        await sessions.end(caller, session_id, resolution=None, **checked)

    assert await world.store.running.publish(claim, completing(claim, "Too late.")) is False
    turn = await world.store.reading.turn(world.caller, session_id, turn_id)
    assert (turn.state, turn.replies) == (TurnState.CANCELLED, ())
    assert await pool.fetchval("SELECT state FROM runs") == "revoked"
    assert await world.store.reading.revision(world.caller, session_id) == 3


async def test_a_restore_leaves_the_run_of_the_turn_that_it_displaces_nothing_to_publish(pool: Pool) -> None:
    world = await make_world(pool)
    sessions, caller = world.store.sessions, world.caller
    session_id = (await world.conversation(1)).session.id
    checked: dict[str, Any] = {"expected": None, "idempotency": None, "render": rendered}
    await sessions.rewind(caller, session_id, turn_id=None, **checked)
    turn_id = (await world.append(session_id, None)).turns[-1].id
    claim = await claimed(world)

    await sessions.restore(caller, session_id, ordinal=1, **checked)

    assert await world.store.running.publish(claim, completing(claim, "Too late.")) is False
    turn = await world.store.reading.turn(caller, session_id, turn_id)
    assert (turn.state, turn.replies) == (TurnState.CANCELLED, ())
    assert await pool.fetchval("SELECT state FROM runs WHERE id = $1", claim.run_id) == "revoked"


async def test_a_turn_handed_back_is_claimed_at_once_and_continues_the_attempt(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await world.append(session_id, 1)
    first = await claimed(world)

    await world.store.running.release(first)
    second = await claimed(world)

    assert (second.attempt, second.turn_id) == (1, first.turn_id)


async def test_what_is_known_of_a_turn_is_no_obstacle_when_the_revision_has_moved(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await world.append(session_id, 1)
    claim = await claimed(world)
    work = await world.store.running.work(claim)
    assert work is not None
    await world.store.sessions.update(
        world.caller, session_id, name="Renamed", metadata=UNSET, metadata_bytes_max=1_000, expected=2
    )

    is_published = await world.store.running.publish(
        claim, completing(claim, "Done."), known=Known(head=work.head, steps=())
    )

    document = await world.store.reading.document(world.caller, session_id)
    assert is_published
    assert (document.session.revision, document.session.name) == (4, "Renamed")
    assert document.turns[0].replies[0].text == "Done."


async def test_text_is_not_taken_back_from_a_turn_that_is_being_cancelled(pool: Pool) -> None:
    world, _, _, second = await taken_over(pool)
    step_id, scope = world.store.running.new_step_id(), (second.organization_id, second.turn_id)
    text = Shown(
        organization_id=second.organization_id,
        session_id=second.session_id,
        run_id=second.run_id,
        step_id=step_id,
        offset=0,
        text="Seen.",
    )
    assert await world.store.running.start_step(second, intent(step_id))
    assert await world.store.running.show([text]) == {second.run_id}

    async with pool.acquire() as conn:
        async with conn.transaction():
            assert await runs.lock_current(conn, *scope) == second.run_id
            kept = await deltas.shown(conn, *scope)
            taking_back = asyncio.create_task(world.store.running.take_back(second, step_id))
            # It waits for the cancel; a statement that does not is done long before.
            await asyncio.wait({taking_back}, timeout=0.2)
            await conn.execute("UPDATE runs SET state = 'revoked', ended_at = now() WHERE state = 'running'")
        await taking_back
        shown_after = await deltas.shown(conn, *scope)

    assert [row.text for row in kept] == ["Seen."]
    assert shown_after == kept


async def test_a_run_does_not_take_up_a_call_of_its_successor(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(pool)
    await world.append((await world.session()).session.id, 1)
    slow, running = await claimed(world), world.store.running
    load = sessions.load

    async def load_and_be_overtaken(*args: Any) -> Any:
        loaded = await load(*args)
        await pool.execute("UPDATE runs SET lease_expires_at = now() - interval '1 second'")
        assert await running.start_step(await claimed(world), intent(running.new_step_id()))
        return loaded

    monkeypatch.setattr(sessions, "load", load_and_be_overtaken)
    work = await running.work(slow)

    assert work is not None
    assert work.steps == ()
