"""Who may call: API keys, and how long they are remembered."""

from uuid import UUID

import pytest

from api.routes.auth import KeyCache
from api.session.document import Actor
from api.store import Caller
from db.pool import Pool
from tests.routes.service import serving


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dGxf",
        "Bearer tl_",
        "Bearer tl_unknown",
        "Bearer x",
        "tl_unknown",
    ],
)
async def test_a_call_without_a_known_key_is_refused(pool: Pool, value: str | None) -> None:
    async with serving(pool) as api:
        response = await api.call("GET", "/v1/sessions", headers={"Authorization": value or ""})

    assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
    assert response.headers["www-authenticate"].startswith('Bearer realm="turnledger"')


async def test_a_revoked_key_is_refused(pool: Pool) -> None:
    async with serving(pool, key_cache_seconds=0) as api:
        known = await api.call("GET", "/v1/sessions")
        [key] = await api.world.store.access.keys(api.world.organization_id)
        await api.world.store.access.revoke_key(api.world.organization_id, key.id)

        revoked = await api.call("GET", "/v1/sessions")

    assert (known.status_code, revoked.status_code) == (200, 401)


async def test_the_actor_is_recorded(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()
        await api.call(
            "PATCH",
            f"/v1/sessions/{session['id']}",
            {"name": "Trial"},
            headers={"If-Match": "*", "Turnledger-On-Behalf-Of": "ada@example.org"},
        )
        [created, updated] = (await api.get(f"/v1/sessions/{session['id']}/events"))["items"]
        [key] = await api.world.store.access.keys(api.world.organization_id)

    assert created["actor"] == {"key_id": key.id}
    assert updated["actor"] == {"key_id": key.id, "on_behalf_of": "ada@example.org"}


class Keys:
    """Stands for the store: counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.known = {"tl_good": Caller(organization_id=UUID(int=1), actor=Actor())}

    async def __call__(self, secret: str) -> Caller | None:
        self.asked.append(secret)
        return self.known.get(secret)


async def test_a_key_is_remembered_for_its_time_only() -> None:
    keys, now = Keys(), [0.0]
    cache = KeyCache(keys, seconds=5, clock=lambda: now[0])

    for now[0] in (0.0, 4.9, 5.1):
        assert await cache.caller_of("tl_good") is keys.known["tl_good"]

    assert keys.asked == ["tl_good"] * 2
    del keys.known["tl_good"]
    now[0] = 10.2
    assert await cache.caller_of("tl_good") is None


async def test_an_unknown_key_is_asked_for_once_a_second_at_most() -> None:
    keys, now = Keys(), [0.0]
    cache = KeyCache(keys, seconds=5, clock=lambda: now[0])

    for now[0] in (0.0, 0.9, 1.1):
        assert await cache.caller_of("tl_new") is None

    assert keys.asked == ["tl_new"] * 2


async def test_guesses_push_no_good_key_out_and_take_no_more_room() -> None:
    keys = Keys()
    cache = KeyCache(keys, seconds=5, clock=lambda: 0.0)
    await cache.caller_of("tl_good")

    for number in range(3_000):
        await cache.caller_of(f"tl_{number}")
    await cache.caller_of("tl_good")

    assert keys.asked.count("tl_good") == 1
    assert len(cache._unknown) == 1_000
