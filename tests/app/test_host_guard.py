"""On a loopback address the service answers to no other host name."""

import httpx
import pytest
from litestar.types import ASGIApp, Receive, Scope, Send

from api.app.host_guard import guard_host, is_ours
from api.routes.loopback import is_loopback


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 204 to everything."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def ask(app: ASGIApp, host: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]  # ASGI types of its own, equal in fact
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return await client.get("/", headers={"Host": host})


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "LOCALHOST", "[::1]:8080", "::1"]
)
async def test_the_names_of_this_machine_are_answered(host: str) -> None:
    answer = await ask(guard_host(application, bound_to="127.0.0.1"), host)

    assert answer.status_code == 204


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil.example"],
)
async def test_another_name_is_refused_with_a_problem(host: str) -> None:
    answer = await ask(guard_host(application, bound_to="127.0.0.1"), host)

    assert answer.status_code == 421
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "misdirected-request"


async def test_an_address_that_others_reach_takes_any_name() -> None:
    assert guard_host(application, bound_to="0.0.0.0") is application


def test_a_request_of_http_1_0_may_have_no_host() -> None:
    assert is_ours(None)


def test_loopback_is_told_by_address_and_by_name() -> None:
    assert [
        host
        for host in ("127.8.9.1", "::1", "localhost", "0.0.0.0", "::", "db.internal")
        if is_loopback(host)
    ] == [
        "127.8.9.1",
        "::1",
        "localhost",
    ]
