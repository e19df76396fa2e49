"""Every answer that is not a success is a problem document."""

import inspect
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from litestar import Request, get
from loguru import logger

import api.routes.api_error
import api.routes.errors
import api.routes.stale
import api.session.errors
from api.routes.api_error import ApiError
from api.routes.body import read_body
from api.routes.error_handlers import EXCEPTION_HANDLERS
from api.routes.errors import STATUSES, BodyTooLarge, status_of
from api.routes.preconditions import Expected
from api.routes.problems import Problem, describe
from api.routes.stale import StaleRevision
from api.session.conflicts import Advice
from api.session.document import Actor, Effect, Event, EventType
from api.session.errors import AlreadyCancelled, CommandRefused
from api.store import errors as store

from .operations import BODY_BYTES_MAX, serving

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def make_event(revision: int, type_: EventType, *effects: Effect) -> Event:
    return Event(
        revision=revision, type=type_, at=NOW, actor=Actor(key_id="key_1"), effects=effects, line_from=None
    )


def make_conflict(*changes: Event) -> store.RevisionConflict:
    return store.RevisionConflict(
        session_id="ses_1", expected=7, actual=8, changes=changes, advice=Advice.REBASE
    )


def error_classes() -> list[type[Exception]]:
    return [
        cls
        for module in (api.routes.api_error, api.routes.errors, api.routes.stale, api.session.errors)
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, Exception) and cls.__module__ == module.__name__
    ]


def test_every_class_of_error_has_a_status() -> None:
    without = [cls for cls in error_classes() if not any(base in STATUSES for base in cls.__mro__)]

    # The first is the base of classes that each have a row; the second is no error to the caller.
    assert without == [ApiError, AlreadyCancelled]


def test_every_code_names_one_kind_of_problem() -> None:
    codes = [
        (cls.code, status_of(cls.__new__(cls)))
        for cls in error_classes()
        if isinstance(getattr(cls, "code", None), str)
    ]

    by_code: dict[str, set[int]] = {}
    for code, status in codes:
        by_code.setdefault(code, set()).add(status)
    assert {code for code, statuses in by_code.items() if len(statuses) > 1} == {"stale-revision"}


def test_the_fields_of_a_refusal_never_hide_a_member_of_the_problem() -> None:
    members = set(Problem.__struct_fields__)
    for cls in error_classes():
        if issubclass(cls, CommandRefused) and cls is not CommandRefused:
            assert not members & set(inspect.signature(cls).parameters)


def test_a_problem_names_its_kind_by_a_relative_uri() -> None:
    problem = describe(code="turn-final", status=409, detail="Turn trn_1 is completed for good.")

    assert msgspec.to_builtins(problem) == {
        "type": "/problems/turn-final",
        "title": "Turn final",
        "status": 409,
        "detail": "Turn trn_1 is completed for good.",
        "code": "turn-final",
    }


def test_a_conflict_says_what_has_changed_and_what_to_do() -> None:
    turn = Effect(type=EventType.TURN_CREATED, turn_id="trn_2")
    cancelled = Effect(type=EventType.TURN_CANCELLED, turn_id="trn_1")
    conflict = make_conflict(make_event(8, EventType.TURN_CREATED, cancelled, turn))

    error = Expected(revision=7, source="if-match").stale(conflict)

    assert error.headers == {"ETag": '"8"'}
    assert msgspec.json.decode(msgspec.json.encode(error.problem(status=status_of(error)))) == {
        "type": "/problems/stale-revision",
        "title": "Stale revision",
        "status": 412,
        "detail": "The session is at revision 8, not 7; nothing was changed.",
        "code": "stale-revision",
        "expected_revision": 7,
        "actual_revision": 8,
        "etag": '"8"',
        "changes": [
            {
                "revision": 8,
                "type": "turn.created",
                "turn_id": "trn_2",
                "actor": {"key_id": "key_1"},
                "at": "2026-01-02T00:00:00Z",
            }
        ],
        "retry": "rebase",
    }


def test_a_conflict_carries_the_document_when_it_was_asked_for() -> None:
    error = StaleRevision.of(make_conflict(), document={"id": "ses_1"})

    assert error.problem(status=status_of(error)).document == {"id": "ses_1"}
    assert error.problem(status=status_of(error)).status == 409


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (store.NotFound("session"), 404, "not-found"),
        (store.KeyReused("key"), 422, "idempotency-key-reused"),
        (store.RequestInFlight(), 409, "request-in-flight"),
        (make_conflict(), 409, "stale-revision"),
    ],
)
def test_what_the_store_says_is_answered_in_words_of_http(error: Exception, status: int, code: str) -> None:
    async def fail() -> None:
        raise error

    with serving(get("/fail")(fail)) as client:
        answer = client.get("/fail")

    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_every_error_of_the_store_has_a_handler() -> None:
    raised = {cls for _, cls in inspect.getmembers(store, inspect.isclass) if issubclass(cls, Exception)}

    assert raised <= EXCEPTION_HANDLERS.keys()


