"""Calls that make a turn, and how long they wait for it."""

import asyncio
from typing import Any

import httpx
import pytest

from api.agents.definition import Definition
from db.pool import Pool
from tests.factories import completing, make_world
from tests.routes.service import client_of, listening, make_app, make_state, serving, turns_running

_SECONDS_MAX = 10


async def test_a_message_waits_for_its_answer(pool: Pool) -> None:
    async with serving(pool) as api, turns_running(api.world):
        session = await api.session()

        response = await api.call(
            "POST",
            f"/v1/sessions/{session['id']}/messages",
            {"text": "Hello there", "speaker": "Bea"},
            headers={"If-Match": '"1"'},
        )
        answer = response.json()

        assert response.status_code == 200
        assert response.headers["etag"] == '"3"'
        assert response.headers["location"] == f"/v1/sessions/{session['id']}/turns/{answer['turn_id']}"
        assert (answer["since_revision"], answer["line_from"], answer["revision"]) == (1, 0, 3)
        [turn] = answer["turns"]
        assert (turn["id"], turn["state"]) == (answer["turn_id"], "completed")
        assert turn["user_message"] == {"text": "Hello there", "speaker": "Bea"}
        assert "Hello there" in turn["replies"][0]["text"]
        found = await api.get(response.headers["location"])
        assert found == turn | {"before": {"node": "start", "variables": {}}}


async def test_a_failed_turn_is_a_call_that_succeeded(pool: Pool) -> None:
    async with (
        serving(pool, definition=Definition(model="scripted:fail")) as api,
        turns_running(api.world),
    ):
        session = await api.session()

        answer = await api.post(
            f"/v1/sessions/{session['id']}/messages", {"text": "Hello", "expected_revision": 1}
        )
        retried = await api.post(
            f"/v1/sessions/{session['id']}/turns/{answer['turn_id']}/retry", {"expected_revision": 3}
        )

    assert answer["turns"][0]["state"] == "failed"
    assert answer["turns"][0]["error"]["code"] == "provider_unavailable"
    assert retried["turn_id"] != answer["turn_id"]
    assert retried["turns"][0]["user_message"] == {"text": "Hello"}


