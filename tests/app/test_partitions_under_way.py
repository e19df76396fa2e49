"""Partitions come and go under running turns, and neither writers nor readers notice."""

import asyncio
import contextlib
from datetime import timedelta

import asyncpg

from api.stopping import stopped
from api.store.base import utc_now
from api.store.streaming import Cursor
from db import partitions
from db.partitions import present
from db.pool import Pool
from tests.factories import make_world
from tests.store.conversing import Conversation
from tests.store.test_doctor import findings
from tests.store.test_streaming import Reader, require_whole

_SECONDS_MAX = 60


async def come_and_go(pool: Pool, dropped: list[str]) -> None:
    """Divide deltas and steps into stretches of a second, and drop each soon after, until cancelled."""
    second = timedelta(seconds=1)
    async with pool.acquire() as conn:
        # The first partitions reach far ahead; what there is goes on in the rest.
        for parent in ("deltas", "steps"):
            assert await partitions.drop(conn, f"{parent}_first", kept_since=utc_now()) is not None
        while True:
            now = utc_now()
            for parent in ("deltas", "steps"):
                begin = now.replace(microsecond=0) + second
                with contextlib.suppress(asyncpg.LockNotAvailableError):
                    await partitions.add(conn, parent, begins_at=begin, ends_at=begin + second)
            for row in await present(conn):
                if row.parent in ("deltas", "steps") and row.ends_at < now - second:
                    kept = await partitions.drop(conn, row.name, kept_since=now - 5 * second)
                    dropped += [row.name] * (kept is not None)
            await asyncio.sleep(0.1)


async def test_turns_go_on_and_readers_miss_nothing_while_partitions_come_and_go(pool: Pool) -> None:
    world = await make_world(pool)
    conversation = await Conversation.begin(world, pool)
    reader = Reader(conversation, Cursor(revision=0))
    # Beside it somebody thinks for long.
    slow = await Conversation.begin(world, pool)
    await slow.append()
    await slow.take_up()
    await slow.say("Let me think. ")
    dropped: list[str] = []
    turn_count = 0

    going = asyncio.create_task(come_and_go(pool, dropped))
    try:
        async with asyncio.timeout(_SECONDS_MAX):
            while len(dropped) < 6:
                assert not going.done(), going.exception()
                await conversation.append()
                await conversation.take_up()
                for piece in range(4):
                    await conversation.say(f"{turn_count}.{piece} ")
                    await reader.read_all()
                await (conversation.cancel() if turn_count % 5 == 4 else conversation.complete())
                await reader.read_all()
                turn_count += 1
    finally:
        await stopped(going)
    await slow.say("Yes.")
    kept = await slow.cancel()

    require_whole(reader.items, conversation, revision=1 + 2 * turn_count)
    assert kept.replies[0].text == "Let me think. Yes."
    assert await findings(world) == {}
