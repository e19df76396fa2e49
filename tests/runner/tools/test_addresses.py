"""Which addresses are public, and which hosts may be called besides."""

from ipaddress import ip_address

import pytest

from api.runner.tools.addresses import AllowedHosts, is_public, is_usual_port, read_allowed


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.9",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::808:808",
        "2001::1",
        "2001:db8::1",
        "2002:0a00:0001::1",
        "2002:7f00:0001::",
        "3fff::1",
        "4000::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700:4700::1111%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_what_is_not_public_is_known(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    "text",
    ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"],
)
def test_what_is_public_is_known(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize(
    ("port", "is_usual"),
    [
        (80, True),
        (443, True),
        (8443, True),
        (22, False),
        (25, False),
        (0, False),
        (6667, False),
        (70_000, False),
    ],
)
def test_ports_of_other_protocols_are_left_alone(port: int, is_usual: bool) -> None:
    assert is_usual_port(port) is is_usual


def test_allowed_entries_are_hosts_ports_addresses_and_networks() -> None:
    allowed = read_allowed(
        ["CRM.internal", "box.internal:22", "10.1.2.3", "10.2.0.0/16", "fd00::/8", "[::1]:81"]
    )

    assert allowed.allow("crm.internal", 80, ip_address("10.9.9.9"))
    assert allowed.allow("crm.internal.", 80, ip_address("10.9.9.9"))
    assert allowed.allow("box.internal", 22, ip_address("10.9.9.9"))
    assert allowed.names_port("box.internal", 22)
    assert not allowed.allow("box.internal", 80, ip_address("10.9.9.9"))
    assert allowed.allow("any", 80, ip_address("10.1.2.3"))
    assert allowed.allow("any", 80, ip_address("::ffff:10.1.2.3"))
    assert not allowed.allow("any", 80, ip_address("10.1.2.4"))
    assert allowed.allow("any", 80, ip_address("10.2.200.1"))
    assert allowed.allow("any", 80, ip_address("fd12::1"))
    assert allowed.allow("::1", 81, ip_address("::1"))
    assert not AllowedHosts().allow("crm.internal", 80, ip_address("10.9.9.9"))


def test_two_lists_together_allow_what_either_does() -> None:
    both = read_allowed(["a.internal"]) | read_allowed(["10.0.0.0/8"])

    assert both.allow("a.internal", 80, ip_address("192.168.0.1"))
    assert both.allow("b.internal", 80, ip_address("10.0.0.1"))


@pytest.mark.parametrize(
    "entry",
    ["", "http://x", "a b", "x/y", "10.0.0.1/8", "x:0", "x:99999", "x:", "*", "*.internal", "x" * 300],
)
def test_an_entry_that_cannot_be_read_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="is no host"):
        read_allowed([entry])
