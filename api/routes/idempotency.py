"""What makes two requests the same, so that a retry can be told from another request with the same key."""

import hashlib
from typing import Any

import msgspec

_EXACT_MAX = 2**53
"""Up to here a float and an integer of the same value are the same JSON number to every reader."""


def fingerprint(method: str, path: str, body: msgspec.Struct | dict[str, Any] | None) -> bytes:
    """Digest a request: method, path and canonical JSON body without `expected_revision`.

    Header fields do not count, so a retry may state another revision, or ask for another form of answer. The
    order of keys, the spelling of numbers and fields left at their default make no difference.
    """
    plain = msgspec.to_builtins(body) if body is not None else {}
    plain.pop("expected_revision", None)
    canonical = msgspec.json.encode(_canonical(plain), order="deterministic")
    digest = hashlib.sha256()
    for part in (method.upper().encode(), path.encode(), canonical):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(inner) for inner in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_MAX:
        return int(value)
    return value
