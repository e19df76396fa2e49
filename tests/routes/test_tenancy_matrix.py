"""Two organizations, every operation, every foreign id: 404, whatever the call says beside it.

Nothing in the answer tells a foreign thing from a missing one: not the body, not a header field, and not what
becomes of preconditions, repetitions or forms of answer. A new operation needs a row here: the first test
says which one is missing.
"""

import itertools
from secrets import token_hex
from typing import Any

import pytest

from api.routes.mounting import OPERATIONS
from api.routes.operations import PATH_PARAMETERS, Operation
from db.pool import Pool
from tests.ledger import entries_of, paid_turn
from tests.routes.service import Api, serving
from tests.routes.test_tenancy import BODIES, OWN, QUERIES, SCOPED

BARE = {
    "getSession",
    "deleteSession",
    "exportSession",
    "listTurns",
    "getTurn",
    "listEvents",
    "listDiscardedFutures",
    "listDiscardedTurns",
    "previewRegenerate",
    "getApproval",
    "getApprovalRule",
    "revokeApprovalRule",
    "getAgent",
    "listAgentVersions",
    "getAgentVersion",
    "getAgentDraft",
    "discardAgentDraft",
    "getApiKey",
    "revokeApiKey",
    "deleteSecret",
    "getInteraction",
    "getSessionMetrics",
    "getUsageEntry",
}
"""Operations on one thing that need neither a body nor a query; the others have theirs in `test_tenancy`."""

WITHOUT_ID = {
    "importSession": "brings what it names; an agent that it chooses is looked for in the organization",
    "getRetention": "is one's own",
    "putRetention": "names nothing",
    "createSession": "what its body names is looked for in the organization: `test_tenancy`",
    "listSessions": "its items are one's own",
    "listApprovals": "its items are one's own",
    "createApprovalRule": "names nothing",
    "listApprovalRules": "its items are one's own",
    "createAgent": "names nothing",
    "listAgents": "its items are one's own",
    "validateDefinition": "names nothing",
    "createApiKey": "names nothing",
    "listSecrets": "its items are one's own",
    "listApiKeys": "its items are one's own",
    "listUsageEntries": "its items are one's own",
    "listUsageHeads": "its items are one's own",
    "summarizeUsage": "its sums are one's own",
    "exportUsage": "its rows are one's own",
    "listPrices": "its items are one's own",
    "putPrice": "names nothing",
    "putBudget": "what its body names is looked for in the organization: `test_budgets`",
    "deleteBudget": "its query names a key, looked for in the organization: `test_budgets`",
    "listBudgets": "its items are one's own",
    "summarizeSessions": "its sums are one's own",
    "listInteractions": "its items are one's own",
    "captureInteraction": "what its body names is looked for in the organization: `test_interactions`",
}
"""Operations on a path without an id, and why they show nothing foreign."""

NUMBERS = {"ordinal": "1", "version": "1"}
"""Placeholders that count within a thing; both organizations have the first."""


def variants(etag: str) -> list[dict[str, str]]:
    """What a call may say beside its path and body; `etag` is the one that the foreign thing has."""
    return [
        {},
        {"If-Match": etag},
        {"If-Match": "*"},
        {"If-Match": '"999"'},
        {"If-None-Match": etag},
        {"If-None-Match": "*"},
        {"Idempotency-Key": "used"},
        {"Prefer": "return=representation"},
        {"Accept": "text/event-stream"},
    ]


async def furnish(api: Api) -> dict[str, str]:
    """Give an organization one of everything that has an id; answers the ids, by placeholder."""
    session = await api.conversation(2)
    path = f"/v1/sessions/{session['id']}"
    await api.post(
        f"{path}/rewind",
        {"turn_id": session["turns"][0]["id"], "expected_revision": session["revision"]},
        headers={"Idempotency-Key": "used"},
    )
    await api.world.append(session["id"], None)
    await api.world.answer()
    agent_id = api.world.agent.id
    await api.call(
        "PUT",
        f"/v1/agents/{agent_id}/draft",
        {"definition": {"model": "scripted:echo"}, "expected_revision": 0},
    )
    (approval,) = await api.world.ask((await api.session())["id"])
    rule = await api.post("/v1/approval-rules", {"tool": "refund", "action": "deny"}, status=201)
    key = await api.post("/v1/api-keys", {"name": "Other", "scopes": ["admin"]}, status=201)
    # Names are chosen, so each organization's is one that the other has not.
    secret_name = f"s{token_hex(8)}"
    assert (await api.call("PUT", f"/v1/secrets/{secret_name}", {"value": "hidden"})).is_success
    captured = await api.post("/v1/interactions", {"prompt": "Hello", "model": "m"}, status=201)
    await paid_turn(api.world, (await api.session())["id"])
    entry = (await entries_of(api.world))[0]
    return {
        "session_id": session["id"],
        "turn_id": session["turns"][0]["id"],
        "agent_id": agent_id,
        "approval_id": approval.id,
        "rule_id": rule["id"],
        "key_id": key["id"],
        "interaction_id": captured["id"],
        "entry_id": entry.id,
        "secret_name": secret_name,
    }