def test_a_missing_route_and_a_missing_thing_have_the_same_answer() -> None:
    with serving() as client:
        route, thing, foreign = (
            client.get(path) for path in ("/nope", "/v1/sessions/ses_1", "/v1/sessions/%ff%00")
        )

    assert route.status_code == thing.status_code == foreign.status_code == 404
    assert route.content == thing.content == foreign.content
    assert thing.headers["content-type"] == "application/problem+json"
    assert thing.headers["cache-control"] == "no-store"


def test_a_method_that_is_not_known_is_refused_with_those_that_are() -> None:
    with serving() as client:
        answer = client.put("/v1/sessions")

    assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")
    assert "GET" in answer.headers["allow"]
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_refusal_of_the_core_is_answered_with_its_fields() -> None:
    with serving() as client:
        answer = client.get("/v1/sessions/busy")

    assert answer.status_code == 409
    assert answer.json() == {
        "type": "/problems/turn-active",
        "title": "Turn active",
        "status": 409,
        "detail": "Turn trn_1 is still active.",
        "code": "turn-active",
        "turn_id": "trn_1",
    }


def test_a_caller_without_a_key_is_challenged() -> None:
    with serving() as client:
        answer = client.get("/v1/sessions/closed")

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="turnledger", error="invalid_token"'


@pytest.mark.parametrize("session_id", ["crashed", "broken"])
def test_what_nobody_foresaw_is_logged_and_answered_without_its_inside(session_id: str) -> None:
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message} {extra} {exception}", diagnose=False)
    try:
        with serving() as client:
            answer = client.get(f"/v1/sessions/{session_id}")
    finally:
        logger.remove(sink)

    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert "hunter2" not in answer.text
    assert "Traceback" in "".join(lines)
    assert answer.json()["instance"] in "".join(lines)


def make_request(
    chunks: list[bytes], headers: list[tuple[bytes, bytes]]
) -> tuple[Request[Any, Any, Any], list[bytes]]:
    """A request whose body comes in chunks, and the chunks that nobody has read yet."""
    unread = list(chunks)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": unread.pop(0), "more_body": bool(unread)}

    scope: dict[str, Any] = {"type": "http", "method": "POST", "headers": headers, "state": {}}
    scope["route_handler"] = SimpleNamespace(resolve_request_max_body_size=lambda: None)
    return Request(scope, receive=receive), unread  # type: ignore[arg-type]


async def test_a_body_is_read_no_further_than_its_limit() -> None:
    request, unread = make_request([b"x" * 600] * 5, headers=[])

    with pytest.raises(BodyTooLarge):
        await read_body(request, limit_bytes=1_000)

    assert len(unread) == 3


@pytest.mark.parametrize("length", [b"1001", b"9" * 5_000])
async def test_a_body_that_says_it_is_too_large_is_not_read_at_all(length: bytes) -> None:
    request, unread = make_request([b"x"] * 5, headers=[(b"content-length", length)])

    with pytest.raises(BodyTooLarge):
        await read_body(request, limit_bytes=1_000)

    assert len(unread) == 5


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    request, _ = make_request([b"x" * 500] * 2, headers=[(b"content-length", b"1000")])

    assert len(await read_body(request, limit_bytes=1_000)) == 1_000


def test_a_body_beyond_the_limit_is_refused() -> None:
    with serving() as client:
        answer = client.post("/v1/sessions/ses_1/messages", content=b"x" * (BODY_BYTES_MAX + 1))

    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


def test_a_call_is_read_whole_and_answered() -> None:
    with serving() as client:
        answer = client.post(
            "/v1/sessions/ses_1/messages", json={"text": "Hello"}, headers={"If-Match": '"7"'}
        )
        unmatched = client.post("/v1/sessions/ses_1/messages", json={"text": "Hello"})
        invalid = client.post("/v1/sessions/ses_1/messages", json={"text": " ", "x": 1})
        listed = client.get("/v1/sessions?limit=3")

    assert answer.json() == {"revision": 7, "text": "Hello"}
    assert (unmatched.status_code, unmatched.json()["code"]) == (428, "precondition-required")
    assert invalid.status_code == 422
    assert [fault["pointer"] for fault in invalid.json()["errors"]] == ["/text", "/x"]
    assert listed.json() == {"limit": 3}


def test_head_is_answered_like_get_without_a_body() -> None:
    with serving() as client:
        answer = client.head("/health/live")

    assert answer.status_code == 200
    assert answer.content == b""
