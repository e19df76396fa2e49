"""API keys over HTTP: made, shown once, listed, rotated and revoked."""

from datetime import timedelta
from typing import Any

import pytest

from api.app.key_uses import record_uses
from api.routes.auth import KeyCache
from api.store.base import utc_now
from api.store.scopes import Scope
from db.pool import Pool
from tests.routes.service import Api, client_of, make_app, make_state, serving

ALL = [scope.value for scope in Scope]


async def made(api: Api, **fields: Any) -> Any:
    return await api.post("/v1/api-keys", {"name": "Made", "scopes": ALL, **fields}, status=201)


async def status_with(api: Api, secret: str, path: str = "/v1/sessions") -> int:
    response = await api.call("GET", path, headers={"Authorization": f"Bearer {secret}"})
    return response.status_code


async def test_a_new_key_opens_what_it_was_made_for(pool: Pool) -> None:
    async with serving(pool) as api:
        answer = await api.call(
            "POST", "/v1/api-keys", {"name": "Billing", "scopes": ["usage:read", "usage:read"]}
        )
        key = answer.json()

        assert answer.status_code == 201
        assert answer.headers["location"] == f"/v1/api-keys/{key['id']}"
        assert key["secret"].startswith(key["prefix"])
        assert key["scopes"] == ["usage:read"]
        assert await status_with(api, key["secret"], "/v1/usage/entries") == 200
        assert await status_with(api, key["secret"]) == 403


async def test_a_secret_is_shown_once_and_kept_nowhere(pool: Pool, database_url: str) -> None:
    async with serving(pool) as api:
        sent = {"Idempotency-Key": "make"}
        body = {"name": "Made", "scopes": ALL}
        first = await api.call("POST", "/v1/api-keys", body, headers=sent)
        again = await api.call("POST", "/v1/api-keys", body, headers=sent)
        key = first.json()
        rotated = await api.call(
            "POST", f"/v1/api-keys/{key['id']}/rotate", {}, headers={"Idempotency-Key": "rotate"}
        )
        repeated = await api.call(
            "POST", f"/v1/api-keys/{key['id']}/rotate", {}, headers={"Idempotency-Key": "rotate"}
        )
        listing = await api.call("GET", "/v1/api-keys")
        read = await api.get(f"/v1/api-keys/{key['id']}")

        secrets = [key["secret"], rotated.json()["secret"]]
        assert [again.json()["secret"], repeated.json()["secret"]] == [None, None]
        assert {**first.json(), "secret": None} == again.json()
        assert {**rotated.json(), "secret": None} == repeated.json()
        assert again.headers["idempotency-replayed"] == repeated.headers["idempotency-replayed"] == "true"
        assert [await status_with(api, secret) for secret in secrets] == [200, 200]
        assert not [secret for secret in secrets if secret in listing.text or secret in str(read)]
        assert len(listing.json()["items"]) == 2
        kept = await _dump(pool)
        assert not [secret for secret in secrets if secret in kept]
        assert key["prefix"] in kept


async def _dump(pool: Pool) -> str:
    """Every row of every table, as text."""
    async with pool.acquire() as conn:
        tables = await conn.fetch("SELECT relname FROM pg_stat_user_tables ORDER BY relname")
        rows = [await conn.fetch(f'SELECT t::text, t.* FROM "{name}" t') for (name,) in tables]
    return repr([[list(row.values()) for row in found] for found in rows])


async def test_a_key_gives_away_no_scope_that_it_lacks(pool: Pool) -> None:
    async with serving(pool) as owner:
        wide = await made(owner)
        mine = frozenset({Scope.ADMIN, Scope.USAGE_READ})
        async with client_of(owner.world, owner.app, scopes=mine) as api:
            narrow = await api.call("POST", "/v1/api-keys", {"name": "x", "scopes": ["usage:read"]})
            refused = await api.call("POST", "/v1/api-keys", {"name": "x", "scopes": ["sessions:read"]})
            rotated = await api.call("POST", f"/v1/api-keys/{wide['id']}/rotate", {})

        assert narrow.status_code == 201
        assert [answer.status_code for answer in (refused, rotated)] == [403, 403]
        assert [answer.json()["scope"] for answer in (refused, rotated)] == ["sessions:read"] * 2
        assert (await owner.get(f"/v1/api-keys/{wide['id']}"))["rotated_at"] is None


