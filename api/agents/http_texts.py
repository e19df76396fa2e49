"""The texts of a tool that is a request: what they may name, and that no argument chooses the host."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from api.agents import bounds, checks, templates
from api.agents.checks import Check, say
from api.agents.faults import Fault, step
from api.agents.templates import Placeholder, Template

ROOTS = ("arguments", "context", "variables", "secrets")
"""What the texts of a request see; there are no plain names in them."""

_OPERATORS = frozenset(("context", "secrets"))
"""Those that the model has no hand in."""

_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_ENDS_HOST = re.compile(r"[/?#]")
_NEVER_IN_URL = re.compile(r"[\\\s\x00-\x20\x7f]")


def split_url(template: Template) -> tuple[Template, Template]:
    """Divide a URL's template behind its host and port.

    What is filled into the first part chooses the server and must come from nobody but the operator or the
    caller; what is filled into the second must be escaped. A URL that begins with a place has that place,
    a whole base URL, as its first part.
    """
    parts = template.parts
    if not parts or isinstance(parts[0], Placeholder):
        return Template(parts[:1]), Template(parts[1:])
    for index, part in enumerate(parts):
        if isinstance(part, Placeholder):
            continue
        scheme = _SCHEME.match(part) if index == 0 else None
        end = _ENDS_HOST.search(part, scheme.end() if scheme else 0)
        if end is not None:
            host, rest = part[: end.start()], part[end.start() :]
            return Template((*parts[:index], *filter(None, (host,)))), Template((rest, *parts[index + 1 :]))
    return template, Template(())


def check_url(value: Any, pointer: str, faults: list[Fault]) -> None:
    """Check the template of a URL: http or https, and a host that the model does not choose."""
    before = len(faults)
    _URL_TEXT(value, pointer, faults)
    if len(faults) > before:
        return
    template = _read(value, pointer, faults)
    if template is None:
        return
    literal = "".join(part for part in template.parts if isinstance(part, str))
    if _NEVER_IN_URL.search(literal):
        say(faults, pointer, "invalid_format", "A URL has neither spaces nor backslashes in it.")
        return
    host, rest = split_url(template)
    foreign = [place.path[0] for place in host.placeholders if place.path[0] not in _OPERATORS]
    if foreign:
        message = f"The host must not come from `{foreign[0]}`: the model would choose whom to call."
        say(faults, pointer, "not_allowed", message)
    elif (fault := _fault_of_host(host, rest)) is not None:
        say(faults, pointer, "invalid_format", fault)


def check_http_text(is_text: Check) -> Check:
    """A check for a text of a request."""

    def run(value: Any, pointer: str, faults: list[Fault]) -> None:
        before = len(faults)
        is_text(value, pointer, faults)
        if len(faults) == before:
            _read(value, pointer, faults)

    return run


def check_body(value: Any, pointer: str, faults: list[Fault]) -> None:
    """Check every string of a body; names of fields are no templates."""
    before = len(faults)
    checks.storable(value, pointer, faults)
    if len(faults) == before:
        for text, place in _strings(value, pointer):
            _BODY_TEXT(text, place, faults)


def places_of(http: dict[str, Any]) -> Iterator[tuple[str, Placeholder]]:
    """All the places in the texts of a request that can be read, each with its pointer within the request."""
    for field in ("url", "headers", "query", "body"):
        for text, pointer in _strings(http.get(field), step(field)):
            yield from ((pointer, place) for place in checks.places(text, pointer, []))


def _strings(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """All the strings in a JSON value but names of fields, in order, each with its pointer."""
    pending: list[tuple[Any, str]] = [(value, pointer)]
    while pending:
        item, place = pending.pop()
        if isinstance(item, str):
            yield item, place
        elif isinstance(item, list):
            pending += [(inner, f"{place}/{index}") for index, inner in enumerate(item)][::-1]
        elif isinstance(item, dict):
            pending += [(inner, place + step(name)) for name, inner in item.items()][::-1]


def _read(value: str, pointer: str, faults: list[Fault]) -> Template | None:
    """Read a text of a request; None, and faults, where it cannot be."""
    before = len(faults)
    for place in checks.places(value, pointer, faults):
        root = place.path[0]
        if root not in ROOTS:
            words = ", ".join(f"`{each}`" for each in ROOTS)
            message = f"In a request a path begins with one of {words}, not with `{root}`."
            say(faults, pointer, "invalid_template", message)
        elif root == "secrets" and len(place.path) != 2:
            say(faults, pointer, "invalid_template", "A secret is named as in `{{secrets.crm_token}}`.")
    return None if len(faults) > before else templates.parse(value)


def _fault_of_host(host: Template, rest: Template) -> str | None:
    """Say what is wrong with scheme, host and port."""
    needed = "This must begin with `https://` or `http://` and a host."
    if not host.parts:
        return needed
    first = host.parts[0]
    if isinstance(first, Placeholder):
        follows = rest.parts[0] if rest.parts else "/"
        if isinstance(follows, Placeholder) or not _ENDS_HOST.match(follows):
            return "Behind a place that holds the base of the URL must follow `/` or `?`."
        return None
    scheme = _SCHEME.match(first)
    if scheme is None:
        return needed
    # For the form of the whole, every place stands for a digit: that may be part of a name or a port.
    text = "".join(part if isinstance(part, str) else "1" for part in host.parts)
    if "@" in text:
        return "Credentials do not belong into a URL; send them in a header field."
    try:
        split = urlsplit(text)
        is_whole = bool(split.hostname) and (split.port is None or split.port > 0)
    except ValueError:
        is_whole = False
    return None if is_whole else needed


_URL_TEXT = checks.text(bytes_max=bounds.URL_BYTES_MAX, may_be_blank=False)
_BODY_TEXT = check_http_text(checks.text())
