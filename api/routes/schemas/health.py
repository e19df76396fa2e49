"""What a probe gets."""

import msgspec


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the service can do its work."""

    ok: bool
    checks: dict[str, bool]
    """What was looked at; empty where being asked is the whole check."""
