"""Approvals and approval rules over HTTP."""

import asyncio
from typing import Any

import pytest

from api.session.commands import IfActive
from api.session.document import Approval, ApprovalReason
from db.pool import Pool
from tests.routes.service import Api, serving


async def waiting(api: Api, count: int = 1, **fields: Any) -> tuple[str, tuple[Approval, ...]]:
    """A session at revision 3 whose turn waits; answers its path."""
    session = await api.session()
    return f"/v1/sessions/{session['id']}", await api.world.ask(session["id"], count, **fields)


def decision(approval: Approval, word: str = "approved", **fields: Any) -> dict[str, Any]:
    return {"decision": word, "arguments_digest": approval.arguments_digest, **fields}


def path_of(approval: Approval) -> str:
    return f"/v1/approvals/{approval.id}/decision"


async def test_an_approval_is_listed_read_and_decided(pool: Pool) -> None:
    async with serving(pool) as api:
        path, (approval,) = await waiting(api, arguments={"amount": "12.50"})

        (listed,) = (await api.get("/v1/approvals?state=open"))["items"]
        read = await api.get(f"/v1/approvals/{approval.id}")
        response = await api.call(
            "POST",
            path_of(approval),
            decision(approval, note="Paid twice."),
            headers={"Turnledger-On-Behalf-Of": "ann@example.com"},
        )
        decided = await api.get(f"/v1/approvals/{approval.id}")

    assert listed == read
    assert (read["tool"], read["arguments"], read["effect"]) == ("refund", {"amount": "12.50"}, "once")
    assert (read["reason"], read["state"], read["always"]) == ("required", "open", False)
    assert (read["session_id"], read["agent"]["version"]) == (path.rpartition("/")[2], 1)
    assert response.status_code == 200
    assert response.headers["etag"] == '"4"'
    assert response.json()["revision"] == 4
    assert response.json()["turns"][0]["state"] == "pending"
    assert (decided["state"], decided["decision"], decided["note"]) == ("decided", "approved", "Paid twice.")
    assert decided["decided_by"]["on_behalf_of"] == "ann@example.com"
    assert decided["decided_by"]["key_id"].startswith("key_")


async def test_the_document_shows_what_its_turns_wait_for(pool: Pool) -> None:
    async with serving(pool) as api:
        path, (first, second) = await waiting(api, 2)
        await api.post(path_of(second), decision(second, "denied", note="No."))

        (turn,) = (await api.get(path))["turns"]

    assert turn["state"] == "awaiting_approval"
    assert [asked["id"] for asked in turn["approvals"]] == [first.id, second.id]
    assert "decision" not in turn["approvals"][0]
    assert (turn["approvals"][1]["decision"], turn["approvals"][1]["note"]) == ("denied", "No.")


async def test_lists_go_on_page_by_page(pool: Pool) -> None:
    async with serving(pool) as api:
        _, approvals = await waiting(api, 3)

        first = await api.get("/v1/approvals?state=open&limit=2")
        second = await api.get(f"/v1/approvals?state=open&limit=2&page_token={first['next_page_token']}")
        other = await api.call("GET", f"/v1/approvals?limit=2&page_token={first['next_page_token']}")

    assert [item["id"] for item in first["items"] + second["items"]] == [a.id for a in approvals[::-1]]
    assert second["next_page_token"] is None
    assert (other.status_code, other.json()["code"]) == (400, "malformed-page-token")


async def test_the_same_decision_of_the_same_actor_again_changes_nothing(pool: Pool) -> None:
    async with serving(pool) as api:
        path, (approval,) = await waiting(api)
        first = await api.post(path_of(approval), decision(approval, note="Fine."))

        again = await api.call("POST", path_of(approval), decision(approval, note="Fine."))

        assert again.status_code == 200
        assert again.headers["etag"] == '"4"'
        assert again.json()["turns"] == first["turns"]
        assert (await api.get(path))["revision"] == 4


