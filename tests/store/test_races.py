"""Races on a real Postgres: one winner per revision, one effect per key, one settlement per step."""

import asyncio
import hashlib
import random
from uuid import UUID

import pytest

from api.session.commands import IfActive
from api.session.document import Usage
from api.store import Done, Idempotency, NotFound, Replay, RevisionConflict
from api.store.base import utc_now
from api.store.running import Intent, Outcome
from db.pool import Pool
from tests.factories import World, completing, delta_of, make_world, rendered
from tests.scale import scaled

_CLIENTS = 16
_SWAPS_WANTED = scaled(short=500, long=2_000)
_KEYS = scaled(short=200, long=1_000)
_TWINS = 5


async def test_sixteen_clients_on_one_session_leave_one_winner_per_revision(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    acknowledged: dict[int, tuple[str, str]] = {}
    conflicts: list[tuple[int, int, int]] = []

    async def client(number: int) -> None:
        chance = random.Random(number)
        revision = 1
        while len(acknowledged) < _SWAPS_WANTED:
            mark = f"{number}-{revision}"
            try:
                if chance.random() < 0.8:
                    done = await world.store.sessions.update(
                        world.caller,
                        session_id,
                        name=mark,
                        metadata=None,
                        metadata_bytes_max=1_000,
                        expected=revision,
                    )
                    kind = "session.updated"
                else:
                    done = await world.store.sessions.append(
                        world.caller,
                        session_id,
                        text=mark,
                        speaker=None,
                        if_active=IfActive.INTERRUPT,
                        expected=revision,
                        idempotency=None,
                    )
                    kind = "turn.created"
            except RevisionConflict as conflict:
                conflicts.append((revision, conflict.changes[0].revision, conflict.actual))
                revision = conflict.actual
                continue
            revision = delta_of(done).session.revision
            assert revision not in acknowledged, "two winners of one revision"
            acknowledged[revision] = (kind, mark)

    await asyncio.gather(*(client(number) for number in range(_CLIENTS)))

    newest = await world.store.reading.revision(world.caller, session_id)
    assert sorted(acknowledged) == list(range(2, newest + 1)), "revisions are dense"
    assert conflicts, "without contention nothing was tested"
    assert all(first == expected + 1 <= actual for expected, first, actual in conflicts)
    _, events = await world.store.reading.events_after(world.caller, session_id, after=0, limit=newest + 1)
    assert [event.revision for event in events] == list(range(1, newest + 1))
    assert {event.revision: event.type for event in events if event.revision > 1} == {
        revision: kind for revision, (kind, _) in acknowledged.items()
    }
    stored = await pool.fetch("SELECT (body->'user_message'->>'text') AS text FROM turns")
    sent = [mark for kind, mark in acknowledged.values() if kind == "turn.created"]
    assert sorted(row["text"] for row in stored) == sorted(sent), "every acknowledged write is there"


async def test_a_thousand_keys_with_concurrent_twins_have_a_thousand_effects(pool: Pool) -> None:
    world = await make_world(pool)
    calls = [number for number in range(_KEYS) for _ in range(_TWINS)]
    random.Random(1).shuffle(calls)
    answers: dict[int, set[bytes]] = {number: set() for number in range(_KEYS)}
    places = asyncio.Semaphore(32)

    async def create(number: int) -> None:
        async with places:
            done = await world.store.sessions.create_session(
                world.caller,
                agent=world.agent,
                greeting="Welcome.",
                greeting_is_generated=False,
                speaker="Ada",
                name=f"session {number}",
                context={},
                metadata={},
                idempotency=_key(number),
                render=rendered,
            )
        assert done.answer is not None
        answers[number].add(done.answer.body)

    await asyncio.gather(*(create(number) for number in calls))

    assert await pool.fetchval("SELECT count(*) FROM sessions") == _KEYS
    assert await pool.fetchval("SELECT count(DISTINCT name) FROM sessions") == _KEYS
    assert [len(bodies) for bodies in answers.values()] == [1] * _KEYS, "replays are equal byte for byte"


async def test_concurrent_twins_of_a_message_make_one_turn(pool: Pool) -> None:
    world = await make_world(pool)
    for number in range(40):
        session_id = (await world.session()).session.id

        results = await asyncio.gather(
            *(_append_with_key(world, session_id, expected=1, number=number) for _ in range(_TWINS))
        )

        made = [result for result in results if isinstance(result, Done)]
        joined = [result for result in results if isinstance(result, Replay)]
        assert len(made) == 1
        assert {replay.turn_id for replay in joined} == {made[0].turn_id}
        assert {replay.base_revision for replay in joined} == {1}
        assert await world.store.reading.revision(world.caller, session_id) == 2


async def test_a_twin_at_any_revision_makes_one_turn_too(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id

    results = await asyncio.gather(
        *(_append_with_key(world, session_id, expected=None, number=1) for _ in range(_TWINS))
    )

    assert sum(isinstance(result, Done) for result in results) == 1
    assert await pool.fetchval("SELECT count(*) FROM turns") == 1


async def test_one_of_cancel_and_complete_wins(pool: Pool) -> None:
    world = await make_world(pool)
    winners = set()
    for _ in range(40):
        session_id = (await world.session()).session.id
        turn_id = (await world.append(session_id, 1)).turns[0].id
        claim = await world.store.running.claim(runner="test", lease_seconds=15)
        assert claim is not None

        published, cancelled = await asyncio.gather(
            world.store.running.publish(claim, completing(claim, "Done.")),
            world.store.sessions.cancel(
                world.caller, session_id, turn_id=turn_id, expected=None, idempotency=None, render=rendered
            ),
            return_exceptions=True,
        )

        turn = await world.store.reading.turn(world.caller, session_id, turn_id)
        winners.add(turn.state)
        assert (published is True) == (turn.state == "completed")
        assert isinstance(cancelled, Done) == (turn.state == "cancelled")
        assert await world.store.reading.revision(world.caller, session_id) == 3
    assert winners <= {"completed", "cancelled"}


async def test_a_publish_survives_renames_that_move_the_revision(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    turn_id = (await world.append(session_id, 1)).turns[0].id
    claim = await world.store.running.claim(runner="test", lease_seconds=15)
    assert claim is not None

    async def rename() -> None:
        for number in range(20):
            await world.store.sessions.update(
                world.caller,
                session_id,
                name=f"name {number}",
                metadata=None,
                metadata_bytes_max=1_000,
                expected=None,
            )

    published, _ = await asyncio.gather(
        world.store.running.publish(claim, completing(claim, "Done.")), rename()
    )

    assert published is True
    turn = await world.store.reading.turn(world.caller, session_id, turn_id)
    assert turn.replies[0].text == "Done."
    assert await world.store.reading.revision(world.caller, session_id) == 23


async def test_a_step_settles_once_and_the_ledger_stays_dense(pool: Pool) -> None:
    world = await make_world(pool)
    claims = []
    for _ in range(10):
        session_id = (await world.session()).session.id
        await world.append(session_id, 1)
        claim = await world.store.running.claim(runner="test", lease_seconds=15)
        assert claim is not None
        claims.append(claim)
    steps = []
    for claim in claims:
        for _ in range(10):
            step_id = world.store.running.new_step_id()
            assert await world.store.running.start_step(claim, intent(step_id))
            steps.append((claim, step_id))

    settled = await asyncio.gather(
        *(world.store.running.settle(claim, step_id, outcome()) for claim, step_id in steps for _ in range(3))
    )

    assert sum(settled) == len(steps)
    entries, head = await world.store.reading.usage_entries(
        world.caller, after=0, session_id=None, limit=1000
    )
    assert [entry.seq for entry in entries] == list(range(1, len(steps) + 1))
    assert head == len(steps)
    totals = await world.store.reading.usage_totals(world.caller)
    assert (totals.call_count, totals.usage.input_tokens) == (len(steps), 7 * len(steps))
    in_sessions = await pool.fetchrow("SELECT sum(call_count), sum(input_tokens) FROM session_totals")
    assert in_sessions is not None
    assert tuple(in_sessions) == (len(steps), 7 * len(steps))


async def test_a_reader_of_the_feed_misses_nothing_while_writers_commit(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await world.append(session_id, 1)
    claim = await world.store.running.claim(runner="test", lease_seconds=60)
    assert claim is not None
    count = 300

    async def write() -> None:
        for _ in range(count // 12):
            step_id = world.store.running.new_step_id()
            assert await world.store.running.start_step(claim, intent(step_id))
            await world.store.running.settle(claim, step_id, outcome())

    read: list[int] = []

    async def follow() -> None:
        while len(read) < count:
            entries, _ = await world.store.reading.usage_entries(
                world.caller, after=read[-1] if read else 0, session_id=None, limit=50
            )
            read.extend(entry.seq for entry in entries)

    async with asyncio.timeout(60):
        await asyncio.gather(follow(), *(write() for _ in range(12)))

    assert read == list(range(1, count + 1))


async def test_a_deleted_session_leaves_ledger_and_tombstone_and_still_settles(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session(metadata={"secret": "text"})).session.id
    await world.append(session_id, 1, "secret text")
    claim = await world.store.running.claim(runner="test", lease_seconds=15)
    assert claim is not None
    step_id = world.store.running.new_step_id()
    assert await world.store.running.start_step(claim, intent(step_id))

    await world.store.sessions.erase(world.caller, session_id, expected=2)
    is_published = await world.store.running.publish(claim, completing(claim, "secret reply"))
    is_settled = await world.store.running.settle(claim, step_id, outcome(result={"text": "secret reply"}))

    assert (is_published, is_settled) == (False, True)
    for table in ("turns", "events", "branches", "deltas", "discarded_futures"):
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0
    dump = await pool.fetch("SELECT row_to_json(s)::text FROM sessions s")
    dump += await pool.fetch("SELECT row_to_json(s)::text FROM steps s")
    assert "secret" not in str(dump)
    assert await pool.fetchval("SELECT count(*) FROM usage_entries") == 1
    with pytest.raises(NotFound):
        await world.append(session_id, 3)


async def _append_with_key(
    world: World, session_id: str, *, expected: int | None, number: int
) -> Done | Replay:
    return await world.store.sessions.append(
        world.caller,
        session_id,
        text="Hello",
        speaker=None,
        if_active=IfActive.REJECT,
        expected=expected,
        idempotency=_key(number),
    )


def _key(number: int) -> Idempotency:
    return Idempotency(key=f"key-{number}", fingerprint=hashlib.sha256(str(number).encode()).digest())


def intent(step_id: UUID) -> Intent:
    return Intent(
        id=step_id,
        purpose="reply",
        speaker="Ada",
        provider="scripted",
        model="echo",
        started_at=utc_now(),
        request={},
    )


def outcome(result: dict[str, object] | None = None) -> Outcome:
    return Outcome(
        outcome="completed",
        model="echo",
        tokens=Usage(input_tokens=7, output_tokens=3, cost=None, unknown_count=1),
        unit_prices=None,
        price_source=None,
        source="provider",
        is_billable=True,
        billable_reason="completed",
        latency_ms=1,
        result=result,
    )
