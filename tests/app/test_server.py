"""Taking an address, and saying which it is."""

import socket
from contextlib import closing

import pytest

from api.app.server import AddressUnavailable, address_of, bind, listen


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


def _port(bound: socket.socket) -> int:
    port: int = bound.getsockname()[1]
    return port
