"""Drafts of agents: two editors, publishing, and what is told of faults."""

import asyncio
from typing import Any

import pytest

from db.pool import Pool
from tests.routes.service import Api, serving

DRAFT = {"model": "scripted:echo", "instructions": "Be brief."}
FAULTY = {"model": "scripted:echo", "nodes": [{"name": "first"}]}


def draft_of(api: Api) -> str:
    return f"/v1/agents/{api.world.agent.id}/draft"


def versions_of(api: Api) -> str:
    return f"/v1/agents/{api.world.agent.id}/versions"


async def put(api: Api, definition: Any, **more: Any) -> Any:
    headers = more.pop("headers", None)
    return await api.call("PUT", draft_of(api), {"definition": definition, **more}, headers=headers)


async def test_a_draft_is_begun_changed_read_and_discarded(pool: Pool) -> None:
    async with serving(pool) as api:
        none = await api.call("GET", draft_of(api))
        begun = await put(api, DRAFT, headers={"If-None-Match": "*", "Turnledger-On-Behalf-Of": "ada"})
        changed = await put(api, FAULTY, headers={"If-Match": '"1"'})
        read = await api.call("GET", draft_of(api))
        unchanged = await api.call("GET", draft_of(api), headers={"If-None-Match": '"2"'})
        gone = await api.call("DELETE", draft_of(api), headers={"If-Match": '"2"'})
        after = await api.call("GET", draft_of(api))

    assert [answer.status_code for answer in (none, begun, changed, read, unchanged, gone, after)] == [
        404, 200, 200, 200, 304, 204, 404,
    ]  # fmt: skip
    assert (begun.json()["revision"], begun.headers["etag"]) == (1, '"1"')
    assert (begun.json()["base_version"], begun.json()["faults"]) == (1, [])
    assert begun.json()["definition"] == DRAFT
    assert begun.json()["updated_by"]["on_behalf_of"] == "ada"
    assert read.json() == changed.json()
    assert read.json()["definition"] == FAULTY
    assert [(fault["pointer"], fault["code"]) for fault in read.json()["faults"]] == [("/nodes", "missing")]


@pytest.mark.parametrize(
    ("fields", "headers", "status"),
    [
        ({}, {}, 428),
        ({"expected_revision": 1}, {}, 409),
        ({"expected_revision": 0}, {}, 409),
        ({}, {"If-Match": '"1"'}, 412),
        ({}, {"If-Match": '"7", "1"'}, 412),
        ({}, {"If-Match": '"other"'}, 412),
        ({}, {"If-None-Match": "*"}, 412),
        ({}, {"If-None-Match": "*", "If-Match": '"2"'}, 400),
        ({"expected_revision": 2}, {"If-Match": '"1"'}, 400),
    ],
)
async def test_who_has_not_seen_the_draft_does_not_change_it(
    pool: Pool, fields: dict[str, int], headers: dict[str, str], status: int
) -> None:
    async with serving(pool) as api:
        await put(api, {}, expected_revision=0)
        await put(api, DRAFT, expected_revision=1)

        refused = await put(api, FAULTY, **fields, headers=headers)
        draft = await api.get(draft_of(api))

    assert refused.status_code == status
    assert (draft["revision"], draft["definition"]) == (2, DRAFT)
    if status in (409, 412):
        problem = refused.json()
        assert (problem["code"], problem["actual_revision"], problem["retry"]) == (
            "stale-revision",
            2,
            "rebase",
        )
        assert (problem["etag"], refused.headers["etag"]) == ('"2"', '"2"')


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"expected_revision": 2}, {}),
        ({}, {"If-Match": '"2"'}),
        ({}, {"If-Match": '"1", "2"'}),
        ({}, {"If-Match": '"2", "9"'}),
        ({}, {"If-Match": "*"}),
    ],
)
async def test_who_has_seen_the_draft_changes_it(
    pool: Pool, fields: dict[str, int], headers: dict[str, str]
) -> None:
    async with serving(pool) as api:
        await put(api, {}, expected_revision=0)
        await put(api, DRAFT, expected_revision=1)

        taken = await put(api, FAULTY, **fields, headers=headers)

    assert (taken.status_code, taken.json()["revision"]) == (200, 3)


