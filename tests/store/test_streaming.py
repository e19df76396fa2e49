"""Readers of a session miss nothing and see nothing twice, wherever they are cut off and go on."""

import asyncio
import random

import pytest

from api.session import ids
from api.session.commands import IfActive
from api.session.document import EventType
from api.store import NotFound, streaming
from api.store.streaming import Cursor, Item, Resync, Said, Told
from db import deltas
from db.pool import Pool
from tests.factories import make_world, rendered
from tests.store.conversing import Conversation, wander

_SECONDS_MAX = 60
_ENDINGS = {EventType.TURN_COMPLETED, EventType.TURN_FAILED, EventType.TURN_CANCELLED}


class Reader:
    """One who follows a session and remembers nothing but the cursor."""

    def __init__(
        self, conversation: Conversation, cursor: Cursor | None, chance: random.Random | None = None
    ) -> None:
        self.items: list[Item] = []
        self.cursor = cursor
        self.cut_count = 0
        self._conversation = conversation
        self._chance = chance

    async def read(self) -> bool:
        """Take the next batch, or a part of it; False when there is nothing more for now."""
        world = self._conversation.world
        batch = await world.store.streaming.following(
            world.caller, self._conversation.session_id, self.cursor
        )
        taken, self.cursor = batch.items, batch.cursor
        if batch.items and self._chance is not None and self._chance.random() < 0.5:
            # The connection breaks: what came last is all that the reader knows.
            taken = batch.items[: self._chance.randint(1, len(batch.items))]
            last = taken[-1]
            self.cursor = Cursor(revision=last.revision) if isinstance(last, Resync) else last.cursor
            self.cut_count += 1
        self.items += taken
        return batch.has_more or len(taken) < len(batch.items)

    async def read_all(self) -> list[Item]:
        """Read until there is nothing more."""
        while await self.read():
            pass
        return self.items


def shown(items: list[Item]) -> list[str]:
    """The items in short."""
    told = []
    for item in items:
        match item:
            case Told():
                told.append(f"{item.event.revision} {item.event.type}")
            case Said():
                told.append("restarted" if item.is_restart else f"{item.offset} {item.text}")
            case Resync():
                told.append(f"resync {item.revision}")
    return told


def require_whole(items: list[Item], conversation: Conversation, *, revision: int) -> None:
    """Assert that these are all events and all that was said, each once and in its place."""
    assert [item.event.revision for item in items if isinstance(item, Told)] == list(range(1, revision + 1))
    texts: dict[str, str] = {}
    numbers: dict[str, int] = {}
    alive: set[str] = set()
    for item in items:
        if isinstance(item, Told):
            for effect in item.event.effects:
                if effect.type is EventType.TURN_CREATED:
                    alive.add(str(effect.turn_id))
                elif effect.type in _ENDINGS:
                    alive.remove(str(effect.turn_id))
        else:
            assert isinstance(item, Said), "nothing was lost"
            assert item.turn_id in alive, "said between the turn's creation and its end"
            assert item.cursor.number == numbers.get(item.turn_id, 0) + 1, "dense within the turn"
            numbers[item.turn_id] = item.cursor.number
            step = str(ids.from_wire(ids.Kind.STEP, item.step_id))
            if item.is_restart:
                texts[step] = ""
            else:
                assert item.offset == len(texts.get(step, ""))
                texts[step] = texts.get(step, "") + item.text
    assert texts == conversation.said


