"""Where a tool's request may go: which addresses are public, which other hosts are allowed."""

import re
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

import msgspec

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

ENTRY_CHARACTERS_MAX = 261

_NOT_PUBLIC_4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        # The host agent of a large cloud answers on an address that is public by its number.
        "168.63.129.16/32",
    )
)
_PUBLIC_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # Teredo, ORCHID, benchmarks: nothing that serves
        "2001:db8::/32",
        "2002::/16",  # 6to4 wraps any IPv4 address, private ones too
        "3fff::/20",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")

_PORTS_USUAL = frozenset({80, 443})
_PORT_UNPRIVILEGED = 1024
# Above 1024 browsers refuse these, because a request can be mistaken for something else there.
_PORTS_REFUSED = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6679, 6697, 10080}
    | set(range(6665, 6670))
)


def is_public(address: Address) -> bool:
    """Whether anybody on the internet could reach this address, and it is no way into a network behind it."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
        return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)
    return not any(address in network for network in _NOT_PUBLIC_4)


def is_usual_port(port: int) -> bool:
    """Whether web services are found there: 80, 443, and from 1024 what is no other protocol's own."""
    return port in _PORTS_USUAL or (_PORT_UNPRIVILEGED <= port <= 65_535 and port not in _PORTS_REFUSED)


class AllowedHosts(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts that may be called although their addresses are not public."""

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    """Names with a port, or with None for any usual one."""
    networks: tuple[Network, ...] = ()

    def allow(self, host: str, port: int, address: Address) -> bool:
        """Whether `host` may be called at this address of it."""
        name = host.lower().rstrip(".")
        if (name, port) in self.hosts or (name, None) in self.hosts:
            return True
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self.networks)

    def names_port(self, host: str, port: int) -> bool:
        """Whether this very port of the host was allowed."""
        return (host.lower().rstrip("."), port) in self.hosts

    def __or__(self, other: "AllowedHosts") -> "AllowedHosts":
        return AllowedHosts(hosts=self.hosts | other.hosts, networks=self.networks + other.networks)


def read_allowed(entries: Iterable[str]) -> AllowedHosts:
    """Read entries like `crm.internal`, `crm.internal:8443`, `10.1.2.3` and `10.0.0.0/8`.

    Raises:
        ValueError: naming the first entry that cannot be read.
    """
    hosts: set[tuple[str, int | None]] = set()
    networks: list[Network] = []
    for entry in entries:
        network = _network(entry)
        if network is not None:
            networks.append(network)
        else:
            hosts.add(_host(entry))
    return AllowedHosts(hosts=frozenset(hosts), networks=tuple(networks))


def read_address(text: str) -> Address | None:
    """Read an address as a resolver gives it; None when it is none."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def _network(entry: str) -> Network | None:
    try:
        return ip_network(entry)
    except ValueError:
        return None


def _host(entry: str) -> tuple[str, int | None]:
    name, colon, port = entry.lower().rpartition(":")
    if not colon:
        name, port = port, ""
    name = name.removeprefix("[").removesuffix("]").rstrip(".")
    is_host = _HOST.fullmatch(name) is not None or read_address(name) is not None
    has_port = port.isascii() and port.isdecimal() and 1 <= int(port[:6]) <= 65_535
    if not is_host or len(entry) > ENTRY_CHARACTERS_MAX or (bool(colon) and not has_port):
        raise ValueError(f"{entry[:60]!r} is no host, `host:port`, address or network.")
    return name, int(port) if colon else None
