"""Interactions over HTTP: those of sessions, and those that callers tell us."""

import json
from decimal import Decimal
from typing import Any

import pytest

from api.agents.definition import Definition, Node, Transition
from db.pool import Pool
from tests.routes.service import Api, serving, turns_running

CAPTURE = {
    "prompt": "Sum this up.",
    "response": "It is short.",
    "model": "openai:gpt-5-mini",
    "client": "nightly",
    "project": "spring",
    "usage": {"input_tokens": 12, "output_tokens": 3, "cost": "0.00012"},
    "latency_ms": 812,
    "metadata": {"job": 7},
}


async def talk(api: Api, text: str = "Hello", **fields: Any) -> Any:
    """A new session with one answered message."""
    session = await api.session(**fields)
    await api.post(
        f"/v1/sessions/{session['id']}/messages",
        {"text": text, "expected_revision": session["revision"]},
        headers={"Turnledger-On-Behalf-Of": "bea"},
    )
    return await api.get(f"/v1/sessions/{session['id']}")


async def test_a_call_of_a_session_is_listed_and_read_whole(pool: Pool) -> None:
    agent = Definition(model="scripted:echo", instructions="Help {{who | them}}.")
    async with serving(pool, definition=agent) as api, turns_running(api.world):
        session = await talk(api, context={"who": "Ada"}, metadata={"project": "spring"})
        page = await api.get("/v1/interactions?project=spring")
        [item] = page["items"]
        whole = await api.get(f"/v1/interactions/{item['id']}")
        assert await api.get(f"/v1/interactions?client={item['client']['id']}") == page

    [turn] = session["turns"]
    assert page["next_page_token"] is None
    assert {name: whole[name] for name in item} == item
    assert "prompt" not in item
    assert (item["source"], item["session_id"], item["project"]) == ("session", session["id"], "spring")
    assert (item["turn"]["id"], item["turn"]["place"]) == (turn["id"], "in_effect")
    assert (item["node"], item["purpose"], item["outcome"]) == ("start", "reply", "completed")
    assert item["usage"] == turn["usage"]
    assert item["client"]["name"] == "test"
    assert item["actor"] == {"key_id": item["client"]["id"], "on_behalf_of": "bea"}
    assert whole["prompt_is_exact"] is True
    assert whole["prompt_difference"] is None
    assert whole["prompt"]["instructions"] == "Help Ada."
    assert whole["prompt"]["messages"] == [{"role": "user", "text": "Hello"}]
    assert whole["response"]["text"] == turn["replies"][0]["text"]
    assert whole["context_pack"] == {
        "first_turn_id": turn["id"],
        "last_turn_id": turn["id"],
        "turn_ids": [turn["id"]],
        "step_ids": [],
        "context_fields": ["who"],
        "variables": [],
        "unfilled": [],
        "tools": [],
    }


async def test_tool_calls_are_part_of_the_call_that_asked(pool: Pool) -> None:
    book = Transition(to="booking", label="book", condition="They want to come.")
    agent = Definition(
        model="scripted:tools", nodes=(Node(name="start", transitions=(book,)), Node(name="booking"))
    )
    async with serving(pool, definition=agent) as api, turns_running(api.world):
        session = await talk(api, "say Fine.\ngo book\nthen\nsay Which day?")
        items = (await api.get(f"/v1/interactions?session_id={session['id']}"))["items"]
        answering, asking = [await api.get(f"/v1/interactions/{item['id']}") for item in items]

    [asked] = asking["tool_calls"]
    [attempt] = asked["attempts"]
    assert (asked["index"], asked["name"], asked["approvals"]) == (0, "book", [])
    assert (attempt["tool"], attempt["outcome"]) == ("book", "completed")
    assert asking["context_pack"]["tools"] == [{"name": "book", "source": "transition"}]
    assert asking["prompt"]["tools"][0]["description"] == "They want to come."
    assert (asking["node"], answering["node"]) == ("start", "booking")
    assert answering["context_pack"]["step_ids"] == [asking["id"], attempt["step_id"]]
    assert answering["prompt"]["messages"][-1]["tool_call_id"] == asked["id"]
    assert asking["prompt_is_exact"] is answering["prompt_is_exact"] is True


async def test_pages_follow_one_another(pool: Pool) -> None:
    async with serving(pool) as api:
        made = [
            (await api.post("/v1/interactions", {"prompt": f"{number}", "model": "m"}, status=201))["id"]
            for number in range(5)
        ]
        first = await api.get("/v1/interactions?limit=2")
        second = await api.get(f"/v1/interactions?limit=2&page_token={first['next_page_token']}")
        third = await api.get(f"/v1/interactions?limit=2&page_token={second['next_page_token']}")
        other_list = await api.call("GET", f"/v1/interactions?client=x&page_token={first['next_page_token']}")

    pages = [first, second, third]
    assert [item["id"] for page in pages for item in page["items"]] == made[::-1]
    assert third["next_page_token"] is None
    assert (other_list.status_code, other_list.json()["code"]) == (400, "malformed-page-token")


async def test_at_most_500_are_told_at_once(pool: Pool) -> None:
    async with serving(pool) as api:
        taken = await api.call("GET", "/v1/interactions?limit=500")
        refused = await api.call("GET", "/v1/interactions?limit=501")

    assert (taken.status_code, refused.status_code) == (200, 422)


