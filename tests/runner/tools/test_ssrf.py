"""Where a request of a tool may go, and that it goes where was looked."""

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.agents.definition import HttpCall
from api.runner.tools.addresses import AllowedHosts, read_allowed
from api.runner.tools.base import ToolOutcome
from tests.runner.tools.server import (
    Resolver,
    http_tools,
    invocation,
    plain,
    redirect,
    tool_server,
)


def get(url: str) -> HttpCall:
    return HttpCall(method="GET", url=url)


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["fd00:ec2::254"],
        ["fe80::1%lo"],
        ["93.184.216.34", "127.0.0.1"],
        ["no address"],
    ],
)
async def test_a_name_with_an_address_that_is_not_public_is_refused(answer: list[str]) -> None:
    tools = http_tools(allowed=AllowedHosts(), resolve=Resolver(answer))
    call = get("http://tools.example/x")

    result = await tools.call(invocation(http=call), call)

    assert result.outcome is ToolOutcome.FAILED
    assert result.content.startswith("tools.example is not a public host")
    assert answer[0] not in result.content


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "localhost", "[::1]"])
async def test_however_loopback_is_written_it_is_refused(host: str) -> None:
    async with tool_server() as server:
        tools = http_tools(allowed=AllowedHosts())
        call = get(f"http://{host}:{server.port}/x")

        result = await tools.call(invocation(http=call), call)

    assert result.outcome is ToolOutcome.FAILED
    assert server.received == []


async def test_an_allowed_host_is_called_at_the_address_that_was_found() -> None:
    async with tool_server() as server:
        resolver = Resolver(["127.0.0.1"])
        tools = http_tools(allowed=read_allowed(["crm.internal"]), resolve=resolver)
        call = get(f"http://crm.internal:{server.port}/x")

        result = await tools.call(invocation(http=call), call)

    assert (result.outcome, result.content) == (ToolOutcome.COMPLETED, "ok")
    assert server.received[0].headers["host"] == f"crm.internal:{server.port}"


async def test_a_host_that_another_organization_is_allowed_is_refused() -> None:
    async with tool_server() as server:
        call = get(f"http://crm.internal:{server.port}/x")
        ours = http_tools(allowed=read_allowed(["crm.internal"]), resolve=Resolver(["127.0.0.1"]))
        theirs = http_tools(allowed=read_allowed(["erp.internal"]), resolve=Resolver(["127.0.0.1"]))

        results = [await tools.call(invocation(http=call), call) for tools in (ours, theirs)]

    assert [result.outcome for result in results] == [ToolOutcome.COMPLETED, ToolOutcome.FAILED]
    assert len(server.received) == 1


async def test_a_name_that_changes_its_answer_is_asked_once_and_dialled_at_that_answer() -> None:
    async with tool_server() as server:
        # The first answer is allowed, and nothing listens there; a second question would lead to the server.
        resolver = Resolver(["127.0.0.2"], ["127.0.0.1"])
        tools = http_tools(allowed=read_allowed(["127.0.0.2"]), resolve=resolver)
        call = get(f"http://rebinding.example:{server.port}/x")

        result = await tools.call(invocation(http=call), call)

    assert result.outcome is ToolOutcome.FAILED
    assert "does not accept connections" in result.content
    assert resolver.asked == ["rebinding.example"]
    assert server.received == []


async def test_every_call_looks_again() -> None:
    async with tool_server() as server:
        resolver = Resolver(["127.0.0.1"], ["10.0.0.1"])
        tools = http_tools(allowed=read_allowed(["127.0.0.1"]), resolve=resolver)
        call = get(f"http://rebinding.example:{server.port}/x")

        results = [await tools.call(invocation(http=call), call) for _ in range(2)]

    assert [result.outcome for result in results] == [ToolOutcome.COMPLETED, ToolOutcome.FAILED]
    assert len(server.received) == 1


async def test_a_redirect_is_held_against_the_same_rules() -> None:
    async with tool_server() as server:
        tools = http_tools(
            allowed=read_allowed([f"public.example:{server.port}"]), resolve=Resolver(["127.0.0.1"])
        )
        call = get(f"http://public.example:{server.port}/start")
        for location in (
            f"http://127.0.0.1:{server.port}/inside",
            f"http://inside.example:{server.port}/inside",
            "http://169.254.169.254/latest/meta-data",
            "file:///etc/passwd",
            "gopher://127.0.0.1/",
            f"http://user:word@public.example:{server.port}/inside",
            "http://public.example:22/",
        ):
            server.answers["/start"] = lambda _, location=location: redirect(location)

            result = await tools.call(invocation(http=call), call)

            assert result.outcome is ToolOutcome.FAILED, location

    assert {request.target for request in server.received} == {"/start"}


async def test_redirects_are_followed_three_times() -> None:
    async with tool_server() as server:
        tools = http_tools()
        for number in range(5):
            server.answers[f"/{number}"] = lambda _, number=number: redirect(f"/{number + 1}")
        server.answers["/5"] = lambda _: plain("there")

        near = await tools.call(invocation(), get(f"{server.url}/2"))
        far = await tools.call(invocation(), get(f"{server.url}/1"))

    assert (near.outcome, near.content) == (ToolOutcome.COMPLETED, "there")
    assert far.outcome is ToolOutcome.FAILED
    assert "more than 3 times" in far.content


@pytest.mark.parametrize(
    "url",
    [
        "ftp://tools.example/x",
        "http://user:word@tools.example/",
        "http://tools.example:25/",
        "//tools.example",
        "x",
    ],
)
async def test_only_web_addresses_without_credentials_on_usual_ports(url: str) -> None:
    resolver = Resolver(["8.8.8.8"])

    result = await http_tools(resolve=resolver).call(invocation(), get(url))

    assert result.outcome is ToolOutcome.FAILED
    assert resolver.asked == []


async def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tool_server() as server, tool_server() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)

        result = await http_tools().call(invocation(), get(f"{server.url}/x"))

    assert result.outcome is ToolOutcome.COMPLETED
    assert proxy.received == []


async def test_tls_is_held_against_the_name_and_not_the_address(tmp_path: Path) -> None:
    server_side, client_side = certificates(tmp_path, "tools.example")
    async with tool_server(tls=server_side) as server:
        tools = http_tools(resolve=Resolver(["127.0.0.1"]), verify=client_side)

        good = await tools.call(invocation(), get(f"https://tools.example:{server.port}/x"))
        bad = await tools.call(invocation(), get(f"https://other.example:{server.port}/x"))

    assert (good.outcome, good.content) == (ToolOutcome.COMPLETED, "ok")
    assert bad.outcome is ToolOutcome.FAILED
    assert [request.headers["host"] for request in server.received] == [f"tools.example:{server.port}"]


def certificates(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's side for one name, and a client's that trusts it alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(private + pem)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(folder / "both.pem")
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_side.load_verify_locations(cadata=pem.decode())
    return server_side, client_side
