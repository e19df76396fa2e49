"""Whether an address can only be reached from this machine."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether an address, or a name, can only be reached from this machine."""
    name = host.strip("[]").lower().rstrip(".")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
