"""More work than the process can take: what it cannot begin it sends away, and nothing waits for ever."""

import asyncio

import httpx
import pytest

from api.events import Hub
from api.store.store import Store
from db.pool import Pool, open_pool
from tests.event_streams import following, names
from tests.factories import make_world
from tests.routes.service import client_of, listening, make_app, make_state

_SECONDS_MAX = 20


async def test_who_finds_no_connection_is_told_to_come_again(database_url: str) -> None:
    async with await open_pool(database_url, size_max=1, acquire_timeout_seconds=0.2) as pool:
        world = await make_world(pool)
        async with client_of(world, make_app(make_state(world))) as api:
            session = await api.session()
            path = f"/v1/sessions/{session['id']}"

            async with pool.acquire():
                reading = await api.call("GET", path)
                writing = await api.call("POST", f"{path}/messages", {"text": "Hi", "expected_revision": 1})
            afterwards = await api.get(path)

    for response in (reading, writing):
        assert (response.status_code, response.json()["code"]) == (503, "unavailable")
        assert response.headers["retry-after"] == "1"
    assert afterwards["revision"] == 1


async def test_a_stream_that_finds_no_connection_goes_on_when_there_is_one(database_url: str) -> None:
    async with await open_pool(database_url, size_max=1, acquire_timeout_seconds=0.1) as pool:
        world = await make_world(pool)
        state = make_state(world, stream_poll_seconds=0.05)
        key = await world.store.access.create_key(world.organization_id, name="test")
        session_id = (await world.session()).session.id
        async with (
            listening(make_app(state)) as address,
            httpx.AsyncClient(base_url=address, headers={"Authorization": f"Bearer {key.secret}"}) as client,
            following(client, f"/v1/sessions/{session_id}/events?after=0") as stream,
        ):
            received = await stream.until("session.created")
            async with pool.acquire():
                for _ in range(5):  # the stream looks, and is turned away, more often than this
                    with pytest.raises(TimeoutError):
                        await pool.acquire()
            await world.append(session_id, 1)
            received += await stream.until("turn.created")

    assert names(received) == ["session.created", "turn.created"]


async def test_a_message_that_is_written_is_answered_when_its_turn_cannot_be_looked_at(
    database_url: str, pool: Pool
) -> None:
    onlooker = Store(pool, Hub())  # with connections of its own: none may be taken from under the message
    async with await open_pool(database_url, size_max=1, acquire_timeout_seconds=0.05) as narrow_pool:
        world = await make_world(narrow_pool)
        async with client_of(world, make_app(make_state(world, poll_interval_ms=10))) as api:
            session = await api.session()
            path = f"/v1/sessions/{session['id']}"
            sending = asyncio.create_task(
                api.call(
                    "POST",
                    f"{path}/messages",
                    {"text": "Hi", "expected_revision": 1},
                    headers={"Prefer": "wait=1"},
                )
            )
            async with asyncio.timeout(_SECONDS_MAX):
                while await onlooker.reading.revision(world.caller, session["id"]) == 1:
                    await asyncio.sleep(0.01)

                async with narrow_pool.acquire(timeout=_SECONDS_MAX):
                    response = await sending

    assert response.status_code == 202
    assert response.json()["turns"][0]["state"] == "pending"