@pytest.mark.parametrize(
    ("word", "fields", "headers"),
    [
        ("denied", {}, {}),
        ("approved", {"note": "But why?"}, {}),
        ("approved", {"always": True}, {}),
        ("approved", {}, {"Turnledger-On-Behalf-Of": "bea@example.com"}),
    ],
)
async def test_another_decision_is_told_what_stands(
    pool: Pool, word: str, fields: dict[str, Any], headers: dict[str, str]
) -> None:
    async with serving(pool) as api:
        path, (approval,) = await waiting(api)
        await api.post(path_of(approval), decision(approval))

        response = await api.call(
            "POST", path_of(approval), decision(approval, word, **fields), headers=headers
        )

        assert (response.status_code, response.json()["code"]) == (409, "approval-decided")
        stands = response.json()["approval"]
        assert (stands["id"], stands["decision"]) == (approval.id, "approved")
        assert (await api.get(path))["revision"] == 4
        assert (await api.get("/v1/approval-rules"))["items"] == []


async def test_fifty_calls_at_once_decide_once(pool: Pool) -> None:
    async with serving(pool) as api:
        path, (approval,) = await waiting(api)

        responses = await asyncio.gather(
            *(
                api.call("POST", path_of(approval), decision(approval, note=f"by {number}"))
                for number in range(50)
            )
        )

        statuses = [response.status_code for response in responses]
        assert statuses.count(200) == 1
        assert {response.json()["code"] for response in responses if response.status_code != 200} == {
            "approval-decided"
        }
        assert (await api.get(path))["revision"] == 4


async def test_a_repetition_with_its_key_gets_the_same_bytes(pool: Pool) -> None:
    async with serving(pool) as api:
        path, (approval,) = await waiting(api)
        key = {"Idempotency-Key": "decide"}

        first = await api.call("POST", path_of(approval), decision(approval), headers=key)
        await api.post(f"{path}/end", {"expected_revision": 4})
        again = await api.call("POST", path_of(approval), decision(approval), headers=key)
        other = await api.call("POST", path_of(approval), decision(approval, "denied"), headers=key)

    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        ({"arguments_digest": "another"}, {}, 409, "digest-mismatch"),
        ({"expected_revision": 2}, {}, 409, "stale-revision"),
        ({}, {"If-Match": '"2"'}, 412, "stale-revision"),
        ({"decision": "maybe"}, {}, 422, "invalid"),
        ({"note": "x" * 2_001}, {}, 422, "invalid"),
        ({"note": " "}, {}, 422, "invalid"),
    ],
)
async def test_a_refused_decision_leaves_the_approval_open(
    pool: Pool, body: dict[str, Any], headers: dict[str, str], status: int, code: str
) -> None:
    async with serving(pool) as api:
        path, (approval,) = await waiting(api)

        response = await api.call("POST", path_of(approval), decision(approval) | body, headers=headers)

        assert (response.status_code, response.json()["code"]) == (status, code)
        assert (await api.get(f"/v1/approvals/{approval.id}"))["state"] == "open"
        assert (await api.get(path))["revision"] == 3


@pytest.mark.parametrize("ending", ["cancel", "rewind", "end", "interrupt"])
async def test_what_is_not_waited_for_any_more_cannot_be_decided(pool: Pool, ending: str) -> None:
    async with serving(pool) as api:
        path, (approval,) = await waiting(api)
        turn_id = (await api.get(path))["turns"][0]["id"]
        if ending == "cancel":
            await api.post(f"{path}/turns/{turn_id}/cancel", {})
        elif ending == "rewind":
            await api.post(f"{path}/rewind", {"to": "start", "expected_revision": 3})
        elif ending == "end":
            await api.post(f"{path}/end", {"expected_revision": 3})
        else:
            await api.world.append(path.rpartition("/")[2], None, if_active=IfActive.INTERRUPT)

        response = await api.call("POST", path_of(approval), decision(approval))

        assert (response.status_code, response.json()["code"]) == (409, "approval-closed")
        assert (await api.get(f"/v1/approvals/{approval.id}"))["state"] == "closed"


