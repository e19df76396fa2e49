"""What belongs to another organization is not there: the same answer, byte for byte."""

from typing import Any

from api.routes.mounting import OPERATIONS
from api.routes.operations import Operation
from db.pool import Pool
from tests.factories import make_world
from tests.ledger import entries_of, paid_turn
from tests.routes.service import Api, client_of, make_app, make_state, serving

BODIES: dict[str, dict[str, Any]] = {
    "updateSession": {"name": "Mine now", "expected_revision": 1},
    "appendMessage": {"text": "Hello", "expected_revision": 1},
    "rewindSession": {"to": "start", "expected_revision": 1},
    "restoreSession": {"ordinal": 1, "expected_revision": 1},
    "forkSession": {"turn_id": "{turn_id}"},
    "endSession": {"expected_revision": 1},
    "regenerateTurn": {"expected_revision": 1},
    "retryTurn": {"expected_revision": 1},
    "cancelTurn": {},
    "correctUsageEntry": {"reason": "Mine", "cost": "0"},
    "decideApproval": {"decision": "approved", "arguments_digest": "digest-0"},
    "publishAgentVersion": {"definition": {"model": "scripted:echo"}},
    "putAgentDraft": {"definition": {"model": "scripted:echo"}, "expected_revision": 0},
    "rotateApiKey": {},
}
QUERIES = {
    "previewRewind": "?to=start",
    "previewRestore": "?ordinal=1",
    "diffAgentVersions": "?to=1",
}

OWN = {"putSecret": "everybody may use any name"}
"""Operations on paths that are there for everybody, and why."""
SCOPED = [
    operation for operation in OPERATIONS if operation.path_parameters and operation.operation_id not in OWN
]


async def ask(api: Api, operation: Operation, names: dict[str, str], *, is_valid: bool) -> Any:
    path = operation.path.format(**names) + (
        QUERIES.get(operation.operation_id, "") if is_valid else "?bad=1"
    )
    body = BODIES.get(operation.operation_id)
    if body is None:
        return await api.call(operation.method, path, headers={"If-Match": '"1"'})
    if not is_valid:
        return await api.call(operation.method, path, {"bad": True})
    filled = {key: names["turn_id"] if value == "{turn_id}" else value for key, value in body.items()}
    return await api.call(operation.method, path, filled)


def others(name: str) -> dict[str, str]:
    kinds = ("agent_id", "entry_id", "approval_id", "rule_id", "interaction_id", "key_id")
    return dict.fromkeys(kinds, name)


async def test_foreign_missing_malformed_and_deleted_look_the_same_in_every_operation(pool: Pool) -> None:
    async with serving(pool) as owner:
        session = await owner.conversation(2)
        await paid_turn(owner.world, (await owner.session())["id"])
        await owner.call("PUT", "/v1/secrets/crm", {"value": "word"})
        deleted = await owner.session()
        (approval,) = await owner.world.ask((await owner.session())["id"])
        rule = await owner.post("/v1/approval-rules", {"tool": "refund", "action": "deny"}, status=201)
        captured = await owner.post("/v1/interactions", {"prompt": "Hello", "model": "m"}, status=201)
        key = await owner.post("/v1/api-keys", {"name": "Other", "scopes": ["admin"]}, status=201)
        await owner.call("DELETE", f"/v1/sessions/{deleted['id']}", headers={"If-Match": "*"})
        stranger_world = await make_world(pool, name="Other")
        async with client_of(stranger_world, make_app(make_state(stranger_world))) as stranger:
            own = await stranger.session()
            foreign = {
                "session_id": session["id"],
                "turn_id": session["turns"][0]["id"],
                "agent_id": owner.world.agent.id,
                "entry_id": (await entries_of(owner.world))[0].id,
                "approval_id": approval.id,
                "rule_id": rule["id"],
                "secret_name": "crm",
                "interaction_id": captured["id"],
                "key_id": key["id"],
                "ordinal": "1",
                "version": "1",
            }
            candidates = [
                foreign,
                {**foreign, "session_id": deleted["id"], **others("agt_" + "0" * 32)},
                {**foreign, "session_id": "ses_" + "f" * 32, **others("agt_x")},
                {**foreign, "session_id": "x", **others("%00")},
                {**foreign, "session_id": session["id"].upper(), **others("%F0%9F%92%A9")},
            ]
            other_turn = {**foreign, "session_id": own["id"]}

            responses = {
                (
                    operation.operation_id,
                    names["session_id"],
                    names["agent_id"],
                    names["entry_id"],
                    is_valid,
                ): await ask(stranger, operation, names, is_valid=is_valid)
                for operation in SCOPED
                for names in candidates + ([other_turn] if "turn_id" in operation.path_parameters else [])
                for is_valid in (True, False)
            }

        seen = {name: response.text for name, response in responses.items() if response.status_code != 404}
        assert seen == {}
        assert len({response.content for response in responses.values()}) == 1
        assert await owner.get(f"/v1/sessions/{session['id']}") == session


async def test_what_is_named_in_a_body_is_not_there_either(pool: Pool) -> None:
    async with serving(pool) as owner, serving(pool) as stranger:
        session = await owner.conversation(1)
        own = await stranger.conversation(1)
        turn_id = session["turns"][0]["id"]
        path = f"/v1/sessions/{own['id']}"

        responses = [
            await stranger.call("POST", "/v1/sessions", {"agent_id": owner.world.agent.id}),
            await stranger.call("POST", f"{path}/rewind", {"turn_id": turn_id, "expected_revision": 3}),
            await stranger.call("POST", f"{path}/rewind", {"turn_id": "x", "expected_revision": 3}),
            await stranger.call("POST", f"{path}/fork", {"turn_id": turn_id}),
            await stranger.call("GET", f"{path}/rewind-preview?turn_id={turn_id}"),
            await stranger.call(
                "POST", "/v1/interactions", {"prompt": "Hi", "model": "m", "session_id": session["id"]}
            ),
        ]

    assert [response.status_code for response in responses] == [404] * len(responses)
    assert len({response.content for response in responses}) == 1


async def test_lists_hold_what_is_ones_own(pool: Pool) -> None:
    async with serving(pool) as owner, serving(pool) as stranger:
        session = await owner.conversation(1)
        await owner.call("PUT", "/v1/secrets/crm", {"value": "word"})

        (approval,) = await owner.world.ask((await owner.session())["id"])
        await owner.post("/v1/approval-rules", {"tool": "refund", "action": "deny"}, status=201)

        await owner.post("/v1/interactions", {"prompt": "Hello", "model": "m"}, status=201)

        assert (await stranger.get("/v1/sessions"))["items"] == []
        assert (await stranger.get("/v1/interactions"))["items"] == []
        assert (await stranger.get("/v1/approvals"))["items"] == []
        assert (await stranger.get("/v1/approvals?state=open"))["items"] == []
        assert (await stranger.get("/v1/approval-rules"))["items"] == []
        [own_key] = (await stranger.get("/v1/api-keys"))["items"]
        assert stranger.secret.startswith(own_key["prefix"])
        assert [asked["id"] for asked in (await owner.get("/v1/approvals"))["items"]] == [approval.id]
        assert (await stranger.get(f"/v1/sessions?q={session['id']}"))["items"] == []
        assert [agent["id"] for agent in (await stranger.get("/v1/agents"))["items"]] == [
            stranger.world.agent.id
        ]
        assert (await stranger.get("/v1/secrets"))["items"] == []
        assert (await stranger.get(f"/v1/usage/entries?session_id={session['id']}"))["items"] == []
