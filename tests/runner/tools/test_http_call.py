"""Tools that are HTTP requests, against a real server."""

import asyncio
from typing import Any

import msgspec
import pytest

from api.agents.definition import HttpCall, ToolEffect
from api.runner.tools.base import ToolOutcome
from api.runner.tools.http_call import HttpLimits
from tests.runner.tools.server import (
    LOOPBACK,
    Received,
    Resolver,
    as_json,
    http_tools,
    invocation,
    plain,
    redirect,
    tool_server,
)

SECRET = "correct-horse/battery+staple"


async def test_a_request_is_filled_in_from_its_templates() -> None:
    async with tool_server() as server:
        call = HttpCall(
            method="POST",
            url=f"{server.url}/customers/{{{{arguments.id}}}}/notes?of={{{{context.who}}}}",
            headers={"X-Key": "Token {{secrets.crm}}"},
            query={"q": "{{arguments.q}}", "page": "{{arguments.page}}", "mood": "{{variables.mood | calm}}"},
            body={
                "text": "For {{variables.name}}",
                "tags": ["{{arguments.tags}}", 1],
                "id": "{{arguments.n}}",
            },
        )
        given = invocation(
            arguments={"id": "a/../b?c#d", "q": "x&y=z", "tags": ["a"], "n": 7},
            context={"who": "me & you"},
            variables={"name": 'A "B"'},
        )

        result = await http_tools(secrets={"crm": SECRET}).call(given, call)

    [got] = server.received
    assert result.outcome is ToolOutcome.COMPLETED
    assert got.method == "POST"
    assert got.target == "/customers/a%2F..%2Fb%3Fc%23d/notes?of=me%20%26%20you&q=x%26y%3Dz&mood=calm"
    assert got.headers["x-key"] == f"Token {SECRET}"
    assert got.headers["content-type"] == "application/json"
    assert "idempotency-key" not in got.headers
    assert "cookie" not in got.headers
    assert msgspec.json.decode(got.body) == {"text": 'For A "B"', "tags": [["a"], 1], "id": 7}


async def test_an_idempotent_call_carries_its_key() -> None:
    async with tool_server() as server:
        call = HttpCall(method="PUT", url=f"{server.url}/x")

        await http_tools().call(invocation(effect=ToolEffect.IDEMPOTENT), call)

    assert server.received[0].headers["idempotency-key"] == "trn_1/stp_2"


@pytest.mark.parametrize(
    ("url", "arguments"),
    [
        ("http://{{arguments.host}}/x", {"host": "127.0.0.1"}),
        ("http://127.0.0.1{{arguments.host}}/x", {"host": ".example"}),
        ("{{arguments.host}}", {"host": "http://127.0.0.1/"}),
        ("{{variables.host}}/x", {}),
        ("ftp://127.0.0.1/x", {}),
        ("{{context.base}}/x", {}),
        ("http://127.0.0.1/{{arguments.id}}", {}),
        ("http://127.0.0.1/{{arguments.id}}", {"id": ""}),
        ("http://127.0.0.1/{{arguments.id}}/x", {"id": ".."}),
        ("http://127.0.0.1/{{arguments.id}}/x", {"id": "."}),
        ("http://127.0.0.1/a/.{{arguments.id}}/x", {"id": "."}),
        ("http://127.0.0.1/{{arguments.id}}", {"id": "x" * 10_000}),
    ],
)
async def test_values_choose_neither_the_host_nor_another_path(url: str, arguments: dict[str, Any]) -> None:
    resolver = Resolver(["127.0.0.1"])
    call = HttpCall(method="DELETE", url=url)

    result = await http_tools(resolve=resolver).call(invocation(arguments=arguments), call)

    assert result.outcome is ToolOutcome.FAILED
    assert result.content.endswith("The request was not sent.")
    assert resolver.asked == []


async def test_the_caller_may_choose_the_host_by_the_context() -> None:
    async with tool_server() as server:
        result = await http_tools().call(
            invocation(arguments={"id": "7/8"}, context={"base": f"{server.url}/v2/", "part": "127.0.0"}),
            HttpCall(method="GET", url="{{context.base}}/orders/{{arguments.id}}"),
        )
        await http_tools().call(
            invocation(context={"part": "127.0.0"}),
            HttpCall(method="GET", url=f"http://{{{{context.part}}}}.1:{server.port}/x"),
        )

    assert result.outcome is ToolOutcome.COMPLETED
    assert [request.target for request in server.received] == ["/v2/orders/7%2F8", "/x"]