async def test_a_decision_for_good_is_a_rule_that_can_be_revoked(pool: Pool) -> None:
    async with serving(pool) as api:
        _, (approval,) = await waiting(api)

        await api.post(path_of(approval), decision(approval, always=True))
        (rule,) = (await api.get("/v1/approval-rules"))["items"]
        revoked = await api.call("DELETE", f"/v1/approval-rules/{rule['id']}")

        assert (rule["tool"], rule["action"], rule["approval_id"]) == ("refund", "allow", approval.id)
        assert (await api.get(f"/v1/approvals/{approval.id}"))["always"] is True
        assert (revoked.status_code, revoked.content) == (204, b"")
        assert (await api.get("/v1/approval-rules"))["items"] == []
        assert (await api.get(f"/v1/approval-rules/{rule['id']}"))["revoked_at"] is not None


async def test_a_call_of_unknown_outcome_is_decided_alone(pool: Pool) -> None:
    async with serving(pool) as api:
        _, (approval,) = await waiting(api, reason=ApprovalReason.OUTCOME_UNKNOWN)

        response = await api.call("POST", path_of(approval), decision(approval, always=True))

        assert (response.status_code, response.json()["code"]) == (409, "no-standing-decision")
        assert (await api.get("/v1/approval-rules"))["items"] == []


async def test_a_rule_is_written_read_and_listed_newest_first(pool: Pool) -> None:
    async with serving(pool) as api:
        schema = {"type": "object", "properties": {"amount": {"type": "number", "maximum": 10}}}
        first = await api.call(
            "POST",
            "/v1/approval-rules",
            {"tool": "refund", "action": "allow", "arguments_schema": schema, "cost_max": "0.50"},
        )
        second = await api.post("/v1/approval-rules", {"tool": "refund", "action": "ask"}, status=201)

        made = first.json()
        assert first.status_code == 201
        assert await api.get(first.headers["location"]) == made
        assert (made["arguments_schema"], made["cost_max"], made["approval_id"]) == (schema, "0.50", None)
        assert [rule["id"] for rule in (await api.get("/v1/approval-rules"))["items"]] == [
            second["id"],
            made["id"],
        ]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"arguments_schema": {"type": "number"}}, "/arguments_schema/type"),
        ({"arguments_schema": {"type": "object", "$ref": "https://example.com/s"}}, "/arguments_schema/$ref"),
        ({"arguments_schema": {"type": "object", "required": 1}}, "/arguments_schema/required"),
        ({"cost_max": "-1"}, "/cost_max"),
        ({"cost_max": 1}, "/cost_max"),
        ({"action": "perhaps"}, "/action"),
        ({"tool": "a b"}, "/tool"),
    ],
)
async def test_a_rule_with_a_fault_is_told_where(pool: Pool, body: dict[str, Any], pointer: str) -> None:
    async with serving(pool) as api:
        response = await api.call("POST", "/v1/approval-rules", {"tool": "refund", "action": "allow"} | body)

        assert response.status_code == 422
        assert [fault["pointer"] for fault in response.json()["errors"]] == [pointer]
        assert (await api.get("/v1/approval-rules"))["items"] == []


async def test_an_organization_has_a_bounded_number_of_rules(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.store.approval_rules.RULES_MAX", 1)
    async with serving(pool) as api:
        await api.post("/v1/approval-rules", {"tool": "refund", "action": "ask"}, status=201)

        response = await api.call("POST", "/v1/approval-rules", {"tool": "refund", "action": "ask"})

    assert (response.status_code, response.json()["code"]) == (409, "too-many-rules")


async def test_listeners_are_told_of_the_wait_and_of_the_decision(pool: Pool) -> None:
    async with serving(pool) as api:
        path, (approval,) = await waiting(api)
        await api.post(path_of(approval), decision(approval))

        listed = (await api.get(f"{path}/events?after=2"))["items"]

    assert [event["type"] for event in listed] == ["turn.awaiting_approval", "approval.decided"]
    assert listed[1]["effects"][0]["approval_id"] == approval.id
