"""Whatever is sent: a clear 4xx that names the field, never a 5xx, and nothing changed."""

import json
from typing import Any

import pytest

from api.routes.mounting import OPERATIONS
from api.routes.operations import Operation
from db.pool import Pool
from tests.ledger import entries_of, paid_turn
from tests.routes.bodies import VALID
from tests.routes.service import Api, serving

ASKED = [operation for operation in OPERATIONS if operation.callers != "installation"]
"""What a key of an organization opens; the others have a struct with one name, and a list."""
WITH_BODY = {operation.operation_id: operation for operation in ASKED if operation.body is not None}
WITH_QUERY = [operation for operation in ASKED if operation.query is not None]

WRONG: list[Any] = ["\x00", "a\x00b", "\ud800", 10**30, -1, 1.5, True, [], [1], float("nan"), float("inf")]
"""Values that no field of any body takes."""

TAKES_TRUE = {"always"}
"""But for these."""

NO_JSON = [
    (b"{", 400),
    (b"{'text': 1}", 400),
    (b'{"text": "\xff"}', 400),
    (b"\xef\xbb\xbf{}", 400),
    (b"[" * 100_000, 422),
    (b'{"a": ' * 70 + b"1" + b"}" * 70, 422),
    (b"[]", 422),
    (b"null", 422),
    (b'"text"', 422),
    (b"1", 422),
    (b'{"bogus": 1, "bogus": 2}', 422),
    (b"x" * 300_000, 413),
]


class Bench:
    """A session at revision 9 with three turns on its line and a discarded future."""

    def __init__(self, api: Api, session: Any, turn_id: str, **ids: str) -> None:
        self.api = api
        self.session = session
        self.path = f"/v1/sessions/{session['id']}"
        self.names = {
            "session_id": session["id"],
            "turn_id": turn_id,
            "agent_id": api.world.agent.id,
            **ids,
            "secret_name": "crm",
            "interaction_id": "int_none",
            "ordinal": "1",
            "version": "1",
        }

    async def state(self) -> Any:
        """All that a refused call could have changed."""
        return [
            await self.api.get(self.path),
            await self.api.get("/v1/sessions"),
            await self.api.get("/v1/agents"),
            await self.api.get("/v1/usage/entries"),
            await self.api.get("/v1/prices"),
            await self.api.get("/v1/budgets"),
            await self.api.get("/v1/approvals"),
            await self.api.get("/v1/approval-rules"),
            await self.api.get("/v1/organization/retention"),
            await self.api.get("/v1/secrets"),
            await self.api.get("/v1/interactions"),
            await self.api.get("/v1/api-keys"),
        ]

    async def send(
        self, operation: Operation, content: bytes, content_type: str | None = "application/json"
    ) -> Any:
        headers = {} if content_type is None else {"Content-Type": content_type}
        path = operation.path.format(**self.names)
        return await self.api.call(operation.method, path, content=content, headers=headers)


async def set_up(api: Api) -> Bench:
    await paid_turn(api.world, (await api.session())["id"])
    session = await api.conversation(3)
    path = f"/v1/sessions/{session['id']}"
    await api.post(f"{path}/rewind", {"turn_id": session["turns"][1]["id"], "expected_revision": 7})
    (approval,) = await api.world.ask((await api.session())["id"])
    rule = await api.post("/v1/approval-rules", {"tool": "refund", "action": "ask"}, status=201)
    await api.append({"id": session["id"], "revision": 8})
    key = await api.post("/v1/api-keys", {"name": "Other", "scopes": ["usage:read"]}, status=201)
    return Bench(
        api,
        await api.get(path),
        session["turns"][0]["id"],
        approval_id=approval.id,
        rule_id=rule["id"],
        key_id=key["id"],
        entry_id=(await entries_of(api.world))[0].id,
    )


def valid_body(operation_id: str, names: dict[str, str]) -> dict[str, Any]:
    """A body without a fault."""
    return {
        name: value.format(**names) if isinstance(value, str) else value
        for name, value in VALID[operation_id].items()
    }


def test_every_operation_with_a_body_has_its_row() -> None:
    assert VALID.keys() == WITH_BODY.keys()


