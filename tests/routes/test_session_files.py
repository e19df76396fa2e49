"""Sessions over HTTP as files: out, and in again."""

import asyncio
import json
from typing import Any

import httpx

from db.pool import Pool
from tests.factories import make_world
from tests.routes.service import Api, client_of, listening, make_app, make_state, serving

SECRET_TURN = "Say **nothing** of\n# this"


async def moved(api: Api) -> tuple[str, bytes]:
    """A session that was exported and is to be imported into another organization."""
    session_id = (await api.conversation(3))["id"]
    return session_id, (await api.call("GET", f"/v1/sessions/{session_id}/export")).content


async def test_a_session_moves_from_one_organization_to_another(pool: Pool) -> None:
    async with serving(pool) as api:
        session_id, file = await moved(api)
        other_world = await make_world(pool, name="Other")
        async with client_of(other_world, make_app(make_state(other_world))) as other:
            response = await other.call("POST", "/v1/sessions/import", json.loads(file))
            told = response.json()
            document = await other.get(f"/v1/sessions/{session_id}")
            again = await other.call("POST", "/v1/sessions/import", json.loads(file))

        assert response.status_code == 201, response.text
        assert response.headers["location"] == f"/v1/sessions/{session_id}"
        assert (told["turn_count"], told["is_agent_new"]) == (3, True)
        assert document == await api.get(f"/v1/sessions/{session_id}")
        assert (again.status_code, again.json()["code"]) == (409, "already-here")


async def test_the_file_says_its_name_and_size(pool: Pool) -> None:
    async with serving(pool) as api:
        session_id = (await api.conversation(1))["id"]

        response = await api.call("GET", f"/v1/sessions/{session_id}/export")
        head = await api.call("HEAD", f"/v1/sessions/{session_id}/export")
        missing = await api.call("HEAD", f"/v1/sessions/ses_{'0' * 32}/export")

    assert response.headers["content-disposition"] == f'attachment; filename="{session_id}.json"'
    assert int(response.headers["content-length"]) == len(response.content)
    assert (head.status_code, head.content, missing.status_code) == (200, b"", 404)


async def test_a_conversation_is_read_as_markdown(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session(name="A *trial*")
        await api.append(session, SECRET_TURN)
        await api.world.answer("As you wish.")
        path = f"/v1/sessions/{session['id']}"
        await api.post(f"{path}/rewind", {"to": "start", "expected_revision": 3})
        await api.append({**session, "revision": 4}, "Something else")
        await api.world.answer("Gladly.")

        response = await api.call("GET", f"{path}/export?format=markdown")

    assert response.headers["content-type"] == "text/markdown; charset=utf-8"
    lines = response.text.splitlines()
    assert lines[0] == r"# A \*trial\*"
    assert [line for line in lines if line.startswith("#")] == [
        lines[0],
        "## Turn 1",
        "# Discarded future 1",
        "## Turn 1",
    ]
    assert lines.index("> Something else") < lines.index("> Say **nothing** of") < lines.index("> # this")
    assert {"**User**", "**Ada**", "> Gladly."} <= set(lines)


async def test_a_file_that_is_no_session_is_told_where(pool: Pool) -> None:
    async with serving(pool) as api:
        _, file = await moved(api)
        broken: Any = json.loads(file)
        broken["turns"][1]["turn"]["state"] = "asleep"
        broken["events"].pop()

        response = await api.call("POST", "/v1/sessions/import", broken)

    assert response.status_code == 422
    assert {fault["pointer"] for fault in response.json()["errors"]} == {"/turns/1/turn", "/events"}


async def test_a_file_over_the_limit_is_refused(pool: Pool) -> None:
    async with serving(pool, import_bytes_max=2048) as api:
        _, file = await moved(api)

        response = await api.call("POST", "/v1/sessions/import", json.loads(file))

    assert response.status_code == 413


async def test_an_import_that_is_sent_again_is_told_the_same(pool: Pool) -> None:
    async with serving(pool) as api:
        session_id, file = await moved(api)
        world = await make_world(pool)
        async with client_of(world, make_app(make_state(world))) as other:
            send = {"headers": {"Idempotency-Key": "one"}}
            first = await other.call("POST", "/v1/sessions/import", json.loads(file), **send)
            again = await other.call("POST", "/v1/sessions/import", json.loads(file), **send)
            await other.call("DELETE", f"/v1/sessions/{session_id}", headers={"If-Match": "*"})
            late = await other.call("POST", "/v1/sessions/import", json.loads(file), **send)

    assert (first.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert late.status_code == 404


async def test_a_reader_who_leaves_frees_the_place_and_the_file(pool: Pool) -> None:
    world = await make_world(pool)
    state = make_state(world, streams_max=1)
    key = await world.store.access.create_key(world.organization_id, name="test")
    session_id = (await world.session(context={"a": "x" * 15_000})).session.id
    for number in range(40):
        await world.append(session_id, None, f"{number} " * 5_000)
        await world.answer("a" * 20_000)
    headers = {"Authorization": f"Bearer {key.secret}"}
    async with (
        listening(make_app(state)) as address,
        httpx.AsyncClient(base_url=address, headers=headers) as client,
    ):
        async with client.stream("GET", f"/v1/sessions/{session_id}/export") as response:
            await anext(response.aiter_raw())
        async with asyncio.timeout(20):
            while state.stream_count:
                await asyncio.sleep(0.01)
        whole = await client.get(f"/v1/sessions/{session_id}/export")

    assert len(whole.json()["turns"]) == 40
