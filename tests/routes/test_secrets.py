"""Secrets over HTTP: written, listed by name, and shown nowhere."""

import io

import pytest
from loguru import logger

from api import log
from api.events import Hub
from api.store import Store
from db.pool import Pool
from tests.factories import make_world
from tests.routes.service import client_of, make_app, make_state, serving

CANARY = "canary-4711-word"


async def test_a_secret_is_stored_listed_replaced_and_removed(pool: Pool) -> None:
    async with serving(pool) as api:
        stored = await api.call("PUT", "/v1/secrets/crm", {"value": CANARY})
        again = await api.call("PUT", "/v1/secrets/crm", {"value": "other"})
        listed = await api.get("/v1/secrets")
        removed = await api.call("DELETE", "/v1/secrets/crm")
        gone = await api.call("DELETE", "/v1/secrets/crm")

    assert (stored.status_code, again.status_code) == (200, 200)
    assert again.json()["created_at"] == stored.json()["created_at"]
    assert listed == {"items": [again.json()]}
    assert listed["items"][0].keys() == {"name", "created_at", "updated_at"}
    assert (removed.status_code, gone.status_code) == (204, 404)


async def test_who_stored_it_is_recorded(pool: Pool) -> None:
    async with serving(pool) as api:
        await api.call(
            "PUT", "/v1/secrets/crm", {"value": CANARY}, headers={"Turnledger-On-Behalf-Of": "ada"}
        )

    assert b'"on_behalf_of":"ada"' in await pool.fetchval("SELECT updated_by FROM secrets")


@pytest.mark.parametrize("name", ["a%20b", "1", "a.b", "%00", "x" * 65])
async def test_a_name_that_no_definition_can_say_is_not_there(pool: Pool, name: str) -> None:
    async with serving(pool) as api:
        answer = await api.call("PUT", f"/v1/secrets/{name}", {"value": CANARY})

    assert answer.status_code == 404


async def test_the_value_is_in_no_answer_no_log_line_and_no_row(pool: Pool) -> None:
    stream = io.StringIO()
    log.configure(format="json", level="debug", stream=stream)
    try:
        async with serving(pool) as api:
            key = {"Idempotency-Key": "secret"}
            answers = [
                await api.call("PUT", "/v1/secrets/crm", {"value": CANARY}, headers=key),
                await api.call("PUT", "/v1/secrets/crm", {"value": CANARY}, headers=key),
                await api.call("PUT", "/v1/secrets/1", {"value": CANARY}),
                await api.call("PUT", "/v1/secrets/crm", {"value": CANARY, CANARY[:6]: CANARY}),
                await api.call("PUT", "/v1/secrets/crm", {"value": [CANARY]}),
                await api.call("PUT", "/v1/secrets/crm", {"value": CANARY * 1_000}),
                await api.call("PUT", "/v1/secrets/crm", {"value": CANARY + "\x00"}),
                await api.call(
                    "PUT",
                    "/v1/secrets/crm",
                    content=b'{"value": "' + CANARY.encode(),
                    headers={"Content-Type": "application/json"},
                ),
                await api.call("GET", "/v1/secrets"),
            ]
            await pool.execute("ALTER TABLE secrets RENAME TO hidden")
            answers.append(await api.call("PUT", "/v1/secrets/crm", {"value": CANARY}))
            await pool.execute("ALTER TABLE hidden RENAME TO secrets")
    finally:
        logger.remove()

    assert [answer.status_code for answer in answers] == [200, 200, 404, 422, 422, 422, 422, 400, 200, 500]
    for answer in answers:
        assert CANARY not in answer.text
    assert "request failed" in stream.getvalue()
    assert CANARY not in stream.getvalue()
    for table in await pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        rows = await pool.fetch(f'SELECT t::text FROM "{table[0]}" t')
        assert not [row for row in rows if CANARY in row[0] or CANARY.encode().hex() in row[0]]


async def test_an_installation_without_a_key_says_so(pool: Pool) -> None:
    world = await make_world(pool)
    world.store = Store(pool, Hub())
    async with client_of(world, make_app(make_state(world))) as api:
        answer = await api.call("PUT", "/v1/secrets/crm", {"value": CANARY})

    assert (answer.status_code, answer.json()["code"]) == (503, "secrets-unavailable")
    assert "TURNLEDGER_SECRETS_KEY" in answer.json()["detail"]


async def test_an_organization_has_so_many_and_no_more(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.store.secrets.SECRETS_MAX", 1)
    async with serving(pool) as api:
        await api.call("PUT", "/v1/secrets/crm", {"value": CANARY})
        answer = await api.call("PUT", "/v1/secrets/erp", {"value": CANARY})

    assert (answer.status_code, answer.json()["code"]) == (409, "too-many-secrets")