async def everything(api: Api, names: dict[str, str]) -> list[Any]:
    """All that a call of somebody else could have changed or shown: what every GET answers."""
    answers = [
        (await api.call("GET", _path(operation, {**NUMBERS, **names}))).json()
        for operation in OPERATIONS
        if operation.method == "GET" and not operation.is_public and operation.callers != "installation"
    ]
    # A file says when it was written.
    return [{**answer, "exported_at": None} for answer in answers]


def _path(operation: Operation, names: dict[str, str]) -> str:
    return operation.path.format(**names) + QUERIES.get(operation.operation_id, "")


def _mixtures(operation: Operation, own: dict[str, str], foreign: dict[str, str]) -> list[dict[str, str]]:
    """Every way in which at least one id of the path is foreign."""
    named = [name for name in operation.path_parameters if name not in NUMBERS]
    choices = itertools.product((own, foreign), repeat=len(named))
    return [
        {name: chosen[name] for name, chosen in zip(named, choice, strict=True)}
        for choice in choices
        if any(chosen is foreign for chosen in choice)
    ]


def told(response: Any) -> tuple[int, bytes, tuple[tuple[str, str], ...]]:
    """All that an answer tells."""
    return response.status_code, response.content, tuple(sorted(response.headers.items()))


def test_every_operation_has_its_row() -> None:
    scoped = {operation.operation_id for operation in SCOPED}
    others = {
        operation.operation_id
        for operation in OPERATIONS
        if not (operation.path_parameters or operation.is_public or operation.callers == "installation")
    }

    assert scoped == (BODIES.keys() | QUERIES.keys() | BARE) - OWN.keys()
    assert others == WITHOUT_ID.keys()


@pytest.mark.usefixtures("walls")
async def test_every_kind_of_id_is_among_the_foreign_ones(pool: Pool) -> None:
    async with serving(pool) as api:
        names = await furnish(api)

    used = {name for operation in SCOPED for name in operation.path_parameters}
    assert used <= names.keys() | NUMBERS.keys() <= PATH_PARAMETERS.keys()


@pytest.mark.usefixtures("walls")
async def test_a_foreign_id_is_nowhere_whatever_the_call_says(pool: Pool) -> None:
    async with serving(pool) as one, serving(pool) as two:
        furnished = [(one, await furnish(one)), (two, await furnish(two))]
        before = [await everything(api, names) for api, names in furnished]
        missing = await one.call("GET", "/v1/sessions/ses_" + "0" * 32)
        answers: dict[Any, Any] = {}

        for asker, other in ((0, 1), (1, 0)):
            api, own = furnished[asker]
            owner, foreign = furnished[other]
            etag = (await owner.call("GET", f"/v1/sessions/{foreign['session_id']}")).headers["etag"]
            for operation in SCOPED:
                body = BODIES.get(operation.operation_id)
                for names in _mixtures(operation, own, foreign):
                    filled = body and {
                        key: foreign["turn_id"] if value == "{turn_id}" else value
                        for key, value in body.items()
                    }
                    path = _path(operation, {**NUMBERS, **names})
                    for number, fields in enumerate(variants(etag)):
                        response = await api.call(operation.method, path, filled, headers=fields)
                        answers[operation.operation_id, path, number] = told(response)
                    if operation.method == "GET":
                        head = await api.call("HEAD", path)
                        assert (head.status_code, head.content) == (404, b""), path
                        assert "etag" not in head.headers

        different = {key: answer for key, answer in answers.items() if answer != told(missing)}
        assert different == {}
        assert len(answers) > 2 * len(SCOPED)
        assert [await everything(api, names) for api, names in furnished] == before


@pytest.mark.usefixtures("walls")
async def test_what_one_sees_holds_no_id_of_the_other(pool: Pool) -> None:
    async with serving(pool) as one, serving(pool) as two:
        furnished = [(one, await furnish(one)), (two, await furnish(two))]

        seen = [repr(await everything(api, names)) for api, names in furnished]

        for asker, other in ((0, 1), (1, 0)):
            foreign = [*furnished[other][1].values(), furnished[other][0].world.organization_id]
            assert [name for name in foreign if name in seen[asker]] == []
            assert [name for name in furnished[asker][1].values() if name not in seen[asker]] == []