async def test_who_does_not_wait_gets_the_pending_turn(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()

        response = await api.call(
            "POST",
            f"/v1/sessions/{session['id']}/messages",
            {"text": "Hello", "expected_revision": 1},
            headers={"Prefer": "respond-async"},
        )

    assert response.status_code == 202
    assert response.headers["preference-applied"] == "respond-async"
    assert (response.json()["turns"][0]["state"], response.headers["etag"]) == ("pending", '"2"')


async def test_a_wait_that_passes_is_answered_with_202(pool: Pool) -> None:
    async with serving(pool, wait_seconds_max=1) as api:
        session = await api.session()

        response = await api.call(
            "POST",
            f"/v1/sessions/{session['id']}/messages",
            {"text": "Hello", "expected_revision": 1},
            headers={"Prefer": "wait=100"},
        )

    assert response.status_code == 202
    assert response.headers["preference-applied"] == "wait=1"
    assert response.json()["turns"][0]["state"] == "pending"


async def test_waiting_calls_hold_no_connection(pool: Pool) -> None:
    count = pool.get_max_size() + 5
    async with serving(pool) as api:
        sessions = [await api.session() for _ in range(count)]
        calls = [
            asyncio.create_task(
                api.call(
                    "POST",
                    f"/v1/sessions/{session['id']}/messages",
                    {"text": "Hello", "expected_revision": 1},
                )
            )
            for session in sessions
        ]

        async with asyncio.timeout(_SECONDS_MAX):
            for _ in range(count):
                while (claim := await api.world.store.running.claim(runner="test", lease_seconds=15)) is None:
                    await asyncio.sleep(0.01)
                await _complete(api.world, claim)
            responses = await asyncio.gather(*calls)

    assert [response.status_code for response in responses] == [200] * count


async def _complete(world: Any, claim: Any) -> None:

    assert await world.store.running.publish(claim, completing(claim, "Hi."))


async def test_a_message_may_wait_in_the_queue_or_interrupt(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.append(await api.session())
        path = f"/v1/sessions/{session['id']}"

        rejected = await api.call("POST", f"{path}/messages", {"text": "Now", "expected_revision": 2})
        queued = await api.append(session, "Later", if_active="enqueue")
        interrupting = await api.append(queued, "At once", if_active="interrupt")
        document = await api.get(path)

    assert (rejected.status_code, rejected.json()["code"]) == (409, "turn-active")
    assert rejected.json()["turn_id"] == session["turn_id"]
    assert queued["active_turn_id"] == session["turn_id"]
    assert interrupting["active_turn_id"] == interrupting["turn_id"]
    assert [turn["state"] for turn in document["turns"]] == ["cancelled", "cancelled", "pending"]


async def test_queued_turns_are_shown_and_at_most_eight_wait(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.append(await api.session(), "0")
        path = f"/v1/sessions/{session['id']}"
        for number in range(1, 9):
            session = await api.append(session, str(number), if_active="enqueue")
        ninth = await api.call(
            "POST", f"{path}/messages", {"text": "9", "expected_revision": 10, "if_active": "enqueue"}
        )
        document = await api.get(path)
        events = (await api.get(f"{path}/events"))["items"]

    turns = document["turns"]
    assert (ninth.status_code, ninth.json()["code"]) == (409, "queue-full")
    assert [turn["user_message"]["text"] for turn in turns] == [str(number) for number in range(9)]
    assert {turn["state"] for turn in turns} == {"pending"}
    assert document["active_turn_id"] == turns[0]["id"]
    assert [event["effects"] for event in events[1:]] == [
        [{"type": "turn.created", "turn_id": turn["id"]}] for turn in turns
    ]


async def test_regenerate_answers_again_with_other_words(pool: Pool) -> None:
    async with serving(pool) as api, turns_running(api.world):
        session = await api.session()
        path = f"/v1/sessions/{session['id']}"
        first = await api.post(f"{path}/messages", {"text": "Hello", "expected_revision": 1})

        response = await api.call(
            "POST",
            f"{path}/turns/{first['turn_id']}/regenerate",
            {"text": "Good evening"},
            headers={"If-Match": '"3"', "Prefer": "wait=20, return=representation"},
        )
        document = response.json()

        assert response.status_code == 200, response.text
        assert response.headers["preference-applied"] == "wait=20, return=representation"
        assert document == await api.get(path)
        assert "Good evening" in document["turns"][0]["replies"][0]["text"]
        assert [future["turn_count"] for future in document["discarded_futures"]] == [1]


async def test_a_greeting_cannot_be_said_in_other_words(pool: Pool) -> None:
    async with serving(pool, definition=Definition(model="scripted:echo", greeting="Hi.")) as api:
        session = await api.session()
        turn_id = session["turns"][0]["id"]
        path = f"/v1/sessions/{session['id']}/turns/{turn_id}"

        reworded = await api.call("POST", f"{path}/regenerate", {"text": "Hm", "expected_revision": 2})
        retried = await api.call("POST", f"{path}/retry", {"expected_revision": 2})

    assert (reworded.status_code, reworded.json()["code"]) == (409, "greeting-has-no-user-message")
    assert (retried.status_code, retried.json()["code"]) == (409, "turn-not-retryable")


async def test_a_turn_is_cancelled_without_a_revision_and_only_once(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.append(await api.session())
        cancel = f"/v1/sessions/{session['id']}/turns/{session['turn_id']}/cancel"

        stale = await api.call("POST", cancel, {"expected_revision": 1})
        response = await api.call("POST", cancel)
        again = await api.call("POST", cancel, {})

    assert stale.status_code == 409
    assert response.status_code == 200, response.text
    assert (response.json()["turns"][0]["state"], response.headers["etag"]) == ("cancelled", '"3"')
    assert (again.status_code, again.headers["etag"]) == (200, '"3"')
    assert again.json() == response.json()


async def test_a_completed_turn_cannot_be_cancelled(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.conversation(1)

        response = await api.call(
            "POST", f"/v1/sessions/{session['id']}/turns/{session['turns'][0]['id']}/cancel", {}
        )

    assert (response.status_code, response.json()["code"]) == (409, "turn-final")
    assert response.json()["state"] == "completed"


async def test_cancelling_ends_the_wait_of_who_sent_the_message(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()
        path = f"/v1/sessions/{session['id']}"
        sending = asyncio.create_task(
            api.call("POST", f"{path}/messages", {"text": "Hello", "expected_revision": 1})
        )
        async with asyncio.timeout(_SECONDS_MAX):
            while (turn_id := (await api.get(path))["active_turn_id"]) is None:
                await asyncio.sleep(0.01)

            await api.post(f"{path}/turns/{turn_id}/cancel", {})
            response = await sending

    assert response.status_code == 200
    assert response.json()["turns"][0]["state"] == "cancelled"


@pytest.mark.parametrize("method", ["end", "delete"])
async def test_a_session_that_goes_away_ends_the_wait(pool: Pool, method: str) -> None:
    async with serving(pool) as api:
        session = await api.session()
        path = f"/v1/sessions/{session['id']}"
        sending = asyncio.create_task(
            api.call("POST", f"{path}/messages", {"text": "Hello", "expected_revision": 1})
        )
        async with asyncio.timeout(_SECONDS_MAX):
            while (await api.get(path))["active_turn_id"] is None:
                await asyncio.sleep(0.01)

            if method == "end":
                await api.post(f"{path}/end", {"expected_revision": 2})
            else:
                await api.call("DELETE", path, headers={"If-Match": "*"})
            response = await sending

    assert response.status_code == (200 if method == "end" else 404)


async def test_a_caller_that_goes_away_cancels_nothing(pool: Pool) -> None:
    async with serving(pool) as api, listening(api.app) as address:
        session = await api.session()
        path = f"/v1/sessions/{session['id']}"

        async with httpx.AsyncClient(base_url=address, timeout=0.5) as impatient:
            with pytest.raises(httpx.ReadTimeout):
                await impatient.post(
                    f"{path}/messages",
                    json={"text": "Hello", "expected_revision": 1},
                    headers={"Authorization": f"Bearer {api.secret}"},
                )
        async with turns_running(api.world), asyncio.timeout(_SECONDS_MAX):
            while (document := await api.get(path))["active_turn_id"] is not None:
                await asyncio.sleep(0.01)

    assert [turn["state"] for turn in document["turns"]] == ["completed"]


async def test_a_service_that_stops_keeps_nobody_waiting(pool: Pool) -> None:
    world = await make_world(pool)
    state = make_state(world, poll_interval_ms=10)
    async with client_of(world, make_app(state)) as api, asyncio.timeout(_SECONDS_MAX):
        session = await api.session()
        path = f"/v1/sessions/{session['id']}"
        sending = asyncio.create_task(
            api.call("POST", f"{path}/messages", {"text": "Hello", "expected_revision": 1})
        )
        while (await api.get(path))["active_turn_id"] is None:
            await asyncio.sleep(0.01)

        state.is_stopping = True
        response = await sending

    assert response.status_code == 202
