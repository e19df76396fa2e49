"""The order of the checks: who, visible, valid, replay, precondition, allowed."""

from typing import Any

import pytest

from db.pool import Pool
from tests.routes.service import Api, serving

NO_ID = "ses_" + "0" * 32
NO_TURN = "trn_" + "0" * 32

# Every request has all the faults of its row and those that come later in the order.
CASES = [
    (
        "who",
        "/v1/sessions/{missing}/rewind",
        {"bad": 1},
        {"Authorization": "Bearer tl_no"},
        401,
        "unauthorized",
    ),
    ("visible", "/v1/sessions/{missing}/rewind", {"bad": 1}, {"If-Match": "?"}, 404, "not-found"),
    ("visible", "/v1/sessions/{missing}/rewind", b"{", {}, 404, "not-found"),
    ("visible", "/v1/sessions/{missing}/rewind", b"x" * 2000, {}, 404, "not-found"),
    ("visible", "/v1/sessions/{missing}/rewind", {"to": "start"}, {}, 404, "not-found"),
    (
        "visible",
        "/v1/sessions/{missing}/rewind",
        {"to": "start"},
        {"Idempotency-Key": "used"},
        404,
        "not-found",
    ),
    ("visible", "/v1/sessions/{ended}/turns/{no_turn}/retry", {"bad": 1}, {}, 404, "not-found"),
    ("visible", "/v1/sessions/{ended}/turns/{no_turn}/retry", {}, {}, 404, "not-found"),
    ("visible", "/v1/sessions/{ended}/turns/{no_turn}/retry", {"expected_revision": 7}, {}, 404, "not-found"),
    ("visible", "/v1/agents/agt_none/versions", {"bad": 1}, {}, 404, "not-found"),
    ("valid", "/v1/sessions/{ended}/rewind", {"bad": 1}, {"Idempotency-Key": "used"}, 422, "invalid"),
    (
        "valid",
        "/v1/sessions/{ended}/rewind",
        {"to": "start"},
        {"If-Match": "?"},
        400,
        "malformed-precondition",
    ),
    ("valid", "/v1/sessions/{ended}/rewind", b"x" * 2000, {"Idempotency-Key": "used"}, 413, "body-too-large"),
    ("replay", "/v1/sessions/{ended}/rewind", {"to": "start"}, {"Idempotency-Key": "used"}, 200, None),
    ("replay", "/v1/sessions/{ended}/end", {}, {"Idempotency-Key": "used"}, 422, "idempotency-key-reused"),
    ("precondition", "/v1/sessions/{ended}/messages", {"text": "Hi"}, {}, 428, "precondition-required"),
    (
        "precondition",
        "/v1/sessions/{ended}/messages",
        {"text": "Hi"},
        {"If-Match": '"1"'},
        412,
        "stale-revision",
    ),
    ("allowed", "/v1/sessions/{ended}/messages", {"text": "Hi"}, {"If-Match": '"4"'}, 409, "session-ended"),
    ("allowed", "/v1/sessions/{ended}/messages", {"text": "Hi"}, {"If-Match": "*"}, 409, "session-ended"),
]


async def ended_session(api: Api) -> str:
    """A session at revision 4, with the key `used` for its rewind to the start."""
    session = await api.session()
    path = f"/v1/sessions/{session['id']}"
    await api.post(
        f"{path}/rewind",
        {"to": "start", "expected_revision": 1},
        headers={"Idempotency-Key": "used"},
    )
    await api.call("PATCH", path, {"name": "Trial"}, headers={"If-Match": '"2"'})
    await api.post(f"{path}/end", {"expected_revision": 3})
    return str(session["id"])


@pytest.mark.parametrize(("check", "path", "body", "headers", "status", "code"), CASES)
async def test_the_first_check_that_fails_answers(
    pool: Pool, check: str, path: str, body: Any, headers: dict[str, str], status: int, code: str | None
) -> None:
    async with serving(
        pool, body_bytes_max=1024, text_bytes_max=512, context_bytes_max=512, metadata_bytes_max=512
    ) as api:
        session_id = await ended_session(api)
        before = await api.get(f"/v1/sessions/{session_id}")
        target = path.format(missing=NO_ID, ended=session_id, no_turn=NO_TURN)

        if isinstance(body, bytes):
            response = await api.call("POST", target, content=body, headers=headers)
        else:
            response = await api.call("POST", target, body, headers=headers)

        assert response.status_code == status, (check, response.text)
        assert response.json().get("code") == code
        assert await api.get(f"/v1/sessions/{session_id}") == before
