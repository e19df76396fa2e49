"""Prices are followed, never edited, and every ledger row says which one applied."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from api.agents.definition import Definition
from api.store.base import utc_now
from db.pool import Pool
from tests.routes.service import Api, serving, turns_running

PRICE = {"provider": "scripted", "model_pattern": "*", "input_per_million": "3", "output_per_million": "7.5"}


async def put(api: Api, *, status: int = 200, **fields: Any) -> Any:
    response = await api.call("PUT", "/v1/prices", {**PRICE, **fields})
    assert response.status_code == status, response.text
    return response.json()


async def test_a_price_is_followed_and_says_until_when_it_held(pool: Pool) -> None:
    async with serving(pool) as api:
        later = (utc_now() + timedelta(days=30)).isoformat()

        first = await put(api)
        second = await put(api, valid_from=later, input_per_million="4", cached_per_million="0.4")
        newest, before = (await api.get("/v1/prices"))["items"]

    assert newest == second
    assert before == {**first, "valid_until": second["valid_from"]}
    assert (second["valid_until"], second["cached_per_million"], first["cached_per_million"]) == (
        None,
        "0.4",
        None,
    )
    assert first["added_by"]["key_id"].startswith("key_")


async def test_the_same_price_again_changes_nothing(pool: Pool) -> None:
    async with serving(pool) as api:
        later = (utc_now() + timedelta(days=30)).isoformat()
        first = await put(api)

        again = await put(api, output_per_million="7.50")
        planned = await put(api, valid_from=later, input_per_million="4")
        planned_again = await put(api, valid_from=later, input_per_million="4")
        items = (await api.get("/v1/prices"))["items"]

    assert again == first
    assert planned_again == planned
    assert len(items) == 2


async def test_a_price_is_neither_edited_nor_dated_back(pool: Pool) -> None:
    async with serving(pool) as api:
        later = (utc_now() + timedelta(days=30)).isoformat()
        await put(api, valid_from=later)
        before = await api.get("/v1/prices")

        edited = await put(api, valid_from=later, input_per_million="4", status=409)
        now = await put(api, status=409)
        past = await put(api, provider="openai", valid_from="2026-01-01T00:00:00Z", status=422)
        extreme = await put(api, valid_from="0001-01-01T00:00:00+14:00", status=422)
        tiers = [
            {"above_input_tokens": 5, "input_per_million": "1", "output_per_million": "1"} for _ in range(2)
        ]
        twice = await put(api, tiers=tiers, status=422)
        after = await api.get("/v1/prices")

    assert (edited["code"], now["code"]) == ("price-superseded", "price-superseded")
    assert [answer["errors"][0]["pointer"] for answer in (past, extreme, twice)] == [
        "/valid_from",
        "/valid_from",
        "/tiers",
    ]
    assert after == before


async def test_pages_hold_every_price_once(pool: Pool) -> None:
    async with serving(pool) as api:
        for number in range(5):
            await put(api, model_pattern=f"model-{number}")
        await put(api, provider="openai")

        first = await api.get("/v1/prices?provider=scripted&limit=3")
        second = await api.get(f"/v1/prices?provider=scripted&limit=3&page_token={first['next_page_token']}")

    told = [item["model_pattern"] for item in first["items"] + second["items"]]
    assert told == [f"model-{number}" for number in range(5)]
    assert second["next_page_token"] is None


async def test_a_ledger_row_says_which_tier_it_was_charged_by(pool: Pool) -> None:
    async with serving(pool, definition=Definition(model="scripted:echo")) as api, turns_running(api.world):
        tier = {"above_input_tokens": 200, "input_per_million": "6", "output_per_million": "15"}
        await put(api, per_call="0.25", tiers=[tier])
        session = await api.session()
        path = f"/v1/sessions/{session['id']}/messages"
        await api.post(path, {"text": "Hello", "expected_revision": 1})
        await api.post(path, {"text": "Hello " * 400, "expected_revision": 3})

        small, large = (await api.get("/v1/usage/entries"))["items"]

    assert small["input_tokens"] <= 200 < large["input_tokens"]
    for entry, price, above in ((small, ("3", "7.5"), None), (large, ("6", "15"), 200)):
        prices = entry["unit_prices"]
        assert (prices["input_per_million"], prices["output_per_million"]) == price
        assert (prices["above_input_tokens"], prices["per_call"]) == (above, "0.25")
        tokens = entry["input_tokens"] * Decimal(price[0]) + entry["output_tokens"] * Decimal(price[1])
        assert Decimal(entry["cost"]) == tokens / 1_000_000 + Decimal("0.25")
