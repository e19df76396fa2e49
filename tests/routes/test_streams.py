"""Event streams over HTTP, from one server that tests hold in their hands."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from api.agents.definition import Definition
from api.routes.state import RoutesState
from db.pool import Pool
from tests.event_streams import ACCEPT, following, names, text_of
from tests.factories import DEFINITION, World, make_world, rendered
from tests.routes.service import listening, make_app, make_state, turns_running
from tests.store.conversing import Conversation

SLOW = Definition(model="scripted:slow", instructions="Be brief.")
_SECONDS_MAX = 20


class Server:
    """One served world, and a client with a key to it."""

    def __init__(self, world: World, state: RoutesState, client: httpx.AsyncClient, address: str) -> None:
        self.world = world
        self.state = state
        self.client = client
        self.address = address

    async def session(self) -> str:
        """The path of a new session."""
        return f"/v1/sessions/{(await self.world.session()).session.id}"

    async def message(self, path: str, revision: int, text: str = "Hello there", **fields: Any) -> Any:
        """Say something without waiting."""
        response = await self.client.post(
            f"{path}/messages",
            json={"text": text, "expected_revision": revision, **fields},
            headers={"Prefer": "respond-async"},
        )
        assert response.status_code == 202, response.text
        return response.json()

    async def until_no_stream_is_open(self) -> None:
        """Wait until every stream has let go of its place."""
        async with asyncio.timeout(_SECONDS_MAX):
            while self.state.stream_count:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def served(
    pool: Pool, *, definition: Definition = DEFINITION, **settings: Any
) -> AsyncIterator[Server]:
    world = await make_world(pool, definition=definition)
    # By the clock alone nothing would be told within the time of a test.
    state = make_state(world, **({"stream_poll_seconds": 600, "poll_interval_ms": 60_000} | settings))
    key = await world.store.access.create_key(world.organization_id, name="test")
    async with (
        listening(make_app(state)) as address,
        httpx.AsyncClient(
            base_url=address, headers={"Authorization": f"Bearer {key.secret}"}, timeout=_SECONDS_MAX
        ) as client,
    ):
        yield Server(world, state, client, address)


async def test_a_session_is_followed_from_its_first_event_to_its_last(pool: Pool) -> None:
    async with served(pool) as server, turns_running(server.world):
        path = await server.session()
        async with following(server.client, f"{path}/events?after=0") as stream:
            received = await stream.until("session.created")
            turn_id = (await server.message(path, 1))["turn_id"]
            received += await stream.until("turn.completed")
            await server.client.post(f"{path}/end", json={"expected_revision": 3})
            received += await stream.rest()

    assert names(received) == [
        "session.created",
        "turn.created",
        "turn.delta",
        "turn.completed",
        "session.ended",
        "end",
    ]
    assert text_of(received, turn_id) == "Hello there"
    assert [one.id for one in received if one.event != "turn.delta"] == [
        "1.0.0",
        "2.0.0",
        "3.0.0",
        "4.0.0",
        "4.0.0",
    ]
    assert received[1].data["effects"] == [{"type": "turn.created", "turn_id": turn_id}]
    assert received[-1].data == {"reason": "session_ended"}


async def test_listeners_are_told_that_a_turn_waits_and_what_was_decided(pool: Pool) -> None:
    async with served(pool) as server:
        path = await server.session()
        async with following(server.client, f"{path}/events?after=1") as stream:
            (approval,) = await server.world.ask(path.rpartition("/")[2])
            received = await stream.until("turn.awaiting_approval")
            await server.world.decide(approval)
            received += await stream.until("approval.decided")

    assert names(received) == ["turn.created", "turn.awaiting_approval", "approval.decided"]
    (effect,) = received[-1].data["effects"]
    assert (effect["type"], effect["approval_id"]) == ("approval.decided", approval.id)


async def test_a_stream_goes_on_behind_the_last_event_by_header_or_parameter(pool: Pool) -> None:
    async with served(pool) as server, turns_running(server.world):
        path = await server.session()
        await server.message(path, 1)
        async with following(server.client, f"{path}/events?after=0") as stream:
            whole = await stream.until("turn.completed")
        for index, one in enumerate(whole[:-1]):
            async with following(
                server.client, f"{path}/events?after=0", headers={"Last-Event-ID": one.id}
            ) as stream:
                assert await stream.until("turn.completed") == whole[index + 1 :]
            async with following(server.client, f"{path}/events?last_event_id={one.id}") as stream:
                assert await stream.until("turn.completed") == whole[index + 1 :]


async def test_a_stream_that_was_cut_off_at_once_goes_on_from_where_it_began(pool: Pool) -> None:
    async with served(pool) as server:
        path = await server.session()
        async with following(server.client, f"{path}/events") as stream:
            async for chunk in stream.response.aiter_raw():
                stream.parser.feed(chunk)
                break

    assert stream.parser.last_event_id == "1.0.0"


@pytest.mark.parametrize(
    "text", ["7", "1.2", "a.b.c", "1.2.3.4", "-1.0.0", "99999999999.0.0", "4294967296.0.0"]
)
async def test_an_id_that_is_none_is_refused(pool: Pool, text: str) -> None:
    async with served(pool) as server:
        path = await server.session()
        by_header = await server.client.get(f"{path}/events", headers={**ACCEPT, "Last-Event-ID": text})
        by_parameter = await server.client.get(
            f"{path}/events", params={"last_event_id": text}, headers=ACCEPT
        )

    assert [by_header.status_code, by_parameter.status_code] == [400, 400]
    assert by_header.json()["code"] == "malformed-event-id"


async def test_a_list_stays_the_answer_of_who_asks_for_no_stream(pool: Pool) -> None:
    async with served(pool) as server:
        path = await server.session()
        listed = (await server.client.get(f"{path}/events")).json()
        head = await server.client.head(f"{path}/events", headers=ACCEPT)

    assert ([one["revision"] for one in listed["items"]], listed["next"]) == ([1], 1)
    assert (head.status_code, head.headers["content-type"].partition(";")[0]) == (200, ACCEPT["Accept"])


async def test_a_session_of_another_organization_is_not_followed(pool: Pool) -> None:
    async with served(pool) as server:
        other = await make_world(pool, name="Other")
        foreign = (await other.session()).session.id
        response = await server.client.get(f"/v1/sessions/{foreign}/events", headers=ACCEPT)

    assert (response.status_code, response.json()["code"]) == (404, "not-found")


async def test_a_silent_stream_shows_that_it_is_alive(pool: Pool) -> None:
    async with served(pool, stream_comment_seconds=0.1) as server:
        path = await server.session()
        async with following(server.client, f"{path}/events") as stream:
            async for chunk in stream.response.aiter_raw():
                stream.parser.feed(chunk)
                if stream.parser.comment_count == 2:
                    break


async def test_a_stream_of_an_ended_session_ends_at_once(pool: Pool) -> None:
    async with served(pool) as server:
        path = await server.session()
        await server.client.post(f"{path}/end", json={"expected_revision": 1})
        async with following(server.client, f"{path}/events") as stream:
            assert [one.data for one in await stream.rest()] == [{"reason": "session_ended"}]


async def test_a_stream_of_a_deleted_session_says_so_and_ends(pool: Pool) -> None:
    async with served(pool) as server:
        path = await server.session()
        async with following(server.client, f"{path}/events?after=0") as stream:
            await stream.until("session.created")
            await server.client.delete(path, headers={"If-Match": '"1"'})
            assert [one.data for one in await stream.rest()] == [{"reason": "session_deleted"}]


async def test_an_old_cursor_is_told_where_to_go_on(pool: Pool) -> None:
    async with served(pool) as server:
        path = await server.session()
        async with following(server.client, f"{path}/events", headers={"Last-Event-ID": "9.0.0"}) as stream:
            [resync] = await stream.until("resync")

    assert (resync.data, resync.id) == ({"revision": 1}, "1.0.0")


async def test_more_streams_than_the_limit_are_sent_away_and_come_back_later(pool: Pool) -> None:
    async with served(pool, streams_max=1) as server:
        path = await server.session()
        async with following(server.client, f"{path}/events?after=0") as stream:
            await stream.until("session.created")
            refused = await server.client.get(f"{path}/events", headers=ACCEPT)
            message = await server.client.post(
                f"{path}/messages", json={"text": "Hello", "expected_revision": 1}, headers=ACCEPT
            )
            listed = await server.client.get(f"{path}/events")
        await server.until_no_stream_is_open()
        async with following(server.client, f"{path}/events?after=0") as stream:
            await stream.until("session.created")

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert (message.status_code, listed.status_code) == (503, 200)
    assert listed.json()["revision"] == 1, "a message that was sent away is not there"


async def test_a_burst_takes_no_more_places_than_there_are(pool: Pool) -> None:
    async with served(pool, streams_max=3) as server, contextlib.AsyncExitStack() as stack:
        paths = [await server.session() for _ in range(12)]

        async def ask(path: str) -> int:
            request = server.client.build_request(
                "POST", f"{path}/messages", json={"text": "Hello", "expected_revision": 1}, headers=ACCEPT
            )
            response = await server.client.send(request, stream=True)
            stack.push_async_callback(response.aclose)
            return response.status_code

        answers = await asyncio.gather(*(ask(path) for path in paths))
        documents = [(await server.client.get(path)).json() for path in paths]

    assert sorted(answers) == [200] * 3 + [503] * 9
    assert [document["revision"] for document in documents] == [
        2 if answer == 200 else 1 for answer in answers
    ]


async def test_a_command_that_is_refused_keeps_no_place(pool: Pool) -> None:
    async with served(pool, streams_max=1) as server:
        path = await server.session()
        body = {"text": "Hello", "expected_revision": 7}
        refused = [await server.client.post(f"{path}/messages", json=body, headers=ACCEPT) for _ in range(2)]

    assert [response.status_code for response in refused] == [409, 409]
    assert server.state.stream_count == 0


async def test_a_revoked_key_keeps_no_stream(pool: Pool) -> None:
    async with served(pool, stream_comment_seconds=0.1, key_cache_seconds=0) as server:
        path = await server.session()
        async with following(server.client, f"{path}/events?after=0") as stream:
            await stream.until("session.created")
            await pool.execute("UPDATE api_keys SET revoked_at = now()")
            assert await stream.rest() == []


async def test_a_message_is_answered_with_its_turn_alone_to_the_end(pool: Pool) -> None:
    async with served(pool, definition=SLOW) as server, turns_running(server.world):
        path = await server.session()
        first = (await server.message(path, 1, "My name is Ada."))["turn_id"]
        async with following(
            server.client,
            f"{path}/messages",
            method="POST",
            body={"text": "What is my name?", "expected_revision": 2, "if_active": "enqueue"},
            headers={"Idempotency-Key": "k-1"},
        ) as stream:
            received = await stream.rest()
        located = stream.response.headers["location"]
        async with following(
            server.client,
            f"{path}/messages",
            method="POST",
            body={"text": "What is my name?", "expected_revision": 2, "if_active": "enqueue"},
            headers={"Idempotency-Key": "k-1"},
        ) as stream:
            again = await stream.rest()
        turn = (await server.client.get(located)).json()

    assert names(received) == ["turn.created", "turn.delta", "turn.completed", "end"]
    assert text_of(received) == turn["replies"][0]["text"] == "Your name is Ada."
    assert received[-1].data == {"reason": "turn_final"}
    assert first not in str(received)
    assert stream.response.headers["idempotency-replayed"] == "true"
    assert again == received


async def test_regenerate_is_answered_with_the_new_turns_stream(pool: Pool) -> None:
    async with served(pool) as server, turns_running(server.world):
        path = await server.session()
        turn_id = (await server.message(path, 1))["turn_id"]
        async with following(server.client, f"{path}/events?after=2") as stream:
            await stream.until("turn.completed")
        async with following(
            server.client,
            f"{path}/turns/{turn_id}/regenerate",
            method="POST",
            body={"text": "Other words", "expected_revision": 3},
        ) as stream:
            received = await stream.rest()

    assert names(received) == ["turn.created", "turn.delta", "turn.completed", "end"]
    assert text_of(received) == "Other words"


async def test_retry_is_answered_with_the_new_turns_stream(pool: Pool) -> None:
    async with served(pool) as server:
        path = await server.session()
        turn_id = (await server.message(path, 1, "Never mind"))["turn_id"]
        await server.client.post(f"{path}/turns/{turn_id}/cancel", json={})
        async with (
            turns_running(server.world),
            following(
                server.client,
                f"{path}/turns/{turn_id}/retry",
                method="POST",
                body={"expected_revision": 3},
            ) as stream,
        ):
            received = await stream.rest()

    assert names(received) == ["turn.created", "turn.delta", "turn.completed", "end"]
    assert text_of(received) == "Never mind"


@pytest.mark.parametrize("how", ["cancel", "rewind", "end"])
async def test_whichever_command_ends_the_turn_its_stream_ends(pool: Pool, how: str) -> None:
    async with served(pool, definition=SLOW) as server, turns_running(server.world):
        path = await server.session()
        async with following(
            server.client, f"{path}/messages", method="POST", body={"text": "Hi", "expected_revision": 1}
        ) as stream:
            received = await stream.until("turn.delta")
            turn_id = received[-1].data["turn_id"]
            if how == "cancel":
                await server.client.post(f"{path}/turns/{turn_id}/cancel", json={})
            elif how == "rewind":
                await server.client.post(f"{path}/rewind", json={"to": "start", "expected_revision": 2})
            else:
                await server.client.post(f"{path}/end", json={"expected_revision": 2})
            received += await stream.rest()
        turn = (await server.client.get(f"{path}/turns/{turn_id}")).json()

    assert {"type": "turn.cancelled", "turn_id": turn_id} in received[-2].data["effects"]
    assert received[-1].data == {"reason": "turn_final"}
    assert turn["replies"][0]["text"] == text_of(received), "exactly what was shown is kept"


async def test_a_client_that_goes_away_cancels_nothing(pool: Pool) -> None:
    async with served(pool, definition=SLOW) as server, turns_running(server.world):
        path = await server.session()
        async with following(
            server.client, f"{path}/messages", method="POST", body={"text": "Hi", "expected_revision": 1}
        ) as stream:
            received = await stream.until("turn.delta")
        await server.until_no_stream_is_open()
        async with following(
            server.client, f"{path}/events", headers={"Last-Event-ID": received[-1].id}
        ) as stream:
            received += await stream.until("turn.completed")
        turn = (await server.client.get(f"{path}/turns/{received[1].data['turn_id']}")).json()

    assert text_of(received) == turn["replies"][0]["text"]


async def test_when_the_service_stops_streams_end_and_waiting_calls_are_answered(pool: Pool) -> None:
    async with served(pool) as server:
        path = await server.session()
        async with following(server.client, f"{path}/events?after=0") as stream:
            await stream.until("session.created")
            waiting = asyncio.create_task(
                server.client.post(f"{path}/messages", json={"text": "Hi", "expected_revision": 1})
            )
            await stream.until("turn.created")

            server.state.stop()

            assert await stream.rest() == []
            assert (await waiting).status_code == 202


async def test_a_reader_that_takes_nothing_is_dropped_and_goes_on_when_it_comes_back(pool: Pool) -> None:
    # What is written last is known not to be taken when the next is written: a comment, if nothing else.
    async with served(pool, stream_send_seconds_max=0.3, stream_comment_seconds=0.5) as server:
        conversation = await Conversation.begin(server.world, pool)
        turn_id = await conversation.append()
        await conversation.take_up()
        for number in range(200):
            await conversation.say(f"{number:06d}" * 5_000)
        path = f"/v1/sessions/{conversation.session_id}/events"

        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            host, port = server.address.removeprefix("http://").split(":")
            slow.connect((host, int(port)))
            authorization = server.client.headers["authorization"]
            slow.sendall(
                f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n"
                f"Authorization: {authorization}\r\n\r\n".encode()
            )
            async with asyncio.timeout(_SECONDS_MAX):
                while not server.state.stream_count:
                    await asyncio.sleep(0.01)
            await server.until_no_stream_is_open()
            slow.setblocking(False)
            byte_count = 0
            with contextlib.suppress(ConnectionResetError):
                while taken := await asyncio.get_running_loop().sock_recv(slow, 65_536):
                    byte_count += len(taken)
        await server.world.store.sessions.cancel(
            server.world.caller,
            conversation.session_id,
            turn_id=turn_id,
            expected=None,
            idempotency=None,
            render=rendered,
        )
        async with following(server.client, f"{path}?after=0") as stream:
            events = await stream.until("turn.cancelled")

    assert byte_count < 200 * 30_000, "what was not taken was not kept for it"
    assert len(text_of(events)) == 200 * 30_000