@pytest.mark.parametrize(
    ("url", "value"),
    [
        ("http://{{context.part}}.example/x", "127.0.0.1/a?b="),
        ("http://{{context.part}}.example/x", "127.0.0.1#"),
        ("http://{{context.part}}.example/x", "user@127.0.0.1"),
        ("http://{{context.part}}.example/x", "127.0.0.1\\"),
        ("{{context.part}}/x", "ftp://127.0.0.1"),
        ("{{context.part}}/x", "http://127.0.0.1/a?b="),
        ("{{context.part}}/x", "http://user:word@127.0.0.1"),
        ("{{context.part}}/x", "127.0.0.1"),
    ],
)
async def test_the_context_fills_a_host_and_nothing_more(url: str, value: str) -> None:
    resolver = Resolver(["127.0.0.1"])
    call = HttpCall(method="GET", url=url)

    result = await http_tools(resolve=resolver).call(invocation(context={"part": value}), call)

    assert result.outcome is ToolOutcome.FAILED
    assert resolver.asked == []


@pytest.mark.parametrize(
    "headers", [{"X": "a\r\nY: b"}, {"Host": "x"}, {"Content-Length": "1"}, {"X Y": "z"}, {"X": "\u00e9"}]
)
async def test_header_fields_that_would_change_the_request_are_refused(headers: dict[str, str]) -> None:
    async with tool_server() as server:
        call = HttpCall(method="GET", url=f"{server.url}/x", headers={"X": "{{arguments.v}}"})
        [(name, value)] = headers.items()
        call = HttpCall(method="GET", url=f"{server.url}/x", headers={name: "{{arguments.v}}"})

        result = await http_tools().call(invocation(arguments={"v": value}), call)

    assert result.outcome is ToolOutcome.FAILED
    assert server.received == []


@pytest.mark.parametrize(
    ("pointer", "answer", "content"),
    [
        (None, {"a": 1}, '{"a":1}'),
        ("", {"a": 1}, '{"a":1}'),
        ("/a/0/b~1c", {"a": [{"b/c": "found"}]}, "found"),
        ("/a", {"a": [1, None]}, "[1,null]"),
        ("/b", {"a": 1}, "The call was made, but its answer has nothing at `/b`."),
        ("/a/5", {"a": [1]}, "The call was made, but its answer has nothing at `/a/5`."),
    ],
)
async def test_the_result_is_what_lies_under_the_pointer(
    pointer: str | None, answer: Any, content: str
) -> None:
    async with tool_server() as server:
        server.answers["/x"] = lambda _: as_json(answer)

        result = await http_tools().call(
            invocation(), HttpCall(method="GET", url=f"{server.url}/x", result=pointer)
        )

    assert (result.outcome, result.content) == (ToolOutcome.COMPLETED, content)


@pytest.mark.parametrize("text", ["not json", "[" * 100_000])
async def test_an_answer_that_should_be_json_and_is_not_is_told(text: str) -> None:
    async with tool_server() as server:
        server.answers["/x"] = lambda _: plain(text)

        result = await http_tools().call(
            invocation(), HttpCall(method="GET", url=f"{server.url}/x", result="/a")
        )

    assert result.outcome is ToolOutcome.COMPLETED
    assert "is not JSON" in result.content


async def test_an_error_of_the_server_is_a_failure_with_its_words() -> None:
    async with tool_server() as server:
        server.answers["/x"] = lambda _: plain("no such\ncustomer " + "x" * 5_000, status="404 Not Found")

        result = await http_tools().call(invocation(), HttpCall(method="POST", url=f"{server.url}/x"))

    assert result.outcome is ToolOutcome.FAILED
    assert result.content.startswith("The server answered with status 404: no such customer xxx")
    assert len(result.content) < 600


