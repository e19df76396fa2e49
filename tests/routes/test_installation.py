"""Keys of the installation: they make organizations, issue keys and read usage; nothing else is theirs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from api.routes.mounting import OPERATIONS
from db.pool import Pool
from tests.routes.service import Api, serving
from tests.routes.test_bad_input import set_up
from tests.routes.test_scopes import ask

OPENED = {
    "createOrganization",
    "listOrganizations",
    "getOrganization",
    "createApiKey",
    "listApiKeys",
    "getApiKey",
    "revokeApiKey",
    "rotateApiKey",
    "listUsageEntries",
    "listUsageHeads",
    "getUsageEntry",
    "summarizeUsage",
    "exportUsage",
}
"""All that a key of the installation opens. Another one must be looked at: it may show nobody's text."""


@asynccontextmanager
async def operator_of(api: Api) -> AsyncIterator[Api]:
    """A client of the same service with a key of the installation."""
    key = await api.world.store.access.create_installation_key(name="operator")
    operator = Api(api.world, api.app, key.secret)
    try:
        yield operator
    finally:
        await operator.close()


def test_what_the_installation_opens_is_this_alone() -> None:
    opened = {operation.operation_id for operation in OPERATIONS if operation.callers != "organization"}

    assert opened == OPENED


async def test_an_organization_is_made_and_its_first_key_issued_and_used(pool: Pool) -> None:
    async with serving(pool) as api, operator_of(api) as operator:
        sent = {"Idempotency-Key": "new"}
        first = await operator.call("POST", "/v1/organizations", {"name": "Engines"}, headers=sent)
        again = await operator.call("POST", "/v1/organizations", {"name": "Engines"}, headers=sent)
        made = first.json()
        read = await operator.get(first.headers["location"])
        key = await operator.post(
            f"/v1/api-keys?organization={made['id']}",
            {"name": "First", "scopes": ["sessions:read"]},
            status=201,
        )
        used = await operator.call(
            "GET", "/v1/sessions", headers={"Authorization": f"Bearer {key['secret']}"}
        )
        heads = await operator.get("/v1/usage/heads")
        entries = await operator.get(f"/v1/usage/entries?organization={made['id']}&limit=5")

    assert (first.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert read == made
    assert key["created_by"]["key_id"].startswith("ink_")
    assert (used.status_code, used.json()["items"]) == (200, [])
    assert {"organization_id": made["id"], "head": 0} in heads["items"]
    assert entries == {"items": [], "next": 0, "head": 0, "archived_through": 0}


async def test_keys_of_an_organization_are_kept_for_it(pool: Pool) -> None:
    async with serving(pool) as api, operator_of(api) as operator:
        named = f"?organization={api.world.organization_id}"
        [known] = (await operator.get(f"/v1/api-keys{named}"))["items"]

        rotated = await operator.post(f"/v1/api-keys/{known['id']}/rotate{named}", {"overlap_seconds": 0})
        gone = await operator.call("DELETE", f"/v1/api-keys/{known['id']}{named}")
        shown = await operator.get(f"/v1/api-keys/{known['id']}{named}")

    assert rotated["secret"] is not None
    assert gone.status_code == 204
    assert shown["revoked_at"] is not None


async def test_lists_of_the_installation_go_on_page_by_page(pool: Pool) -> None:
    async with serving(pool) as one, serving(pool) as two, operator_of(one) as operator:
        for path, name in (("/v1/organizations", "id"), ("/v1/usage/heads", "organization_id")):
            first = await operator.get(f"{path}?limit=1")
            second = await operator.get(f"{path}?limit=1&page_token={first['next_page_token']}")

            found = [page["items"][0][name] for page in (first, second)]
            assert found == [two.world.organization_id, one.world.organization_id]
            assert second["next_page_token"] is None


@pytest.mark.parametrize(
    ("path", "name"), [("/v1/usage/heads", "organization_id"), ("/v1/organizations", "id")]
)
async def test_pages_hold_every_organization_once_while_others_are_added(
    pool: Pool, path: str, name: str
) -> None:
    async with serving(pool) as api, operator_of(api) as operator:
        access = api.world.store.access
        there = {api.world.organization_id}
        there |= {(await access.create_organization(f"There {number}")).id for number in range(6)}

        found, token = [], ""
        while token is not None:
            page = await operator.get(f"{path}?limit=2{token and f'&page_token={token}'}")
            found += [item[name] for item in page["items"]]
            token = page["next_page_token"]
            await access.create_organization("Added meanwhile")
        newest = (await operator.get(f"{path}?limit=1"))["items"]

    assert len(found) == len(set(found))
    assert set(found) == there
    assert newest[0][name] not in there, "what was added is found by whoever begins anew"


async def test_everything_else_is_closed_to_it(pool: Pool) -> None:
    async with serving(pool) as owner, operator_of(owner) as operator:
        bench = await set_up(owner)
        names = {**bench.names, "organization_id": owner.world.organization_id}
        before = await bench.state()

        closed = {
            operation.operation_id: await ask(operator, operation, names, {"bad": 1})
            for operation in OPERATIONS
            if not operation.is_public and operation.callers == "organization"
        }

        assert {(one.status_code, one.json()["code"]) for one in closed.values()} == {
            (403, "organization-key-needed")
        }
        assert await bench.state() == before


async def test_keys_of_organizations_know_nothing_of_others(pool: Pool) -> None:
    async with serving(pool) as one, serving(pool) as two:
        mine, foreign = one.world.organization_id, two.world.organization_id
        key = (await two.get("/v1/api-keys"))["items"][0]["id"]
        own = await one.get(f"/v1/usage/entries?organization={mine}")
        answers = [
            await one.call("GET", f"/v1/usage/entries?organization={foreign}"),
            await one.call("GET", "/v1/usage/entries?organization=org_none"),
            await one.call("GET", f"/v1/api-keys?organization={foreign}"),
            await one.call("GET", f"/v1/api-keys/{key}?organization={foreign}"),
            await one.call(
                "POST", f"/v1/api-keys?organization={foreign}", {"name": "x", "scopes": ["admin"]}
            ),
        ]
        closed = [
            await one.call("POST", "/v1/organizations", {"name": "Mine"}),
            await one.call("GET", "/v1/organizations"),
            await one.call("GET", f"/v1/organizations/{mine}"),
            await one.call("GET", f"/v1/organizations/{foreign}"),
        ]
        heads = await one.get("/v1/usage/heads")

    assert own["items"] == []
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert {(one.status_code, one.json()["code"]) for one in closed} == {(403, "installation-key-needed")}
    assert len({one.content for one in closed}) == 1
    assert [head["organization_id"] for head in heads["items"]] == [mine]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 422, "missing"),
        ("?organization=a&organization=b", 422, "repeated"),
        ("?organization=%00", 422, "nul-character"),
        ("?organization=", 404, None),
        ("?organization=org_ffffffffffffffffffffffffffffffff", 404, None),
        ("?organization=org_00000000000000000000000000000000", 404, None),
    ],
)
async def test_the_organization_must_be_named_and_there(
    pool: Pool, query: str, status: int, code: str | None
) -> None:
    async with serving(pool) as api, operator_of(api) as operator:
        answer = await operator.call("GET", f"/v1/usage/entries{query}")

    assert answer.status_code == status
    faults: list[Any] = answer.json().get("errors", [])
    assert [(fault["pointer"], fault["code"]) for fault in faults] == [("?organization", code)] * (
        code is not None
    )


async def test_a_key_of_the_installation_is_rotated_revoked_and_forgotten(pool: Pool) -> None:
    async with serving(pool, key_cache_seconds=0) as api:
        access = api.world.store.access
        first = await access.create_installation_key(name="operator")

        async def status(secret: str) -> int:
            answer = await api.call("GET", "/v1/organizations", headers={"Authorization": f"Bearer {secret}"})
            return answer.status_code

        second = await access.rotate_installation_key(first.id, overlap=timedelta(minutes=1))
        both = [await status(first.secret), await status(second.secret)]
        await access.revoke_installation_key(first.id)
        none = [await status(first.secret), await status(second.secret)]
        [kept] = await access.installation_keys()

    assert both == [200, 200]
    assert none == [401, 401]
    assert first.secret.startswith("tli_")
    assert kept.revoked_at is not None
