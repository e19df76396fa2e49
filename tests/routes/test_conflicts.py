"""What a caller is told whose revision is stale."""

import asyncio
from typing import Any

import pytest

from db.pool import Pool
from tests.routes.service import Api, serving


async def rename(api: Api, session: Any) -> None:
    await api.call("PATCH", f"/v1/sessions/{session['id']}", {"name": "New"}, headers={"If-Match": "*"})


async def speak(api: Api, session: Any) -> None:
    await api.world.append(session["id"], None)


async def end(api: Api, session: Any) -> None:
    await api.call("POST", f"/v1/sessions/{session['id']}/end", {}, headers={"If-Match": "*"})


@pytest.mark.parametrize(
    ("by_another", "retry", "type_"),
    [
        (rename, "resubmit", "session.updated"),
        (speak, "rebase", "turn.created"),
        (end, "abandon", "session.ended"),
    ],
    ids=["rename", "message", "end"],
)
async def test_a_conflict_names_what_changed_and_what_to_do(
    pool: Pool, by_another: Any, retry: str, type_: str
) -> None:
    async with serving(pool) as api:
        session = await api.session()
        await by_another(api, session)
        path = f"/v1/sessions/{session['id']}"

        by_header = await api.call("POST", f"{path}/rewind", {"to": "start"}, headers={"If-Match": '"1"'})
        by_body = await api.call("POST", f"{path}/rewind", {"to": "start", "expected_revision": 1})

        assert (by_header.status_code, by_body.status_code) == (412, 409)
        for response in (by_header, by_body):
            conflict = response.json()
            assert response.headers["content-type"] == "application/problem+json"
            assert response.headers["etag"] == conflict["etag"] == '"2"'
            assert (conflict["expected_revision"], conflict["actual_revision"]) == (1, 2)
            assert (conflict["retry"], conflict["code"]) == (retry, "stale-revision")
            assert [(change["revision"], change["type"]) for change in conflict["changes"]] == [(2, type_)]
            assert conflict["changes"][0]["actor"]["key_id"].startswith("key_")
            assert "document" not in conflict


async def test_a_conflict_carries_the_document_for_who_prefers_it(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.conversation(1)
        path = f"/v1/sessions/{session['id']}"

        response = await api.call(
            "POST",
            f"{path}/rewind",
            {"to": "start", "expected_revision": 1},
            headers={"Prefer": "return=representation"},
        )

        assert response.status_code == 409
        assert response.json()["document"] == await api.get(path)


async def test_a_revision_that_never_was_is_stale_whatever_its_size(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()
        path = f"/v1/sessions/{session['id']}/end"

        tags = ['"9"', '"2147483647"', '"2147483648"', '"99999999999999999999"', 'W/"1"', '"x"', '""']
        responses = [await api.call("POST", path, {}, headers={"If-Match": tag}) for tag in tags]
        body = await api.call("POST", path, {"expected_revision": 2147483647})

        assert [response.status_code for response in responses] == [412] * len(tags)
        assert body.status_code == 409
        assert {response.json()["retry"] for response in responses} == {"rebase"}
        assert await api.get(f"/v1/sessions/{session['id']}") == session


async def test_any_of_several_tags_will_do(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()

        ended = await api.call(
            "POST", f"/v1/sessions/{session['id']}/end", {}, headers={"If-Match": '"7", "1", "4"'}
        )

    assert (ended.status_code, ended.headers["etag"]) == (200, '"2"')


async def test_header_and_body_must_not_contradict(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()
        path = f"/v1/sessions/{session['id']}/end"

        differing = await api.call("POST", path, {"expected_revision": 1}, headers={"If-Match": '"2"'})
        agreeing = await api.call("POST", path, {"expected_revision": 1}, headers={"If-Match": '"1"'})

    assert (differing.status_code, differing.json()["code"]) == (400, "contradicting-preconditions")
    assert agreeing.status_code == 200


async def test_of_many_who_saw_the_same_revision_one_wins(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()
        path = f"/v1/sessions/{session['id']}"

        responses = await asyncio.gather(
            *(api.call("PATCH", path, {"name": f"Name {n}", "expected_revision": 1}) for n in range(16))
        )

        statuses = sorted(response.status_code for response in responses)
        assert statuses == [200] + [409] * 15
        [winner] = [response.json() for response in responses if response.status_code == 200]
        assert (await api.get(path))["name"] == winner["name"]
