"""Calls that are sent again."""

import asyncio
from typing import Any

from db.pool import Pool
from tests.factories import completing
from tests.routes.service import serving


async def test_a_repetition_gets_the_same_bytes_after_the_revision_moved_on(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.conversation(2)
        path = f"/v1/sessions/{session['id']}"
        first_turn = session["turns"][0]["id"]
        (approval,) = await api.world.ask((await api.session())["id"])
        repeated: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", "/v1/agents", {"name": "A", "definition": {"model": "scripted:echo"}}),
            ("POST", "/v1/sessions", {"agent_id": api.world.agent.id}),
            ("POST", "/v1/approval-rules", {"tool": "refund", "action": "allow"}),
            ("POST", "/v1/interactions", {"prompt": "Hello", "model": "m", "session_id": session["id"]}),
            (
                "POST",
                f"/v1/approvals/{approval.id}/decision",
                {"decision": "approved", "arguments_digest": approval.arguments_digest},
            ),
            ("POST", f"{path}/fork", {"turn_id": first_turn}),
            ("POST", f"{path}/rewind", {"to": "start", "expected_revision": 5}),
            ("POST", f"{path}/rewind", {"turn_id": first_turn, "expected_revision": 6}),
        ]
        firsts = [
            await api.call(method, target, body, headers={"Idempotency-Key": f"key {number}"})
            for number, (method, target, body) in enumerate(repeated)
        ]
        await api.call("PATCH", path, {"name": "Moved on"}, headers={"If-Match": "*"})

        for number, (method, target, body) in enumerate(repeated):
            # Neither the stated revision nor any header makes it another request.
            without = {name: value for name, value in body.items() if name != "expected_revision"}
            again = await api.call(
                method,
                target,
                without,
                headers={"Idempotency-Key": f"key {number}", "Prefer": "return=representation"},
            )

            first = firsts[number]
            assert first.status_code in (200, 201), first.text
            assert "idempotency-replayed" not in first.headers
            assert again.headers["idempotency-replayed"] == "true"
            assert (again.status_code, again.content) == (first.status_code, first.content)
            for name in ("etag", "location"):
                assert again.headers.get(name) == first.headers.get(name)

        assert (await api.get(path))["revision"] == 8


async def test_a_key_with_another_request_is_refused(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()
        path = f"/v1/sessions/{session['id']}"
        key = {"Idempotency-Key": "once"}
        await api.call("POST", f"{path}/rewind", {"to": "start", "expected_revision": 1}, headers=key)
        before = await api.get(path)

        others = [
            await api.call("POST", f"{path}/end", {"expected_revision": 2}, headers=key),
            await api.call("POST", f"{path}/messages", {"text": "Hello"}, headers=key),
            await api.call("POST", "/v1/sessions", {"agent_id": api.world.agent.id}, headers=key),
        ]

        assert [(other.status_code, other.json()["code"]) for other in others] == [
            (422, "idempotency-key-reused")
        ] * 3
        assert await api.get(path) == before


async def test_a_repeated_message_joins_its_turn(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()
        path = f"/v1/sessions/{session['id']}"
        body = {"text": "Hello", "expected_revision": 1}
        sent = {"Idempotency-Key": "message", "Prefer": "respond-async"}

        first = await api.call("POST", f"{path}/messages", body, headers=sent)
        early = await api.call("POST", f"{path}/messages", body, headers=sent)
        await api.world.answer("Hi.")
        late = await api.call("POST", f"{path}/messages", {"text": "Hello"}, headers=sent)
        document = await api.get(path)

    assert [response.status_code for response in (first, early, late)] == [202, 202, 200]
    assert len({response.json()["turn_id"] for response in (first, early, late)}) == 1
    assert early.headers["idempotency-replayed"] == late.headers["idempotency-replayed"] == "true"
    assert late.json()["since_revision"] == 1
    assert late.json()["turns"][0]["replies"][0]["text"] == "Hi."
    assert document["turn_count"] == 1


async def test_twins_at_once_make_one_turn_and_wait_for_it_together(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()
        path = f"/v1/sessions/{session['id']}/messages"
        body = {"text": "Hello", "expected_revision": 1}
        twins = [
            asyncio.create_task(api.call("POST", path, body, headers={"Idempotency-Key": "twin"}))
            for _ in range(5)
        ]

        async with asyncio.timeout(10):
            while (claim := await api.world.store.running.claim(runner="test", lease_seconds=15)) is None:
                await asyncio.sleep(0.01)

            await api.world.store.running.publish(claim, completing(claim, "Hi."))
            responses = await asyncio.gather(*twins)

    assert [response.status_code for response in responses] == [200] * 5
    assert len({response.json()["turn_id"] for response in responses}) == 1


async def test_a_refused_call_keeps_its_key_free(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()
        path = f"/v1/sessions/{session['id']}/end"
        key = {"Idempotency-Key": "end"}

        stale = await api.call("POST", path, {"expected_revision": 9}, headers=key)
        unsaid = await api.call("POST", path, {}, headers=key)
        done = await api.call("POST", path, {"expected_revision": 1}, headers=key)

    assert [response.status_code for response in (stale, unsaid, done)] == [409, 428, 200]


async def test_keys_of_two_organizations_have_nothing_in_common(pool: Pool) -> None:
    async with serving(pool) as one, serving(pool) as other:
        key = {"Idempotency-Key": "same"}

        first = await one.call("POST", "/v1/sessions", {"agent_id": one.world.agent.id}, headers=key)
        second = await other.call("POST", "/v1/sessions", {"agent_id": other.world.agent.id}, headers=key)

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] != second.json()["id"]