@pytest.mark.parametrize("headers", [{"If-Match": "*"}, {"If-Match": '"1"'}, {"If-Match": '"other"'}])
async def test_what_is_not_there_is_no_draft_that_was_seen(pool: Pool, headers: dict[str, str]) -> None:
    async with serving(pool) as api:
        written = await put(api, DRAFT, headers=headers)
        discarded = await api.call("DELETE", draft_of(api), headers=headers)
        read = await api.call("GET", draft_of(api))

    assert [answer.status_code for answer in (written, discarded, read)] == [412, 412, 404]
    assert written.json()["actual_revision"] == 0


async def test_of_editors_who_begin_at_once_one_is_first(pool: Pool) -> None:
    async with serving(pool) as api:
        answers = await asyncio.gather(
            *(put(api, {**DRAFT, "instructions": f"{n}"}, expected_revision=0) for n in range(6))
        )
        draft = await api.get(draft_of(api))

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    (winner,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert draft == winner


async def test_a_draft_is_published_once_and_is_then_no_more(pool: Pool) -> None:
    async with serving(pool) as api:
        await put(api, DRAFT, expected_revision=0)
        key = {"Idempotency-Key": "publish"}

        published = await api.call("POST", versions_of(api), {"draft_revision": 1}, headers=key)
        again = await api.call("POST", versions_of(api), {"draft_revision": 1}, headers=key)
        late = await api.call("POST", versions_of(api), {"draft_revision": 1})
        gone = await api.call("GET", draft_of(api))
        old_editor = await put(api, FAULTY, expected_revision=1)
        next_draft = await put(api, FAULTY, expected_revision=0)
        agent = await api.get(f"/v1/agents/{api.world.agent.id}")

    assert (published.status_code, published.json()["version"]) == (201, 2)
    assert published.json()["definition"] == DRAFT
    assert (again.content, again.headers["idempotency-replayed"]) == (published.content, "true")
    assert (late.status_code, late.json()["actual_revision"]) == (409, 0)
    assert (gone.status_code, old_editor.status_code) == (404, 409)
    assert (next_draft.json()["revision"], next_draft.json()["base_version"]) == (3, 2)
    assert agent["latest_version"] == 2


async def test_a_draft_that_is_published_by_many_makes_one_version(pool: Pool) -> None:
    async with serving(pool) as api:
        await put(api, DRAFT, expected_revision=0)

        answers = await asyncio.gather(
            *(api.call("POST", versions_of(api), {"draft_revision": 1}) for _ in range(5))
        )
        agent = await api.get(f"/v1/agents/{api.world.agent.id}")

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    assert agent["latest_version"] == 2


async def test_a_draft_with_faults_or_another_revision_is_not_published(pool: Pool) -> None:
    async with serving(pool) as api:
        await put(api, FAULTY, expected_revision=0)

        stale = await api.call("POST", versions_of(api), {"draft_revision": 2})
        faulty = await api.call("POST", versions_of(api), {"draft_revision": 1})
        both = await api.call("POST", versions_of(api), {"draft_revision": 1, "definition": DRAFT})
        neither = await api.call("POST", versions_of(api), {})
        draft = await api.get(draft_of(api))
        agent = await api.get(f"/v1/agents/{api.world.agent.id}")

    assert [answer.status_code for answer in (stale, faulty, both, neither)] == [409, 422, 422, 422]
    assert [fault["pointer"] for fault in faulty.json()["errors"]] == ["/nodes"]
    assert both.json()["errors"][0]["code"] == neither.json()["errors"][0]["code"] == "exactly-one-of"
    assert (draft["revision"], agent["latest_version"]) == (1, 1)


async def test_a_draft_is_not_larger_than_a_definition(pool: Pool) -> None:
    async with serving(pool) as api:
        refused = await put(api, {"instructions": "x" * 230_000}, expected_revision=0)

    assert [(fault["pointer"], fault["code"]) for fault in refused.json()["errors"]] == [
        ("/definition", "too-large")
    ]