async def test_an_end_lies_in_the_future(pool: Pool) -> None:
    async with serving(pool) as api:
        for text in ("2020-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
            answer = await api.call("POST", "/v1/api-keys", {"name": "x", "scopes": ALL, "expires_at": text})
            assert answer.status_code == 422, text
            assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/expires_at"]


async def test_keys_are_listed_newest_first_page_by_page(pool: Pool) -> None:
    async with serving(pool) as api:
        ids = [(await made(api, name=f"Key {number}"))["id"] for number in range(3)]

        first = await api.get("/v1/api-keys?limit=2")
        second = await api.get(f"/v1/api-keys?limit=2&page_token={first['next_page_token']}")

    assert [key["id"] for key in first["items"]] == [ids[2], ids[1]]
    assert [key["name"] for key in second["items"]] == ["Key 0", "test"]
    assert second["next_page_token"] is None
    assert "secret" not in first["items"][0]


async def test_a_revoked_key_is_refused_and_stays_on_record(pool: Pool) -> None:
    async with serving(pool, key_cache_seconds=0) as api:
        key = await made(api)

        answers = [await api.call("DELETE", f"/v1/api-keys/{key['id']}") for _ in range(2)]

        assert [answer.status_code for answer in answers] == [204, 204]
        assert await status_with(api, key["secret"]) == 401
        shown = await api.get(f"/v1/api-keys/{key['id']}")
        assert shown["revoked_at"] is not None
        rotated = await api.call("POST", f"/v1/api-keys/{key['id']}/rotate", {})
        assert (rotated.status_code, rotated.json()["code"]) == (409, "key-not-in-force")


async def test_rotation_lets_the_secret_before_live_for_the_overlap(pool: Pool) -> None:
    async with serving(pool, key_cache_seconds=0) as api:
        key = await made(api)
        path = f"/v1/api-keys/{key['id']}/rotate"

        second = await api.post(path, {"overlap_seconds": 600})
        both = [await status_with(api, secret) for secret in (key["secret"], second["secret"])]
        third = await api.post(path, {"overlap_seconds": 600})
        later = [await status_with(api, found["secret"]) for found in (key, second, third)]
        fourth = await api.post(path, {"overlap_seconds": 0})
        last = [await status_with(api, found["secret"]) for found in (second, third, fourth)]

    assert both == [200, 200]
    assert later == [401, 200, 200]
    assert last == [401, 401, 200]
    assert (second["id"], second["name"], second["created_at"]) == (key["id"], key["name"], key["created_at"])
    assert second["previous_expires_at"] is not None


async def test_an_expired_secret_is_refused_at_its_instant_although_it_is_remembered(pool: Pool) -> None:
    async with serving(pool) as api:
        now = [utc_now()]
        world = api.world
        ends_at = now[0] + timedelta(hours=1)
        key = await made(api, expires_at=ends_at.isoformat())
        keys = KeyCache(world.store.access.caller_of, seconds=5, clock=lambda: 0.0, now=lambda: now[0])

        known = await keys.caller_of(key["secret"])
        now[0] = ends_at - timedelta(microseconds=1)
        still = await keys.caller_of(key["secret"])
        now[0] = ends_at
        ended = await keys.caller_of(key["secret"])

    assert known == still is not None
    assert ended is None


async def test_every_process_refuses_a_revoked_key_within_the_time_of_the_cache(pool: Pool) -> None:
    async with serving(pool) as api:
        key = await made(api)
        clocks = [[0.0], [0.0], [0.0]]
        processes = [
            KeyCache(api.world.store.access.caller_of, seconds=5, clock=lambda clock=clock: clock[0])  # type: ignore[misc]
            for clock in clocks
        ]
        for number, (process, clock) in enumerate(zip(processes, clocks, strict=True)):
            clock[0] = float(number)
            assert await process.caller_of(key["secret"]) is not None

        await api.call("DELETE", f"/v1/api-keys/{key['id']}")
        for number, clock in enumerate(clocks):
            clock[0] = number + 5.0
        found = [await process.caller_of(key["secret"]) for process in processes]

    assert found == [None, None, None]


async def test_use_is_recorded_in_batches_and_to_the_minute(pool: Pool) -> None:
    async with serving(pool) as api:
        keys = [await made(api) for _ in range(3)]
        state = make_state(api.world)
        async with client_of(api.world, make_app(state)) as other:
            for _ in range(5):
                for key in keys[:2]:
                    assert await status_with(other, key["secret"]) == 200
            unwritten = await api.get(f"/v1/api-keys/{keys[0]['id']}")
            await record_uses(state.keys, api.world.store)
            first = [await api.get(f"/v1/api-keys/{key['id']}") for key in keys]
            assert await status_with(other, keys[0]["secret"]) == 200
            await record_uses(state.keys, api.world.store)
            again = await api.get(f"/v1/api-keys/{keys[0]['id']}")

    assert unwritten["last_used_at"] is None
    assert [key["last_used_at"] is not None for key in first] == [True, True, False]
    assert again["last_used_at"] == first[0]["last_used_at"]


async def test_uses_that_could_not_be_written_are_kept_for_the_next_time(pool: Pool) -> None:
    async with serving(pool) as api:
        state = make_state(api.world)
        await state.keys.caller_of(api.secret)

        class Away:
            access = None

        with pytest.raises(AttributeError):
            await record_uses(state.keys, Away())  # type: ignore[arg-type]  # a store that is away
        await record_uses(state.keys, api.world.store)
        [key] = (await api.get("/v1/api-keys"))["items"]

    assert key["last_used_at"] is not None


async def test_the_same_key_used_from_many_processes_is_written_without_a_deadlock(pool: Pool) -> None:
    import asyncio

    async with serving(pool) as api:
        secrets = [(await made(api))["secret"] for _ in range(10)]
        states = [make_state(api.world) for _ in range(6)]
        for number, state in enumerate(states):
            for secret in secrets if number % 2 else reversed(secrets):
                await state.keys.caller_of(secret)

        await asyncio.gather(*(record_uses(state.keys, api.world.store) for state in states))
        listing = await api.get("/v1/api-keys")

    assert sum(key["last_used_at"] is not None for key in listing["items"]) >= 10


async def test_who_made_a_key_is_on_record(pool: Pool) -> None:
    async with serving(pool) as api:
        answer = await api.call(
            "POST",
            "/v1/api-keys",
            {"name": "x", "scopes": ["admin"]},
            headers={"Turnledger-On-Behalf-Of": "ada@example.org"},
        )
        [*_, mine] = (await api.get("/v1/api-keys"))["items"]

    assert answer.json()["created_by"] == {"key_id": mine["id"], "on_behalf_of": "ada@example.org"}
