"""Budgets over HTTP: set, read, refused with 402, warned of in a header field."""

from typing import Any

from api.agents.definition import Definition, Greeting
from db.pool import Pool
from tests.factories import make_world
from tests.ledger import paid_turn
from tests.routes.service import Api, client_of, make_app, make_state, serving, turns_running


async def put(api: Api, *, status: int = 200, **fields: Any) -> Any:
    response = await api.call("PUT", "/v1/budgets", {"period": "month", **fields})
    assert response.status_code == status, response.text
    return response.json()


async def test_a_turn_beyond_the_budget_is_refused_with_all_there_is_to_know(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()
        turn_id = await paid_turn(api.world, session["id"], "0.02")
        await put(api, limit="0.02", time_zone="Europe/Berlin")
        path = f"/v1/sessions/{session['id']}"
        before = await api.get(path)

        refused = await api.call("POST", f"{path}/messages", {"text": "Hi", "expected_revision": 3})
        streamed = await api.call(
            "POST",
            f"{path}/messages",
            {"text": "Hi", "expected_revision": 3},
            headers={"Accept": "text/event-stream"},
        )
        again = await api.call("POST", f"{path}/turns/{turn_id}/regenerate", {"expected_revision": 3})
        stale = await api.call("POST", f"{path}/messages", {"text": "Hi", "expected_revision": 1})
        renamed = await api.call("PATCH", path, {"name": "x"}, headers={"If-Match": '"3"'})
        [budget] = (await api.get("/v1/budgets"))["items"]

    problem = refused.json()
    assert [response.status_code for response in (refused, streamed, again)] == [402] * 3
    assert (problem["code"], problem["spent"], problem["reserved"], problem["limit"]) == (
        "budget-exceeded",
        "0.02",
        "0",
        "0.02",
    )
    assert (problem["period"], problem["time_zone"]) == ("month", "Europe/Berlin")
    assert problem["resets_at"] == budget["resets_at"]
    assert (budget["state"], budget["starts_at"] < budget["resets_at"]) == ("exceeded", True)
    assert (stale.status_code, renamed.status_code, before["revision"]) == (409, 200, 3)


async def test_a_generated_greeting_is_a_turn_too(pool: Pool) -> None:
    definition = Definition(model="scripted:echo", greeting=Greeting(generate=True))
    async with serving(pool, definition=definition) as api:
        await put(api, limit="0")

        refused = await api.call("POST", "/v1/sessions", {"agent_id": api.world.agent.id})
        listed = await api.get("/v1/sessions")

    assert (refused.status_code, refused.json()["code"], listed["items"]) == (402, "budget-exceeded", [])


async def test_a_warning_is_a_header_field_of_calls_that_make_a_turn(pool: Pool) -> None:
    async with serving(pool) as api, turns_running(api.world):
        session = await api.session()
        path = f"/v1/sessions/{session['id']}/messages"
        await put(api, warn_at="0.01")
        quiet = await api.call("POST", path, {"text": "Hi", "expected_revision": 1})
        other = await api.session()
        await api.call("POST", f"/v1/usage/entries/{await first_entry(api)}/corrections", PRICED)

        warned = await api.call("POST", path, {"text": "Hi", "expected_revision": 3})
        unaware = await api.call(
            "PATCH", f"/v1/sessions/{other['id']}", {"name": "x"}, headers={"If-Match": '"1"'}
        )
        [budget] = (await api.get("/v1/budgets"))["items"]

    assert "turnledger-budget-warning" not in quiet.headers
    assert warned.headers["turnledger-budget-warning"] == "month; scope=organization; spent=0.02; reserved=0"
    assert "turnledger-budget-warning" not in unaware.headers
    assert (budget["state"], budget["limit"]) == ("warning", None)


PRICED = {"reason": "It did cost something.", "cost": "0.02"}


async def first_entry(api: Api) -> str:
    return str((await api.get("/v1/usage/entries"))["items"][0]["id"])


async def test_a_turn_that_finds_the_budget_used_up_fails_and_says_so(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()
        await put(api, limit="0.01")
        await api.append(session)
        other = await api.session()
        await pool.execute("UPDATE turns SET created_at = now() + interval '1 hour'")
        await pool.execute("DELETE FROM budgets")
        await paid_turn_first(api, other["id"])
        await put(api, limit="0.01")

        async with turns_running(api.world):
            turn = await final_turn(api, session["id"])

    assert (turn["state"], turn["error"]["code"]) == ("failed", "budget_exceeded")
    assert turn["usage"] is None


async def paid_turn_first(api: Api, session_id: str) -> None:
    """Spend the budget by a turn that comes before the one that waits."""
    await paid_turn(api.world, session_id, "0.01")


async def final_turn(api: Api, session_id: str) -> Any:
    """The only turn of a session, when it is final."""
    with api.world.hub.listening(_row(session_id)) as listener:
        while True:
            [turn] = (await api.get(f"/v1/sessions/{session_id}"))["turns"]
            if turn["state"] != "pending":
                return turn
            await listener.wait(seconds_max=10)


def _row(session_id: str) -> Any:
    from api.session import ids

    return ids.from_wire(ids.Kind.SESSION, session_id)


async def test_budgets_are_of_one_organization_and_its_keys(pool: Pool) -> None:
    async with serving(pool) as owner:
        key = await owner.world.store.access.create_key(owner.world.organization_id, name="tester")
        world = await make_world(pool, name="Other")
        async with client_of(world, make_app(make_state(world))) as stranger:
            mine = await put(owner, limit="5", key_id=key.id)
            foreign = await put(stranger, limit="5", key_id=key.id, status=404)
            missing = await stranger.call("DELETE", f"/v1/budgets?period=month&key_id={key.id}")
            theirs = await stranger.get("/v1/budgets")
        replaced = await put(owner, limit="6", key_id=key.id)
        listed = await owner.get("/v1/budgets")
        gone = await owner.call("DELETE", f"/v1/budgets?period=month&key_id={key.id}")
        again = await owner.call("DELETE", f"/v1/budgets?period=month&key_id={key.id}")

    assert (mine["limit"], mine["key_id"], replaced["limit"]) == ("5", key.id, "6")
    assert (foreign["code"], missing.status_code, theirs["items"]) == ("not-found", 404, [])
    assert listed["items"] == [replaced]
    assert (gone.status_code, again.status_code) == (204, 404)


async def test_a_budget_must_limit_or_warn_in_a_time_zone_that_there_is(pool: Pool) -> None:
    async with serving(pool) as api:
        nothing = await put(api, status=422)
        nowhere = await put(api, limit="1", time_zone="Europe/Atlantis", status=422)

    assert nothing["errors"][0]["message"].startswith("one of limit and warn_at")
    assert nowhere["errors"][0]["pointer"] == "/time_zone"