async def test_a_captured_call_is_listed_and_read(pool: Pool) -> None:
    async with serving(pool) as api:
        response = await api.call("POST", "/v1/interactions", CAPTURE)
        made = response.json()
        [item] = (await api.get("/v1/interactions?client=nightly&project=spring"))["items"]
        whole = await api.get(response.headers["Location"])
        ledger = await api.get("/v1/usage/entries")

    assert response.status_code == 201
    assert item["id"] == made["id"] == whole["id"]
    assert (item["source"], item["started_at"]) == ("captured", made["captured_at"])
    assert (item["model"], item["latency_ms"], item["metadata"]) == ("openai:gpt-5-mini", 812, {"job": 7})
    assert Decimal(item["usage"]["cost"]) == Decimal("0.00012")
    assert item["client"] == {"id": "nightly", "name": None}
    assert item["actor"]["key_id"].startswith("key_")
    assert [item[name] for name in ("session_id", "turn", "agent", "node", "purpose", "billable")] == [
        None
    ] * 6
    assert whole["prompt"]["messages"] == [{"role": "user", "text": "Sum this up."}]
    assert whole["response"]["text"] == "It is short."
    assert (whole["prompt_is_exact"], whole["context_pack"]) == (True, None)
    assert ledger["items"] == []


async def test_who_records_a_call_is_its_client_where_none_is_named(pool: Pool) -> None:
    async with serving(pool) as api:
        await api.post("/v1/interactions", {"prompt": "Hello", "model": "m"}, status=201)
        [item] = (await api.get("/v1/interactions"))["items"]

    assert item["client"] == {"id": item["actor"]["key_id"], "name": "test"}
    assert item["usage"] is None


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"prompt": " \n"}, "/prompt", "blank"),
        ({"prompt": ""}, "/prompt", "blank"),
        ({"prompt": None}, "/prompt", None),
        ({"prompt": "x" * 100_001}, "/prompt", "too-long"),
        ({"model": ""}, "/model", "blank"),
        ({"client": ""}, "/client", "blank"),
        ({"project": "x" * 201}, "/project", "too-long"),
        ({"usage": {"input_tokens": -1, "output_tokens": 0}}, "/usage/input_tokens", "out-of-range"),
        ({"usage": {"input_tokens": 1}}, "/usage/output_tokens", "missing"),
        ({"usage": {"input_tokens": 1, "output_tokens": 1, "cost": "-1"}}, "/usage/cost", None),
        ({"metadata": {"a": "x" * 17_000}}, "/metadata", "too-large"),
    ],
)
async def test_a_bad_capture_is_told_what_is_wrong(
    pool: Pool, fields: dict[str, Any], pointer: str, code: str | None
) -> None:
    async with serving(pool) as api:
        response = await api.call("POST", "/v1/interactions", {**CAPTURE, **fields})
        listed = await api.get("/v1/interactions")

    assert response.status_code == 422, response.text
    faults = {fault["pointer"]: fault["code"] for fault in response.json()["errors"]}
    assert pointer in faults
    assert code in (None, faults[pointer])
    assert listed["items"] == []


async def test_a_prompt_is_needed(pool: Pool) -> None:
    async with serving(pool) as api:
        response = await api.call("POST", "/v1/interactions", {"model": "m"})

    assert [fault["pointer"] for fault in response.json()["errors"]] == ["/prompt"]


async def test_a_repetition_records_nothing_twice(pool: Pool) -> None:
    async with serving(pool) as api:
        key = {"Idempotency-Key": "k"}
        first = await api.call("POST", "/v1/interactions", CAPTURE, headers=key)
        again = await api.call("POST", "/v1/interactions", CAPTURE, headers=key)
        other = await api.call("POST", "/v1/interactions", {**CAPTURE, "prompt": "Else"}, headers=key)
        items = (await api.get("/v1/interactions"))["items"]

    assert again.content == first.content
    assert again.headers["Idempotency-Replayed"] == "true"
    assert other.status_code == 422
    assert len(items) == 1


async def test_what_was_captured_for_a_session_goes_with_it(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()
        capture = {**CAPTURE, "session_id": session["id"]}
        key = {"Idempotency-Key": "k"}
        made = await api.post("/v1/interactions", capture, status=201, headers=key)
        [item] = (await api.get(f"/v1/interactions?session_id={session['id']}"))["items"]
        await api.call("DELETE", f"/v1/sessions/{session['id']}", headers={"If-Match": "*"})

        gone = await api.call("GET", f"/v1/interactions/{made['id']}")
        again = await api.call("POST", "/v1/interactions", capture, headers=key)
        listed = await api.get("/v1/interactions")
        kept = await pool.fetchval("SELECT count(*) FROM captured_interactions")
        answers = await pool.fetch("SELECT convert_from(answer, 'UTF8') AS text FROM idempotency_keys")

    assert (item["session_id"], item["turn"]) == (session["id"], None)
    assert (gone.status_code, again.status_code, listed["items"], kept) == (404, 404, [], 0)
    assert not any("Sum this up" in json.dumps(row["text"]) for row in answers)