async def test_no_field_takes_what_it_should_not(pool: Pool) -> None:
    async with serving(pool) as api:
        bench = await set_up(api)
        before = await bench.state()

        for operation_id, operation in WITH_BODY.items():
            valid = valid_body(operation_id, bench.names)
            for field in [*valid, "bogus", "a/b~c"]:
                for value in [value for value in WRONG if value is not True or field not in TAKES_TRUE]:
                    response = await bench.send(operation, json.dumps({**valid, field: value}).encode())

                    told = (operation_id, field, value, response.text)
                    assert response.status_code == 422, told
                    pointers = [fault["pointer"] for fault in response.json()["errors"]]
                    escaped = field.replace("~", "~0").replace("/", "~1")
                    assert any(pointer.startswith(f"/{escaped}") for pointer in pointers), told

        assert await bench.state() == before


async def test_every_fault_of_a_body_is_named_at_once(pool: Pool) -> None:
    async with serving(pool) as api:
        bench = await set_up(api)

        for operation_id, operation in WITH_BODY.items():
            valid = valid_body(operation_id, bench.names)
            response = await bench.send(
                operation, json.dumps({field: [1] for field in [*valid, "bogus"]}).encode()
            )

            # Of a field that takes a list the item is what is wrong.
            fields = {fault["pointer"].split("/")[1] for fault in response.json()["errors"]}
            assert fields == {*valid, "bogus"}, operation_id


async def test_what_is_no_json_object_is_refused(pool: Pool) -> None:
    async with serving(pool, import_bytes_max=262_144) as api:
        bench = await set_up(api)
        before = await bench.state()

        for operation_id, operation in WITH_BODY.items():
            for content, status in NO_JSON:
                response = await bench.send(operation, content)
                assert response.status_code == status, (operation_id, content[:40], response.text)

        assert await bench.state() == before


async def test_a_body_in_another_form_is_refused(pool: Pool) -> None:
    async with serving(pool) as api:
        bench = await set_up(api)
        before = await bench.state()

        for operation_id, operation in WITH_BODY.items():
            content = json.dumps(valid_body(operation_id, bench.names)).encode()
            for content_type in (
                None,
                "text/plain",
                "application/xml",
                "application/json; charset=latin-1",
                "application/x-www-form-urlencoded",
                "nonsense",
            ):
                response = await bench.send(operation, content, content_type)
                assert response.status_code == 415, (operation_id, content_type, response.text)

        assert await bench.state() == before


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"text": ""}, "/text", "blank"),
        ({"text": " \n\t\u2003"}, "/text", "blank"),
        ({"text": "x" * 32_769}, "/text", "too-long"),
        ({"text": "ä" * 16_385}, "/text", "too-long"),
        ({"text": "a\x00"}, "/text", "nul-character"),
        ({"text": "\udfff"}, "/text", "lone-surrogate"),
        ({}, "/text", "missing"),
        ({"text": "Hi", "if_active": "force"}, "/if_active", "not-allowed"),
        ({"text": "Hi", "speaker": "x" * 201}, "/speaker", "too-long"),
        ({"text": "Hi", "expected_revision": 0}, "/expected_revision", "out-of-range"),
        ({"text": "Hi", "expected_revision": 2**31}, "/expected_revision", "out-of-range"),
    ],
)
async def test_a_bad_message_is_told_what_is_wrong(
    pool: Pool, body: dict[str, Any], pointer: str, code: str
) -> None:
    async with serving(pool) as api:
        session = await api.session()

        response = await api.call(
            "POST",
            f"/v1/sessions/{session['id']}/messages",
            content=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )

        assert response.status_code == 422
        assert (pointer, code) in {(fault["pointer"], fault["code"]) for fault in response.json()["errors"]}
        assert await api.get(f"/v1/sessions/{session['id']}") == session


async def test_the_longest_text_is_taken(pool: Pool) -> None:
    async with serving(pool) as api:
        text = "ä" * 16_384

        answer = await api.append(await api.session(), text)

    assert answer["turns"][0]["user_message"]["text"] == text


async def test_context_and_metadata_have_their_limit(pool: Pool) -> None:
    async with serving(pool) as api:
        fits = {"a": "x" * (16 * 1024 - 8)}
        over = {"a": "x" * (16 * 1024 - 7)}

        taken = await api.session(context=fits, metadata=fits)
        refused = await api.call(
            "POST",
            "/v1/sessions",
            {"agent_id": api.world.agent.id, "context": over, "metadata": over},
        )

    assert taken["context"] == fits
    assert {(fault["pointer"], fault["code"]) for fault in refused.json()["errors"]} == {
        ("/context", "too-large"),
        ("/metadata", "too-large"),
    }


