"""The doorbell between processes: what one tells the others hear, and it comes back by itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from api import doorbell
from api.doorbell import Doorbell, read, written
from api.events import ANY_RUNNER, Hub, Notice
from db.pool import Pool

_SECONDS_MAX = 10


@contextlib.asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Hub]:
    """The hub of a process of its own."""
    hub = Hub()
    keeping = asyncio.create_task(Doorbell(hub, dsn).keep())
    try:
        await until_connected(hub)
        yield hub
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping


async def until_connected(hub: Hub) -> None:
    async with asyncio.timeout(_SECONDS_MAX):
        while not hub.hears_others:
            await asyncio.sleep(0.01)


async def test_what_one_process_tells_the_listeners_of_another_hear(database_url: str) -> None:
    session_id, other_id = uuid4(), uuid4()
    async with connected(database_url) as here, connected(database_url) as there:
        with (
            there.listening(session_id) as of_session,
            there.listening(other_id, hears_deltas=True) as of_other,
            there.listening(ANY_RUNNER) as of_runners,
        ):
            here.tell(Notice(session_id=session_id))

            assert await of_session.wait(seconds_max=_SECONDS_MAX)
            assert not await of_other.wait(seconds_max=0)
            assert not await of_runners.wait(seconds_max=0)

            here.tell(Notice(session_id=other_id, is_commit=False))
            here.tell(Notice(session_id=session_id, is_claimable=True))

            assert await of_other.wait(seconds_max=_SECONDS_MAX)
            assert await of_runners.wait(seconds_max=_SECONDS_MAX)


async def test_what_turns_say_wakes_those_alone_who_listen_for_it(database_url: str) -> None:
    session_id = uuid4()
    async with connected(database_url) as here, connected(database_url) as there:
        with (
            there.listening(session_id) as commits,
            there.listening(session_id, hears_deltas=True) as deltas,
        ):
            here.tell(Notice(session_id=session_id, is_commit=False))

            assert await deltas.wait(seconds_max=_SECONDS_MAX)
            assert not await commits.wait(seconds_max=0)


async def test_a_process_does_not_hear_itself(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Notice] = []
    session_id = uuid4()
    async with connected(database_url) as here, connected(database_url) as there:
        with there.listening(session_id) as listener:
            monkeypatch.setattr(here, "hear", heard.append)
            here.tell(Notice(session_id=session_id))
            assert await listener.wait(seconds_max=_SECONDS_MAX)
            # By now its own ring has come back to it as well.
            there.tell(Notice(session_id=session_id, is_claimable=True))
            async with asyncio.timeout(_SECONDS_MAX):
                while len(heard) < 2:
                    await asyncio.sleep(0.01)

    assert [notice.is_claimable for notice in heard] == [False, True]


async def test_a_line_that_was_cut_comes_back_and_wakes_everyone(database_url: str, pool: Pool) -> None:
    session_id = uuid4()
    async with connected(database_url) as here, connected(database_url) as there:
        with there.listening(session_id) as listener:
            await pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'turnledger doorbell' AND datname = current_database()"
            )
            assert await listener.wait(seconds_max=_SECONDS_MAX), "nobody knows what was missed"
            await until_connected(here)
            await until_connected(there)
            here.tell(Notice(session_id=session_id))
            assert await listener.wait(seconds_max=_SECONDS_MAX)


async def test_without_a_server_it_goes_on_trying_and_nobody_relies_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doorbell, "_RETRY_SECONDS", 0.01)
    hub = Hub()
    keeping = asyncio.create_task(Doorbell(hub, "postgresql://127.0.0.1:1/none").keep())
    with hub.listening(UUID(int=1)) as listener:
        async with asyncio.timeout(_SECONDS_MAX):
            while hub._pass_on is None:
                await asyncio.sleep(0.01)
        hub.tell(Notice(session_id=UUID(int=1)))

        assert await listener.wait(seconds_max=0.1)
    assert not hub.hears_others
    assert not keeping.done()
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeping


def test_payloads_are_within_what_postgres_takes_and_read_back_the_same() -> None:
    notices = [Notice(session_id=uuid4(), is_commit=bool(number % 2)) for number in range(1_000)]

    payloads = list(written(notices))

    assert max(len(payload.encode()) for payload in payloads) < 8_000
    assert [notice for payload in payloads for notice in read(payload)] == notices


@pytest.mark.parametrize("payload", ["", "r", "x", "c123", "r" + "c" + "g" * 32])
def test_a_payload_that_cannot_be_read_is_left_out(payload: str) -> None:
    assert list(read(payload)) == []


def test_a_ring_for_runners_is_one_sign() -> None:
    notices = [Notice(session_id=uuid4(), is_claimable=True) for _ in range(3)]

    [payload] = written(notices)

    assert [notice.is_claimable for notice in read(payload)] == [True, False, False]