async def test_no_more_of_an_answer_is_read_than_the_limit() -> None:
    def endless(_: Received) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 50_000

    async with tool_server() as server:
        server.answers["/x"] = endless
        limits = HttpLimits(answer_bytes_max=1_000, result_bytes_max=5_000)

        result = await http_tools(limits=limits).call(
            invocation(), HttpCall(method="GET", url=f"{server.url}/x", result="/a")
        )

    assert result.outcome is ToolOutcome.COMPLETED
    assert result.content.startswith("xxx")
    assert result.content.endswith("[cut: the answer is longer than 1000 bytes]")
    assert len(result.content) < 1_100


async def test_what_the_model_is_given_is_bounded_and_storable() -> None:
    async with tool_server() as server:
        server.answers["/long"] = lambda _: plain("\u00e9" * 3_000)
        server.answers["/odd"] = lambda _: as_json({"a": "x\x00y"})
        server.answers["/picture"] = lambda _: plain(b"\x89PNG\x00\xff", kind="image/png")
        server.answers["/packed"] = lambda _: plain(b"\x1f\x8b", Content_Encoding="gzip")
        server.answers["/latin"] = lambda _: plain(b"caf\xe9", kind="text/plain; charset=iso-8859-1")
        server.answers["/strange"] = lambda _: plain("x", kind="text/plain; charset=rot13")
        server.answers["/empty"] = lambda _: plain("", status="204 No Content")
        tools = http_tools(limits=HttpLimits(result_bytes_max=1_000))

        async def content(path: str, result: str | None = None) -> str:
            call = HttpCall(method="GET", url=server.url + path, result=result)
            return (await tools.call(invocation(), call)).content

        long = await content("/long")
        assert len(long.encode()) <= 1_000
        assert long.endswith("[cut: the first part of 6000 bytes]")
        assert await content("/odd", "/a") == "x\ufffdy"
        assert await content("/picture") == "[6 bytes of image/png]"
        assert await content("/packed") == "[not read: the answer is encoded as gzip]"
        assert await content("/latin") == "caf\u00e9"
        assert await content("/strange") == "x"
        assert await content("/empty") == "The server answered with status 204 and no text."
        assert server.received[0].headers["accept-encoding"] == "identity"


async def test_a_call_that_was_not_sent_has_failed() -> None:
    async with tool_server() as server:
        url = f"{server.url}/x"

    result = await http_tools().call(invocation(), HttpCall(method="POST", url=url))

    assert result.outcome is ToolOutcome.FAILED
    assert result.content == "127.0.0.1 does not accept connections. The request was not sent."


@pytest.mark.parametrize(
    "answer", [None, b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"nonsense\r\n\r\n"]
)
async def test_a_connection_that_breaks_after_the_request_leaves_the_outcome_unknown(
    answer: bytes | None,
) -> None:
    async with tool_server() as server:
        server.answers["/x"] = lambda _: answer

        result = await http_tools().call(invocation(), HttpCall(method="POST", url=f"{server.url}/x"))

    assert result.outcome is ToolOutcome.UNKNOWN
    assert result.content.startswith("The connection to the server broke.")


async def test_an_answer_that_does_not_come_in_time_leaves_the_outcome_unknown() -> None:
    async with tool_server() as server:
        server.answers["/x"] = lambda _: b"hang"

        result = await http_tools().call(
            invocation(timeout_seconds=0.2), HttpCall(method="POST", url=f"{server.url}/x")
        )

        assert len(server.received) == 1
    assert result.outcome is ToolOutcome.UNKNOWN
    assert result.content.startswith("There was no answer within 0.2 s.")


async def test_a_name_service_that_does_not_answer_in_time_is_a_failure() -> None:
    async def resolve(_: str, __: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    result = await http_tools(resolve=resolve).call(
        invocation(timeout_seconds=0.1), HttpCall(method="POST", url="http://tools.example/x")
    )

    assert result.outcome is ToolOutcome.FAILED


async def test_a_cancelled_call_is_let_go() -> None:
    async with tool_server() as server:
        server.answers["/x"] = lambda _: b"hang"
        call = HttpCall(method="POST", url=f"{server.url}/x")
        calling = asyncio.create_task(http_tools().call(invocation(), call))
        async with asyncio.timeout(5):
            await server.got_one.wait()

        calling.cancel()

        with pytest.raises(asyncio.CancelledError):
            await calling


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        ("301 Moved", "POST", "GET"),
        ("302 Found", "POST", "GET"),
        ("303 See Other", "PUT", "GET"),
        ("307 Temporary", "POST", "POST"),
        ("308 Permanent", "PUT", "PUT"),
        ("302 Found", "GET", "GET"),
    ],
)
async def test_redirects_follow_the_rules_of_methods(status: str, method: str, then: str) -> None:
    async with tool_server() as server:
        server.answers["/x"] = lambda _: redirect("/y", status)
        body = None if method == "GET" else {"a": 1}

        result = await http_tools().call(
            invocation(), HttpCall(method=method, url=f"{server.url}/x", body=body, headers={"X-Own": "kept"})
        )

    second = server.received[1]
    assert result.outcome is ToolOutcome.COMPLETED
    assert (second.method, second.headers["x-own"]) == (then, "kept")
    assert (second.body == b'{"a":1}') is (then == method and body is not None)


