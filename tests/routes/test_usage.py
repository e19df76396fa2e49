"""The ledger over HTTP."""

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest

from api.agents.definition import Definition
from api.routes import usage_files
from api.store import Caller
from api.store.base import utc_now
from api.store.running import Price
from db.pool import Pool
from tests.factories import make_world
from tests.ledger import call, claimed, paid_turn, priced
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

    assert pages == [{"items": [], "next": 0, "head": 0, "archived_through": 0}] * 3


async def test_an_entry_is_corrected_with_actor_and_reason(pool: Pool) -> None:
    async with serving(pool) as api:
        await paid_turn(api.world, (await api.session())["id"], "0.01")
        [entry] = (await api.get("/v1/usage/entries"))["items"]
        path = f"/v1/usage/entries/{entry['id']}"

        body = {"reason": "The price was wrong.", "cost": "0.004"}
        headers = {"Idempotency-Key": "fix", "Turnledger-On-Behalf-Of": "ada@example.org"}
        answer = await api.call("POST", f"{path}/corrections", body, headers=headers)
        again = await api.call("POST", f"{path}/corrections", body, headers=headers)
        refused = await api.call("POST", f"{path}/corrections", body)
        wrong = await api.call("POST", f"{path}/corrections", {"reason": "x", "cached_tokens": 8})
        chain = await api.get(path)
        feed = await api.get("/v1/usage/entries?after=1")

    assert (answer.status_code, again.status_code) == (201, 201)
    assert (again.content, again.headers["idempotency-replayed"]) == (answer.content, "true")
    correction = answer.json()
    assert answer.headers["location"] == f"/v1/usage/entries/{correction['id']}"
    assert (correction["seq"], correction["cost"], correction["source"]) == (2, "-0.006", "manual")
    assert correction["correction_reason"] == "The price was wrong."
    assert correction["corrected_by"]["on_behalf_of"] == "ada@example.org"
    assert correction["corrected_by"]["key_id"].startswith("key_")
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing-to-correct")
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/cached_tokens")
    assert chain == {"entry": entry, "corrections": [correction], "net": chain["net"]}
    assert chain["net"]["cost"] == "0.004"
    assert feed["items"] == [correction]


async def test_a_summary_is_grouped_paged_and_says_its_time_zone(pool: Pool) -> None:
    async with serving(pool) as api:
        for _ in range(3):
            await paid_turn(api.world, (await api.session())["id"], "0.01")

        whole = await api.get("/v1/usage/summary")
        path = "/v1/usage/summary?group_by=session,key&tz=Europe/Berlin&limit=2"
        first = await api.get(path)
        second = await api.get(f"{path}&page_token={first['next_page_token']}")
        faults = [
            (await api.call("GET", f"/v1/usage/summary?{query}")).json()["errors"][0]["pointer"]
            for query in ("tz=Europe/Atlantis", "group_by=mood", "from=yesterday", "to=2026-11-21T00:00:00Z")
        ]
        other = await api.call("GET", f"/v1/usage/summary?page_token={first['next_page_token']}")

    [group] = whole["items"]
    assert (group["total"]["cost"], group["active"]["call_count"], group["discarded"]["cost"]) == (
        "0.03",
        3,
        "0",
    )
    assert (whole["head"], whole["time_zone"], whole["next_page_token"]) == (3, "UTC", None)
    assert first["time_zone"] == "Europe/Berlin"
    assert len({item["session_id"] for item in first["items"] + second["items"]}) == 3
    assert second["next_page_token"] is None
    assert faults == ["?tz", "?group_by", "?from", "?to"]
    assert other.status_code == 400


async def test_an_export_holds_the_whole_ledger_in_both_forms(pool: Pool) -> None:
    async with serving(pool) as api:
        session_id = (await api.session())["id"]
        for _ in range(3):
            await paid_turn(api.world, session_id, "0.01")
        claim_me = await api.append(await api.get(f"/v1/sessions/{session_id}"))
        await call(api.world, await claimed(api.world), priced(None), speaker='=1+1 "x", y')
        entries = (await api.get("/v1/usage/entries"))["items"]
        await api.post(
            f"/v1/usage/entries/{entries[0]['id']}/corrections", {"reason": "x", "cost": "0"}, status=201
        )
        entries = (await api.get("/v1/usage/entries"))["items"]

        lines = await api.call("GET", "/v1/usage/export")
        rest = await api.call("GET", "/v1/usage/export?after=3")
        table = await api.call("GET", "/v1/usage/export?format=csv")
        head = await api.call("HEAD", "/v1/usage/export?format=csv")
        empty = await api.call("GET", "/v1/usage/export?after=5")

    assert claim_me["turn_id"] == entries[3]["turn_id"]
    assert [json.loads(line) for line in lines.text.splitlines()] == entries
    assert [json.loads(line)["seq"] for line in rest.text.splitlines()] == [4, 5]
    assert lines.headers["turnledger-ledger-head"] == "5"
    assert lines.headers["content-disposition"] == 'attachment; filename="usage-1-5.jsonl"'
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [(row["id"], row["cost"]) for row in rows] == [
        (entry["id"], entry["cost"] or "") for entry in entries
    ]
    assert (rows[0]["input_per_million"], rows[0]["billable"], rows[0]["corrects_id"]) == ("1", "true", "")
    assert rows[3]["speaker"] == '\'=1+1 "x", y'
    assert rows[4]["corrected_by_key_id"].startswith("key_")
    assert (head.status_code, head.content, empty.content) == (200, b"", b"")


async def test_an_export_holds_a_page_at_a_time_and_ends_where_the_ledger_stood(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    for _ in range(5):
        await paid_turn(world, session_id)
    read, asked = world.store.reading.usage_entries, []

    async def watched(caller: Caller, **asked_for: Any) -> Any:
        asked.append((asked_for["after"], asked_for["limit"]))
        return await read(caller, **asked_for)

    monkeypatch.setattr(world.store.reading, "usage_entries", watched)
    monkeypatch.setattr(usage_files, "_PAGE", 2)
    pieces = usage_files.written(world.store, world.caller, form="jsonl", after=0, head=3)
    first = await anext(pieces)
    asked_at_first, held = list(asked), pool.get_size() - pool.get_idle_size()
    await paid_turn(world, session_id)
    rest = [piece async for piece in pieces]

    lines = b"".join([first, *rest]).splitlines()
    assert (asked_at_first, held) == ([(0, 2)], 0), "nothing is read ahead of the reader, and nothing held"
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3]
    assert asked == [(0, 2), (2, 2)]
