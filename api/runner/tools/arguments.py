"""The arguments that a model writes: read as JSON within bounds."""

from typing import Any

import msgspec

from api.runner.tools.base import ArgumentsRefused

ARGUMENTS_BYTES_MAX = 64 * 1024
ARGUMENTS_DEPTH_MAX = 32

_INTEGER_BITS = 63


def read_arguments(text: str) -> dict[str, Any]:
    """Read the model's arguments; no text means none.

    Raises:
        ArgumentsRefused: they are no JSON object, or beyond the bounds.
    """
    if not text.strip():
        return {}
    if len(text) > ARGUMENTS_BYTES_MAX or len(text.encode(errors="replace")) > ARGUMENTS_BYTES_MAX:
        raise ArgumentsRefused(f"The arguments are longer than {ARGUMENTS_BYTES_MAX} bytes.")
    try:
        value = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ArgumentsRefused("The arguments are not valid JSON; send one JSON object.") from error
    if not isinstance(value, dict):
        raise ArgumentsRefused("The arguments must be one JSON object.")
    _check_bounds(value, depth=1)
    return value


def _check_bounds(value: Any, *, depth: int) -> None:
    """Refuse what is nested too deeply, or could not be stored or sent on."""
    if depth > ARGUMENTS_DEPTH_MAX:
        raise ArgumentsRefused(f"The arguments are nested more than {ARGUMENTS_DEPTH_MAX} levels deep.")
    if isinstance(value, str):
        if "\x00" in value:
            raise ArgumentsRefused("The arguments must not contain U+0000.")
    elif isinstance(value, int):
        if value.bit_length() > _INTEGER_BITS:
            raise ArgumentsRefused("The arguments contain an integer of more than 64 bits; send a string.")
    elif isinstance(value, dict):
        for name, inner in value.items():
            _check_bounds(name, depth=depth)
            _check_bounds(inner, depth=depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_bounds(inner, depth=depth + 1)