async def test_header_fields_and_cookies_do_not_go_to_another_host() -> None:
    async with tool_server() as server, tool_server() as other:
        server.answers["/x"] = lambda _: redirect(
            f"{other.url}/y", "307 Temporary", Set_Cookie="a=b; Domain=127.0.0.1"
        )
        call = HttpCall(
            method="POST",
            url=f"{server.url}/x",
            headers={"Authorization": "Bearer {{secrets.crm}}", "Content-Type": "application/json"},
            body={"a": 1},
        )

        result = await http_tools(secrets={"crm": SECRET}).call(invocation(), call)

    [got] = other.received
    assert result.outcome is ToolOutcome.COMPLETED
    assert "authorization" not in got.headers
    assert "cookie" not in got.headers
    assert got.headers["content-type"] == "application/json"
    assert got.body == b'{"a":1}'


async def test_a_body_with_a_secret_is_not_sent_on_to_another_host() -> None:
    async with tool_server() as server, tool_server() as other:
        server.answers["/x"] = lambda _: redirect(f"{other.url}/y", "307 Temporary")
        call = HttpCall(method="POST", url=f"{server.url}/x", body={"key": "{{secrets.crm}}"})

        result = await http_tools(secrets={"crm": SECRET}).call(invocation(), call)

    assert result.outcome is ToolOutcome.FAILED
    assert other.received == []


@pytest.mark.parametrize(
    ("status", "outcome"), [("302 Found", ToolOutcome.UNKNOWN), ("307 Temporary", ToolOutcome.FAILED)]
)
async def test_a_redirect_that_is_refused_is_unknown_where_the_first_server_may_have_done_it(
    status: str, outcome: ToolOutcome
) -> None:
    async with tool_server() as server:
        server.answers["/x"] = lambda _: redirect("http://169.254.169.254/", status)

        result = await http_tools(allowed=LOOPBACK).call(
            invocation(), HttpCall(method="POST", url=f"{server.url}/x")
        )

    assert result.outcome is outcome


async def test_a_secret_that_is_not_there_is_named() -> None:
    async with tool_server() as server:
        call = HttpCall(
            method="GET", url=f"{server.url}/x", headers={"A": "{{secrets.crm}}", "B": "{{secrets.gone}}"}
        )

        result = await http_tools(secrets={"crm": SECRET}).call(invocation(), call)

    assert result.outcome is ToolOutcome.FAILED
    assert "no secret called `gone`" in result.content
    assert server.received == []


async def test_a_server_that_echoes_a_secret_does_not_show_it_to_the_model() -> None:
    async with tool_server() as server:
        server.answers["/x"] = lambda got: as_json({"headers": got.headers, "target": got.target})
        server.answers["/bad"] = lambda got: plain(got.headers["authorization"], status="401 No")
        secret = 'a "quoted" one'
        tools = http_tools(secrets={"crm": SECRET, "quoted": secret})

        def call(path: str) -> HttpCall:
            return HttpCall(
                method="GET",
                url=server.url + path,
                headers={"Authorization": "Bearer {{secrets.crm}}", "X": "{{secrets.quoted}}"},
                query={"key": "{{secrets.crm}}"},
            )

        good = await tools.call(invocation(), call("/x"))
        bad = await tools.call(invocation(), call("/bad"))

    assert (good.outcome, bad.outcome) == (ToolOutcome.COMPLETED, ToolOutcome.FAILED)
    for result in (good, bad):
        assert "correct-horse" not in result.content
        assert "quoted" not in result.content
    assert "Bearer ***" in good.content
