"""Taking an address, saying which it is, and how long a connection is kept."""

import asyncio
import socket
from contextlib import closing
from typing import Any

import pytest

from api.app.server import AddressUnavailable, address_of, bind, listen, make_server

_CLIENTS_KEEP_SECONDS = 5
"""What Python's and Node's clients do with a connection that does nothing, and what servers often do."""


def test_a_free_port_is_taken_and_told() -> None:
    with closing(bind("127.0.0.1", 0)) as bound:
        assert address_of(bound) == f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_all_addresses_are_told_as_the_one_of_this_machine() -> None:
    with closing(bind("0.0.0.0", 0)) as bound:
        assert address_of(bound).startswith("http://127.0.0.1:")


def test_a_port_that_somebody_listens_on_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(AddressUnavailable) as refused:
        bind("127.0.0.1", taken.getsockname()[1])

    assert "in use" in refused.value.reason


def test_of_two_who_take_a_port_at_once_one_is_refused() -> None:
    with closing(bind("127.0.0.1", 0)) as first, closing(bind("127.0.0.1", _port(first))) as second:
        listen(first)

        with pytest.raises(AddressUnavailable):
            listen(second)


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(AddressUnavailable):
        bind("no-such-host.invalid", 0)


async def test_a_connection_that_does_nothing_is_kept_longer_than_clients_keep_it() -> None:
    server = make_server(_answering, grace_seconds=1, on_stop=lambda: None)
    with closing(bind("127.0.0.1", 0)) as bound:
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        await server.is_listening.wait()
        reader, writer = await asyncio.open_connection("127.0.0.1", _port(bound))
        for seconds in (0, _CLIENTS_KEEP_SECONDS + 0.5):
            await asyncio.sleep(seconds)
            writer.write(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        writer.close()
        server.stop()
        await serving


async def _answering(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def _port(bound: socket.socket) -> int:
    port: int = bound.getsockname()[1]
    return port
