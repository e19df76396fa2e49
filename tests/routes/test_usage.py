"""The ledger over HTTP."""

from decimal import Decimal

from api.agents.definition import Definition
from api.store.base import utc_now
from api.store.running import Price
from db.pool import Pool
from tests.routes.service import Api, serving, turns_running


async def price(api: Api) -> None:
    await api.world.store.access.add_prices(
        api.world.organization_id,
        [
            Price(
                provider="scripted",
                model_pattern="*",
                valid_from=utc_now(),
                input_per_million=Decimal(3),
                output_per_million=Decimal("7.5"),
            )
        ],
    )


async def test_every_call_is_in_the_ledger_with_its_exact_cost(pool: Pool) -> None:
    async with serving(pool, definition=Definition(model="scripted:echo")) as api, turns_running(api.world):
        await price(api)
        session = await api.session()
        path = f"/v1/sessions/{session['id']}"
        first = await api.post(f"{path}/messages", {"text": "Hello", "expected_revision": 1})
        await api.post(f"{path}/messages", {"text": "Again", "expected_revision": 3})
        other = await api.session()
        await api.post(f"/v1/sessions/{other['id']}/messages", {"text": "Hello", "expected_revision": 1})

        page = await api.get("/v1/usage/entries?limit=2")
        rest = await api.get(f"/v1/usage/entries?after={page['next']}")
        end = await api.get(f"/v1/usage/entries?after={rest['next']}")
        of_other = await api.get(f"/v1/usage/entries?session_id={other['id']}")
        heads = await api.get("/v1/usage/heads")
        live = await api.get(f"{path}?include=live")

    entries = page["items"] + rest["items"]
    assert [entry["seq"] for entry in entries] == [1, 2, 3]
    assert (page["next"], page["head"], rest["next"], end["items"], end["next"]) == (2, 3, 3, [], 3)
    assert [entry["seq"] for entry in of_other["items"]] == [3]
    assert of_other["next"] == of_other["head"] == 3
    assert heads["items"] == [{"organization_id": api.world.organization_id, "head": 3}]
    for entry in entries:
        expected = (entry["input_tokens"] * 3 + entry["output_tokens"] * Decimal("7.5")) / 1_000_000
        assert Decimal(entry["cost"]) == expected
        assert entry["unit_prices"]["output_per_million"] == "7.5"
        assert (entry["outcome"], entry["billable"], entry["purpose"]) == ("completed", True, "reply")
    assert entries[0]["turn_id"] == first["turn_id"]
    assert Decimal(live["live"]["usage"]["cost"]) == Decimal(entries[0]["cost"]) + Decimal(entries[1]["cost"])


async def test_an_unknown_price_is_null_and_never_zero(pool: Pool) -> None:
    async with serving(pool, definition=Definition(model="scripted:echo")) as api, turns_running(api.world):
        session = await api.session()
        await api.post(f"/v1/sessions/{session['id']}/messages", {"text": "Hello", "expected_revision": 1})

        [entry] = (await api.get("/v1/usage/entries"))["items"]

    assert (entry["cost"], entry["unit_prices"]) == (None, None)


async def test_a_session_that_is_not_there_has_no_entries(pool: Pool) -> None:
    async with serving(pool) as api:
        pages = [
            await api.get(f"/v1/usage/entries?session_id={name}") for name in ("ses_" + "0" * 32, "x", "%F0")
        ]

    assert pages == [{"items": [], "next": 0, "head": 0}] * 3
