"""Figures of conversations, of one and over a range of days."""

from datetime import timedelta
from typing import Any

from api.session.document import Usage
from api.store.base import utc_now
from db.pool import Pool
from tests.factories import completing, rendered
from tests.ledger import call, claimed, paid_turn, priced
from tests.routes.service import Api, serving


async def lived_in(api: Api) -> str:
    """A session of three turns on the line and two discarded ones, with calls of 100 to 500 ms."""
    world, session_id = api.world, (await api.session())["id"]
    first = await paid_turn(world, session_id, "1")
    for _ in range(2):
        await paid_turn(world, session_id, "2")
    await world.store.sessions.rewind(
        world.caller, session_id, turn_id=first, expected=None, idempotency=None, render=rendered
    )
    for number in (2, 5):
        await world.append(session_id, None)
        claim = await claimed(world)
        await call(world, claim, priced("4", latency_ms=100 * number, model="other"), speaker="Bea")
        await world.store.running.publish(claim, completing(claim, "Hi."))
    return str(session_id)


async def test_the_figures_of_a_session_tell_all_of_it(pool: Pool) -> None:
    async with serving(pool) as api:
        session_id = await lived_in(api)
        path = f"/v1/sessions/{session_id}"
        session = await api.get(path)

        told = await api.get(f"{path}/metrics")
        await api.post(f"{path}/end", {"resolution": "solved", "expected_revision": session["revision"]})
        ended = await api.get(f"{path}/metrics")

    figures = told["figures"]
    counts = ("turn_count", "discarded_turn_count", "completed_count", "call_count", "unknown_count")
    assert [figures[name] for name in counts] == [3, 2, 5, 5, 0]
    assert (figures["cost"], figures["active_cost"], figures["input_tokens"]) == ("13", "9", 35)
    assert figures["call_latency_ms"] == {"p50": 100, "p90": 500, "p99": 500}
    assert figures["turn_latency_ms"]["p50"] > 0
    assert (told["speakers"], told["models"]) == (["Ada", "Bea"], ["scripted:echo", "scripted:other"])
    assert (told["agent_id"], told["agent_version"]) == (api.world.agent.id, 1)
    assert (told["state"], told["resolution"], told["ended_at"]) == ("open", None, None)
    assert (told["started_at"], told["last_activity_at"]) == (session["created_at"], session["updated_at"])
    assert (ended["state"], ended["resolution"]) == ("ended", "solved")
    assert ended["ended_at"] == ended["last_activity_at"]


async def test_a_session_without_a_turn_has_figures_too(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()

        told = await api.get(f"/v1/sessions/{session['id']}/metrics")

    assert (told["figures"]["turn_count"], told["figures"]["cost"]) == (0, "0")
    assert (told["figures"]["call_latency_ms"], told["speakers"]) == (None, [])


async def test_figures_over_many_sessions_are_those_of_each_together(pool: Pool) -> None:
    async with serving(pool) as api:
        ids = [await lived_in(api) for _ in range(2)]
        quiet = await api.session()
        await api.post(f"/v1/sessions/{quiet['id']}/end", {"resolution": "abandoned", "expected_revision": 1})
        gone = await api.session()
        await api.call("DELETE", f"/v1/sessions/{gone['id']}", headers={"If-Match": "*"})
        today = utc_now().date()

        whole = await api.get("/v1/metrics/sessions")
        by_state = await api.get("/v1/metrics/sessions?group_by=state,resolution,version")
        first = await api.get("/v1/metrics/sessions?group_by=state&limit=1")
        token = first["next_page_token"]
        second = await api.get(f"/v1/metrics/sessions?group_by=state&limit=1&page_token={token}")
        before = await api.get(f"/v1/metrics/sessions?to={today - timedelta(days=1)}")
        this_day = await api.get(f"/v1/metrics/sessions?group_by=day&from={today - timedelta(days=1)}")
        each = [(await api.get(f"/v1/sessions/{name}/metrics"))["figures"] for name in ids]
        nowhere = await api.call("GET", "/v1/metrics/sessions?tz=Europe/Atlantis")

    [group] = whole["items"]
    assert (group["session_count"], group["ended_count"]) == (3, 1)
    for name in ("turn_count", "discarded_turn_count", "completed_count", "call_count", "input_tokens"):
        assert group["figures"][name] == sum(figures[name] for figures in each)
    assert (group["figures"]["cost"], group["figures"]["active_cost"]) == ("26", "18")
    assert group["figures"]["call_latency_ms"] == {"p50": 100, "p90": 500, "p99": 500}
    assert group["duration_seconds"]["p99"] >= group["duration_seconds"]["p50"] >= 0
    assert [(item["state"], item["resolution"], item["session_count"]) for item in by_state["items"]] == [
        ("ended", "abandoned", 1),
        ("open", None, 2),
    ]
    assert {item["agent_version"] for item in by_state["items"]} == {1}
    assert [item["state"] for item in first["items"] + second["items"]] == ["ended", "open"]
    assert second["next_page_token"] is None
    assert before["items"] == []
    assert sum(item["session_count"] for item in this_day["items"]) == 3
    assert nowhere.json()["errors"][0]["pointer"] == "?tz"


async def test_figures_are_of_one_organization(pool: Pool) -> None:
    async with serving(pool) as owner, serving(pool) as stranger:
        await lived_in(owner)

        assert (await stranger.get("/v1/metrics/sessions"))["items"] == []


async def test_an_unknown_cost_is_counted_and_not_added(pool: Pool) -> None:
    async with serving(pool) as api:
        session_id = (await api.session())["id"]
        await api.world.append(session_id, 1)
        unknown: Any = priced(None, tokens=Usage(input_tokens=1, cost=None, unknown_count=1))
        await call(api.world, await claimed(api.world), unknown)

        told = await api.get(f"/v1/sessions/{session_id}/metrics")

    assert (told["figures"]["cost"], told["figures"]["unknown_count"]) == ("0", 1)