@pytest.mark.parametrize("name", ["If-Match", "Idempotency-Key", "Turnledger-On-Behalf-Of"])
async def test_a_header_field_that_changes_the_call_must_be_readable(pool: Pool, name: str) -> None:
    fields: dict[str, list[str | bytes]] = {
        "If-Match": ["7", '"', "'7'", '"7" "8"', "", "*, *", ","],
        "Idempotency-Key": ["", "x" * 256, "ä".encode(), "a\tb"],
        "Turnledger-On-Behalf-Of": ["", "x" * 256, "ä".encode() * 256, b"\x01"],
    }
    async with serving(pool) as api:
        bench = await set_up(api)
        before = await bench.state()

        for value in fields[name]:
            response = await api.call("POST", f"{bench.path}/end", {}, headers={name: value})
            assert response.status_code == 400, (value, response.text)
            assert response.json()["code"].startswith("malformed-")

        assert await bench.state() == before


async def test_a_preference_that_cannot_be_read_is_ignored(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()
        path = f"/v1/sessions/{session['id']}"

        for number, prefer in enumerate(
            ("wait=-1", "wait=x", ",,,", "return=all", '"', "x" * 5_000, "ä".encode())
        ):
            response = await api.call(
                "PATCH", path, {"name": f"Name {number}"}, headers={"If-Match": "*", "Prefer": prefer}
            )
            assert response.status_code == 200, (prefer, response.text)


async def test_no_query_is_answered_with_a_fault_of_ours(pool: Pool) -> None:
    values = [
        "",
        "x",
        "-1",
        "0",
        "1.5",
        "1e3",
        "99999999999999999999",
        "%00",
        "%ED%A0%80",
        "%FF",
        "true",
        "a&b",
    ]
    async with serving(pool) as api:
        bench = await set_up(api)
        before = await bench.state()

        for operation in WITH_QUERY:
            assert operation.query is not None
            path = operation.path.format(**bench.names)
            for name in [*operation.query.__struct_encode_fields__, "bogus"]:
                for value in values:
                    response = await api.call(operation.method, f"{path}?{name}={value}")
                    assert response.status_code in (200, 400, 404, 409, 422), (
                        path,
                        name,
                        value,
                        response.text,
                    )
                repeated = await api.call(operation.method, f"{path}?{name}=1&{name}=1")
                assert repeated.status_code == 422, (path, name)
            unknown = await api.call(operation.method, f"{path}?bogus=1")
            assert "?bogus" in {fault["pointer"] for fault in unknown.json()["errors"]}

        assert await bench.state() == before


@pytest.mark.parametrize(
    "instant",
    [
        "yesterday",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "0001-01-01T00:00:00%2B14:00",
        "9999-12-31T23:59:59-14:00",
    ],
)
async def test_an_instant_is_one_with_an_offset_and_in_range(pool: Pool, instant: str) -> None:
    async with serving(pool) as api:
        response = await api.call("GET", f"/v1/sessions?active_since={instant}")

    assert response.status_code == 422
    assert [fault["pointer"] for fault in response.json()["errors"]] == ["?active_since"]


async def test_edges_of_instants_and_numbers_are_taken(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()
        path = f"/v1/sessions/{session['id']}"

        for query in (
            "/v1/sessions?active_since=0001-01-01T00:00:00Z",
            "/v1/sessions?active_since=9999-12-31T23:59:59Z",
            f"{path}?since_revision=2147483647",
            f"{path}/turns?from=2147483647&limit=200",
            f"{path}/events?after=2147483647",
            "/v1/usage/entries?after=9223372036854775807&limit=1000",
        ):
            await api.get(query)


async def test_an_address_that_is_none_is_a_problem_too(pool: Pool) -> None:
    async with serving(pool) as api:
        nowhere = await api.call("GET", "/v1/nothing")
        wrong_method = await api.call("PUT", "/v1/sessions")

    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "not-found")
    assert (wrong_method.status_code, wrong_method.json()["code"]) == (405, "method-not-allowed")
    assert wrong_method.headers["content-type"] == "application/problem+json"