@pytest.mark.parametrize("seed", range(6))
async def test_readers_that_are_cut_off_at_random_miss_and_repeat_nothing(
    pool: Pool, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(streaming, "EVENTS_MAX", chance.choice([1, 2, 5]))
    monkeypatch.setattr(streaming, "DELTAS_MAX", chance.choice([1, 2, 3, 7]))
    conversation = await Conversation.begin(await make_world(pool), pool)
    readers = [
        Reader(conversation, Cursor(revision=0), random.Random(seed * 100 + number)) for number in range(4)
    ]
    is_over = asyncio.Event()

    async def follow(reader: Reader) -> None:
        while not is_over.is_set():
            await reader.read()
            await asyncio.sleep(0)
        await reader.read_all()

    async def converse() -> None:
        await wander(conversation, chance, steps=120)
        is_over.set()

    async with asyncio.timeout(_SECONDS_MAX):
        await asyncio.gather(converse(), *(follow(reader) for reader in readers))
        late = Reader(conversation, Cursor(revision=0))
        await late.read_all()

    world = conversation.world
    revision = await world.store.reading.revision(world.caller, conversation.session_id)
    for reader in [*readers, late]:
        require_whole(reader.items, conversation, revision=revision)
    assert sum(reader.cut_count for reader in readers) > 20, "without cuts nothing was tested"
    assert any(isinstance(item, Said) and item.is_restart for item in late.items) or seed


async def test_what_a_turn_has_said_comes_before_the_event_that_ends_it(pool: Pool) -> None:
    conversation = await Conversation.begin(await make_world(pool), pool)
    await conversation.append()
    await conversation.take_up()
    await conversation.say("Hello ")
    await conversation.rename()
    await conversation.say("there.")
    await conversation.complete()

    items = await Reader(conversation, Cursor(revision=0)).read_all()

    assert shown(items) == [
        "1 session.created",
        "2 turn.created",
        "3 session.updated",
        "0 Hello ",
        "6 there.",
        "4 turn.completed",
    ]


async def test_what_a_turn_says_before_it_waits_and_after_stands_around_the_decision(pool: Pool) -> None:
    conversation = await Conversation.begin(await make_world(pool), pool)
    await conversation.append()
    early = Reader(conversation, Cursor(revision=2))
    await conversation.take_up()
    await conversation.say("One moment")
    await early.read_all()
    await conversation.say(", please.")
    (approval,) = await conversation.park()
    await conversation.world.decide(approval)
    await conversation.take_up()
    await conversation.say("Done.")
    late = Reader(conversation, Cursor(revision=0))
    await late.read_all()
    await conversation.complete()

    behind = ["10 , please.", "3 turn.awaiting_approval", "4 approval.decided", "0 Done.", "5 turn.completed"]
    assert shown(await early.read_all()) == ["0 One moment", *behind]
    whole = ["1 session.created", "2 turn.created", "0 One moment", *behind]
    assert shown(await late.read_all()) == whole
    assert shown(await Reader(conversation, Cursor(revision=0)).read_all()) == whole


async def test_runs_whose_clocks_disagree_leave_no_gap_before_a_wait(pool: Pool) -> None:
    conversation = await Conversation.begin(await make_world(pool), pool)
    await conversation.append()
    await conversation.take_up()
    await conversation.say("One moment")
    await conversation.say(", please.")
    await conversation.park()
    await pool.execute("UPDATE deltas SET at = at + interval '1 hour' WHERE number = 1")

    told = shown(await Reader(conversation, Cursor(revision=2)).read_all())

    assert told == ["0 One moment", "10 , please.", "3 turn.awaiting_approval"]


async def test_a_reader_without_a_cursor_begins_at_the_present_with_what_its_turn_has_said(
    pool: Pool,
) -> None:
    conversation = await Conversation.begin(await make_world(pool), pool)
    await conversation.append()
    await conversation.take_up()
    await conversation.say("Hello ")
    reader = Reader(conversation, None)

    await reader.read_all()
    await conversation.say("there.")
    await conversation.complete()

    assert shown(await reader.read_all()) == ["0 Hello ", "6 there.", "3 turn.completed"]


async def test_a_cancelled_turn_keeps_what_readers_were_shown(pool: Pool) -> None:
    conversation = await Conversation.begin(await make_world(pool), pool)
    await conversation.append()
    await conversation.take_up()
    await conversation.say("Exactly ")
    await conversation.say("this")
    turn = await conversation.cancel()

    items = await Reader(conversation, Cursor(revision=0)).read_all()

    assert shown(items)[2:] == ["0 Exactly ", "8 this", "3 turn.cancelled"]
    assert turn.replies[0].text == "Exactly this"


async def test_a_take_over_takes_back_what_the_lost_run_has_said(pool: Pool) -> None:
    conversation = await Conversation.begin(await make_world(pool), pool)
    await conversation.append()
    await conversation.take_up()
    await conversation.say("From the lost ")
    reader = Reader(conversation, None)
    await reader.read_all()
    await conversation.lose()
    await conversation.take_up()
    await conversation.say("From the other")
    turn = await conversation.cancel()

    assert shown(await reader.read_all()) == [
        "0 From the lost ",
        "restarted",
        "0 From the other",
        "3 turn.cancelled",
    ]
    assert turn.replies[0].text == "From the other"


async def test_an_interrupted_turn_is_told_to_its_end_before_the_turn_in_its_place(pool: Pool) -> None:
    conversation = await Conversation.begin(await make_world(pool), pool)
    first = await conversation.append()
    await conversation.take_up()
    await conversation.say("Cut ")
    reader = Reader(conversation, Cursor(revision=2))
    await reader.read_all()
    await conversation.regenerate(first)
    await conversation.take_up()
    await conversation.say("Whole")
    await conversation.append(IfActive.INTERRUPT)

    items = await reader.read_all()

    told = [item.event for item in items if isinstance(item, Told)]
    assert shown(items) == ["0 Cut ", "3 turn.created", "0 Whole", "4 turn.created"]
    assert [effect.type for effect in told[0].effects] == ["turn.cancelled", "turn.created"]


async def test_queued_turns_that_a_rewind_cancels_are_told_once(pool: Pool) -> None:
    conversation = await Conversation.begin(await make_world(pool), pool)
    await conversation.append()
    await conversation.append(IfActive.ENQUEUE)
    await conversation.take_up()
    await conversation.say("Half")
    await conversation.rewind(None)

    items = await Reader(conversation, Cursor(revision=0)).read_all()

    assert shown(items)[-2:] == ["0 Half", "4 session.rewound"]
    require_whole(items, conversation, revision=4)


async def test_a_fixed_greeting_says_nothing_between_its_events(pool: Pool) -> None:
    conversation = await Conversation.begin(await make_world(pool), pool, greeting="Welcome.")

    items = await Reader(conversation, Cursor(revision=0)).read_all()

    assert shown(items) == ["1 session.created", "2 turn.completed"]


async def test_a_fork_is_followed_from_its_own_beginning(pool: Pool) -> None:
    conversation = await Conversation.begin(await make_world(pool), pool)
    turn_id = await conversation.append()
    await conversation.take_up()
    await conversation.say("Shared")
    await conversation.complete()
    world = conversation.world
    forked = await world.store.sessions.fork(
        world.caller,
        conversation.session_id,
        turn_id=turn_id,
        expected=None,
        idempotency=None,
        render=rendered,
    )
    assert hasattr(forked, "delta")
    branch = Conversation(world, pool, forked.delta.session.id)
    await branch.append()
    await branch.take_up()
    await branch.say("Own")
    await branch.complete()

    items = await Reader(branch, Cursor(revision=0)).read_all()

    first = forked.delta.session.revision
    assert shown(items)[first:] == [f"{first + 1} turn.created", "0 Own", f"{first + 2} turn.completed"]
    assert not any(isinstance(item, Said) for item in items[:first])


async def test_a_cursor_that_is_kept_no_longer_is_told_where_to_go_on(pool: Pool) -> None:
    conversation = await Conversation.begin(await make_world(pool), pool)
    await conversation.append()
    await conversation.take_up()
    await conversation.say("Old ")
    reader = Reader(conversation, Cursor(revision=0))
    await reader.read_all()
    await conversation.say("words")
    await conversation.complete()
    await pool.execute("DELETE FROM deltas")

    resumed = await reader.read_all()
    await conversation.rename()

    assert shown(resumed)[-1:] == ["resync 3"]
    assert shown(await reader.read_all())[-1:] == ["4 session.updated"]


async def test_a_log_that_has_lost_its_beginning_is_not_shown_as_a_whole(pool: Pool) -> None:
    conversation = await Conversation.begin(await make_world(pool), pool)
    await conversation.append()
    await conversation.take_up()
    await conversation.say("Old ")
    await conversation.say("words")
    await pool.execute("DELETE FROM deltas WHERE number = 1")

    assert shown(await Reader(conversation, None).read_all()) == ["resync 2"]


async def test_a_cursor_from_the_future_is_told_where_the_session_is(pool: Pool) -> None:
    conversation = await Conversation.begin(await make_world(pool), pool)

    assert shown(await Reader(conversation, Cursor(revision=9)).read_all()) == ["resync 1"]


async def test_a_deleted_session_is_followed_by_nobody(pool: Pool) -> None:
    conversation = await Conversation.begin(await make_world(pool), pool)
    world = conversation.world
    await world.store.sessions.erase(world.caller, conversation.session_id, expected=1)

    for cursor in (None, Cursor(revision=0)):
        with pytest.raises(NotFound):
            await world.store.streaming.following(world.caller, conversation.session_id, cursor)


async def test_a_session_is_followed_by_its_own_organization_alone(pool: Pool) -> None:
    conversation = await Conversation.begin(await make_world(pool), pool)
    other = await make_world(pool, name="Other")

    with pytest.raises(NotFound):
        await other.store.streaming.following(other.caller, conversation.session_id, None)


async def test_a_batch_is_bounded_however_much_was_said(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "DELTAS_MAX", 3)
    conversation = await Conversation.begin(await make_world(pool), pool)
    for _ in range(3):
        await conversation.append()
        await conversation.take_up()
        await conversation.say("one ")
        await conversation.say("two ")
        await conversation.complete()
    world = conversation.world

    batch = await world.store.streaming.following(world.caller, conversation.session_id, Cursor(revision=0))

    assert sum(isinstance(item, Said) for item in batch.items) <= 3
    assert batch.has_more


async def test_a_log_outside_of_partitions_is_forgotten_as_a_whole_when_its_turn_is_final(pool: Pool) -> None:
    await pool.execute("ALTER TABLE deltas DETACH PARTITION deltas_first")
    conversation = await Conversation.begin(await make_world(pool), pool)
    await conversation.append()
    await conversation.take_up()
    await conversation.say("Old ")
    await pool.execute("UPDATE deltas SET at = now() - interval '2 hours'")

    async def swept() -> int:
        async with pool.acquire() as conn:
            before = await conn.fetchval("SELECT now() - interval '1 hour'")
            return await deltas.sweep(conn, before=before)

    while_running = await swept()
    await conversation.say("words")
    await conversation.complete()
    while_partly_young = await swept()
    await pool.execute("UPDATE deltas SET at = now() - interval '2 hours'")
    just_final = await swept()
    await pool.execute("UPDATE runs SET ended_at = now() - interval '2 hours'")

    assert (while_running, while_partly_young, just_final, await swept()) == (0, 0, 0, 2)
