"""From the bytes of a request to JSON values: the size, the media type, the text itself.

What the values mean is judged by `validation`.
"""

import json
from collections import Counter
from typing import Any, Final

from litestar import Request

from api.routes.errors import BodyTooLarge, Invalid, MalformedJson, UnsupportedMediaType
from api.routes.problems import Fault

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"

OUT_OF_RANGE: Final = 2**64
"""Stands for an integer with more digits than any that we take, so that its digits are never computed."""

_INTEGER_DIGITS_MAX = 20


class DuplicateKeys(dict[str, Any]):
    """An object in which a key occurred more than once; `names` are those keys. The last value is kept."""

    names: tuple[str, ...] = ()


async def read_body(request: Request[Any, Any, Any], *, limit_bytes: int) -> bytes:
    """Read the body, stopping as soon as it is longer than the limit.

    Raises:
        BodyTooLarge: at once when Content-Length says so, else when the limit is passed.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > _INTEGER_DIGITS_MAX or int(declared) > limit_bytes):
        raise BodyTooLarge(limit_bytes=limit_bytes)
    chunks = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit_bytes:
            raise BodyTooLarge(limit_bytes=limit_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def check_media_type(content_type: str | None, *, accepted: tuple[str, ...]) -> None:
    """Refuse a body that is not one of the accepted media types, or says that it is not UTF-8.

    Raises:
        UnsupportedMediaType: also when there is no Content-Type: a body is never guessed at.
    """
    media_type, *parameters = (content_type or "").split(";")
    charsets = [
        value.strip().strip('"').lower()
        for name, _, value in (parameter.partition("=") for parameter in parameters)
        if name.strip().lower() == "charset"
    ]
    if media_type.strip().lower() not in accepted or any(charset != "utf-8" for charset in charsets):
        raise UnsupportedMediaType(accepted=accepted)


def parse_json(raw: bytes) -> Any:
    """Read JSON text (RFC 8259) without losing what `validation` must see.

    The standard library's parser is used because it keeps lone surrogates and repeated keys, which become
    faults with a pointer (as do the `NaN` and `Infinity` that it takes), and tells line and column of what is
    not JSON.

    Raises:
        MalformedJson: with the place.
        Invalid: nested deeper than the parser can go.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed_at(raw[: error.start].decode("utf-8"), "not UTF-8") from error
    try:
        return json.loads(
            text,
            object_pairs_hook=_make_object,
            parse_int=_make_integer,
        )
    except json.JSONDecodeError as error:
        raise MalformedJson(reason=error.msg.lower(), line=error.lineno, column=error.colno) from error
    except RecursionError as error:
        raise Invalid((Fault(pointer="", message="is nested too deeply", code="too-deep"),)) from error


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    repeated = DuplicateKeys(made)
    repeated.names = tuple(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
    return repeated


def _make_integer(digits: str) -> int:
    return int(digits) if len(digits) <= _INTEGER_DIGITS_MAX else OUT_OF_RANGE


def _malformed_at(before: str, reason: str) -> MalformedJson:
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    return MalformedJson(reason=reason, line=line, column=column)
