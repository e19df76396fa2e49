r"""Texts with places that are filled from JSON values: `Hello {{customer.name | friend}}`.

Between the braces stands a dotted path, whose numbers index lists, and after `|` what to say when there is
nothing under it. `\{{` is a literal `{{`; before one that opens a place, `\\` is a literal backslash.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

RENDERED_BYTES_MAX = 256 * 1024
"""The longest text that comes out, in UTF-8, unless the caller sets another limit."""

PATH_SEGMENTS_MAX = 16

_CACHED_MAX = 1_024
_PATH = re.compile(r"[\w-]+(?:\.[\w-]+)*")


class Placeholder(msgspec.Struct, frozen=True):
    """A place in a text."""

    path: tuple[str, ...]
    """Names of fields, and numbers of items from 0, from the outside in."""
    default: str | None = None
    """Said when there is nothing under the path, or null; None says nothing."""
    position: int = 0
    """Where its braces open in the text, in characters from 0."""


class Template(msgspec.Struct, frozen=True):
    """A text that was read: literal stretches and places, in order."""

    parts: tuple[str | Placeholder, ...]

    @property
    def placeholders(self) -> tuple[Placeholder, ...]:
        """The places alone."""
        return tuple(part for part in self.parts if isinstance(part, Placeholder))


class TemplateFault(ValueError):
    """The text is no template: where, in characters from 0, and why."""

    def __init__(self, *, position: int, line: int, column: int, reason: str) -> None:
        self.position = position
        self.line = line
        self.column = column
        self.reason = reason
        super().__init__(f"{reason} (line {line}, column {column})")


class RenderedTooLong(ValueError):
    """What was filled in makes the text longer than its limit."""

    def __init__(self, *, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        super().__init__(f"The filled in text is longer than {bytes_max} bytes.")


@lru_cache(maxsize=_CACHED_MAX)
def parse(text: str) -> Template:
    """Read a text; in time linear in its length, and remembered.

    Raises:
        TemplateFault: at the first place that cannot be read.
    """
    parts: list[str | Placeholder] = []
    literal: list[str] = []
    done = 0
    while (opens := text.find("{{", done)) >= 0:
        before = text[done:opens]
        plain = before.rstrip("\\")
        backslashes = len(before) - len(plain)
        literal += (plain, "\\" * (backslashes // 2))
        if backslashes % 2:
            literal.append("{{")
            done = opens + 2
            continue
        closes = text.find("}}", opens)
        if closes < 0:
            raise _fault(text, opens, "`{{` is not closed by `}}`; write `\\{{` for the braces themselves.")
        if any(literal):
            parts.append("".join(literal))
        literal = []
        parts.append(_placeholder(text, opens, closes))
        done = closes + 2
    literal.append(text[done:])
    if any(literal):
        parts.append("".join(literal))
    return Template(tuple(parts))


def read(text: str) -> Template:
    """Read a text of a published definition; one from before texts were templates stands as it is.

    Only there can a fault be: what is published now was judged.
    """
    try:
        return parse(text)
    except TemplateFault:
        return Template((text,))


def render(
    template: Template,
    values: Mapping[str, Any],
    *,
    escape: Callable[[str], str] | None = None,
    bytes_max: int = RENDERED_BYTES_MAX,
) -> str:
    """Fill the places of a template.

    Strings go in as they are, everything else as compact JSON. What is missing or null gives the default,
    without one nothing. `escape` is applied to what is filled in (defaults too), not to the literal text.

    Raises:
        RenderedTooLong: the text would have more than `bytes_max` bytes.
    """
    rendered: list[str] = []
    size_bytes = 0
    for part in template.parts:
        text = part if isinstance(part, str) else _text(part, values)
        if escape is not None and not isinstance(part, str):
            text = escape(text)
        size_bytes += len(text.encode(errors="surrogatepass"))
        if size_bytes > bytes_max:
            raise RenderedTooLong(bytes_max=bytes_max)
        rendered.append(text)
    return "".join(rendered)


def value(text: str, values: Mapping[str, Any], *, bytes_max: int = RENDERED_BYTES_MAX) -> Any:
    """Fill a string of a JSON document: one that is exactly one place becomes the JSON value itself.

    There, what is missing is its default, and null without one.

    Raises:
        TemplateFault, RenderedTooLong
    """
    template = parse(text)
    if len(template.parts) == 1 and isinstance(template.parts[0], Placeholder):
        place = template.parts[0]
        found = _find(place.path, values)
        return place.default if found is None else found
    return render(template, values, bytes_max=bytes_max)


def scope(context: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
    """What instructions, spoken lines and greetings see.

    A plain name is the variable, and where there is none what the context has under it; `variables.x` and
    `context.x` say which is meant.
    """
    return {**context, **variables, "context": context, "variables": variables}


def _placeholder(text: str, opens: int, closes: int) -> Placeholder:
    inside = text[opens + 2 : closes]
    if "{" in inside:
        raise _fault(text, opens, "`{{` is not closed by `}}` before the next brace.")
    path, bar, default = (piece.strip() for piece in inside.partition("|"))
    if not path:
        raise _fault(text, opens, "Between `{{` and `}}` there must be a path, as in `{{customer.name}}`.")
    if not _PATH.fullmatch(path):
        reason = "A path is names of letters, digits, `_` and `-`, with dots between them."
        raise _fault(text, opens, reason)
    segments = tuple(path.split("."))
    if len(segments) > PATH_SEGMENTS_MAX:
        raise _fault(text, opens, f"A path has at most {PATH_SEGMENTS_MAX} names.")
    return Placeholder(segments, default if bar else None, opens)


def _fault(text: str, position: int, reason: str) -> TemplateFault:
    line_start = text.rfind("\n", 0, position) + 1
    line = text.count("\n", 0, position) + 1
    return TemplateFault(position=position, line=line, column=position - line_start + 1, reason=reason)


def _text(place: Placeholder, values: Mapping[str, Any]) -> str:
    found = _find(place.path, values)
    if found is None:
        return place.default or ""
    return found if isinstance(found, str) else msgspec.json.encode(found).decode()


def _find(path: tuple[str, ...], values: Mapping[str, Any]) -> Any:
    """Follow a path; None where it leads nowhere."""
    found: Any = values
    for segment in path:
        if isinstance(found, Mapping):
            found = found.get(segment)
        elif isinstance(found, list | tuple) and segment.isascii() and segment.isdecimal():
            # The length is looked at first: a number with thousands of digits is no index of anything.
            index = int(segment) if len(segment) <= len(str(len(found))) else len(found)
            found = found[index] if index < len(found) else None
        else:
            return None
    return found
