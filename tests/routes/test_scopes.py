"""What a key was made for: every operation says which scopes open it, and no other does."""

from typing import Any

import pytest

from api.routes.mounting import OPERATIONS
from api.routes.operations import Operation
from api.store.scopes import ALL_SCOPES, Scope
from db.pool import Pool
from tests.ledger import entries_of, paid_turn
from tests.routes import published
from tests.routes.service import Api, client_of, serving
from tests.routes.test_bad_input import Bench, set_up

KEYED = [
    operation for operation in OPERATIONS if not operation.is_public and operation.callers != "installation"
]

WITHOUT_TEXT = {
    "listUsageEntries",
    "getUsageEntry",
    "listUsageHeads",
    "summarizeUsage",
    "exportUsage",
    "listPrices",
    "listBudgets",
    "getSessionMetrics",
    "summarizeSessions",
}
"""All that `usage:read` opens. Another one must be looked at: it may show nobody's text."""

GROUPS = {
    "/v1/usage/summary": ("day", "model", "agent", "session", "key", "purpose", "outcome"),
    "/v1/metrics/sessions": ("day", "agent", "version", "state", "resolution"),
}
"""What sums can be grouped by, and so show."""


async def ask(api: Api, operation: Operation, names: dict[str, str], body: Any = None) -> Any:
    path = operation.path.format(**names)
    return await api.call(operation.method, path, body if operation.body is not None else None)


async def state_but_keys(bench: Bench) -> list[Any]:
    """All that a call could have changed; but for the keys, of which the test itself makes many."""
    return [
        answer
        for answer in await bench.state()
        if not any("prefix" in item for item in answer.get("items", ()))
    ]


def test_every_operation_that_needs_a_key_says_which_scopes_open_it() -> None:
    assert [operation.operation_id for operation in KEYED if not operation.scopes] == []


def test_a_call_that_changes_something_is_never_opened_by_a_scope_to_read() -> None:
    reading = {Scope.SESSIONS_READ, Scope.USAGE_READ}

    assert [
        operation.operation_id
        for operation in KEYED
        if operation.method != "GET" and reading & set(operation.opening_scopes)
    ] == []


def test_the_schema_shows_the_scopes() -> None:
    for operation in KEYED:
        written = published.document()["paths"][operation.path][operation.method.lower()]

        roles = [scope.value for scope in operation.opening_scopes]
        roles += ["installation"] if operation.callers != "organization" else []
        assert written["security"] == [{"apiKey": [role]} for role in roles]


def test_usage_read_opens_figures_alone() -> None:
    opened = {operation.operation_id for operation in KEYED if Scope.USAGE_READ in operation.opening_scopes}

    assert opened == WITHOUT_TEXT


async def test_each_operation_is_opened_by_its_scopes_and_closed_to_all_others(pool: Pool) -> None:
    async with serving(pool) as owner:
        bench = await set_up(owner)
        before = await state_but_keys(bench)
        closed: dict[str, Any] = {}
        opened: dict[str, Any] = {}
        for operation in KEYED:
            others = ALL_SCOPES - set(operation.opening_scopes)
            async with client_of(owner.world, owner.app, scopes=others) as api:
                closed[operation.operation_id] = await ask(api, operation, bench.names, {"bad": 1})
            for scope in operation.opening_scopes:
                # An id that is nowhere, so that nothing is changed by whoever is let in.
                names = {**bench.names, **dict.fromkeys(("session_id", "agent_id", "rule_id", "key_id"), "x")}
                async with client_of(owner.world, owner.app, scopes=frozenset({scope})) as api:
                    opened[operation.operation_id, scope] = await ask(api, operation, names, {"bad": 1})

        for operation in KEYED:
            response = closed[operation.operation_id]
            problem = response.json()
            assert (response.status_code, problem["code"]) == (403, "missing-scope"), operation.operation_id
            assert problem["scope"] == operation.opening_scopes[0]
            assert problem["any_of"] == list(operation.opening_scopes)
            assert 'error="insufficient_scope"' in response.headers["www-authenticate"]
        assert {name for name, response in opened.items() if response.status_code in (401, 403)} == set()
        assert await state_but_keys(bench) == before


async def test_a_key_without_the_scope_is_told_the_same_of_what_is_there_and_what_is_not(pool: Pool) -> None:
    async with serving(pool) as owner:
        session = await owner.session()
        async with client_of(owner.world, owner.app, scopes=frozenset({Scope.USAGE_READ})) as api:
            there = await api.call("GET", f"/v1/sessions/{session['id']}")
            missing = await api.call("GET", "/v1/sessions/ses_" + "0" * 32)

    assert there.status_code == missing.status_code == 403
    assert there.content == missing.content


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_a_key_for_usage_sees_no_text(pool: Pool, accept: str) -> None:
    canary = "the canary sings"
    async with serving(pool) as owner:
        session = await owner.session(name=canary, context={"a": canary}, metadata={"a": canary})
        await owner.append(session, canary)
        await owner.world.answer(canary)
        session = await owner.get(f"/v1/sessions/{session['id']}")
        await owner.post(
            f"/v1/sessions/{session['id']}/end",
            {"resolution": canary, "expected_revision": session["revision"]},
        )
        await paid_turn(owner.world, (await owner.session())["id"])
        entry = (await entries_of(owner.world))[0]
        names = {
            "session_id": session["id"],
            "turn_id": session["turns"][0]["id"],
            "agent_id": owner.world.agent.id,
            "approval_id": "x",
            "rule_id": "x",
            "key_id": "x",
            "entry_id": entry.id,
            "interaction_id": "x",
            "secret_name": "x",
            "ordinal": "1",
            "version": "1",
        }
        async with client_of(owner.world, owner.app, scopes=frozenset({Scope.USAGE_READ})) as api:
            paths = [operation.path.format(**names) for operation in KEYED if operation.method == "GET"]
            paths += [
                f"{path}?group_by={dimension}"
                for path, dimensions in GROUPS.items()
                for dimension in dimensions
            ]
            answers = [await api.call("GET", path, headers={"Accept": accept}) for path in paths]

    assert len(answers) > 10
    assert not [answer.url for answer in answers if canary in answer.text or "Be brief." in answer.text]
    assert {answer.status_code for answer in answers} == {200, 403}


async def test_a_resolution_is_text_and_shown_with_the_scope_to_read_sessions_only(pool: Pool) -> None:
    async with serving(pool) as owner:
        session = await owner.session()
        await owner.post(
            f"/v1/sessions/{session['id']}/end", {"resolution": "solved", "expected_revision": 1}
        )
        path, groups = (
            f"/v1/sessions/{session['id']}/metrics",
            "/v1/metrics/sessions?group_by=state,resolution",
        )
        async with client_of(owner.world, owner.app, scopes=frozenset({Scope.USAGE_READ})) as api:
            hidden, refused = await api.get(path), await api.call("GET", groups)
        both = frozenset({Scope.USAGE_READ, Scope.SESSIONS_READ})
        async with client_of(owner.world, owner.app, scopes=both) as api:
            shown, grouped = await api.get(path), await api.get(groups)

    assert "resolution" not in hidden
    assert hidden == {name: value for name, value in shown.items() if name != "resolution"}
    assert shown["resolution"] == "solved"
    assert (refused.status_code, refused.json()["code"]) == (403, "missing-scope")
    assert refused.json()["scope"] == "sessions:read"
    assert [group["resolution"] for group in grouped["items"]] == ["solved"]
