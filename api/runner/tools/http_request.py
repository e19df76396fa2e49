"""The request of an HTTP tool, filled in from its templates.

The model can choose no other host and no other path: scheme, host and port come from the definition, the
session's context or a secret, and a value is one segment of the path, never none and never a step up.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlencode

import httpx2
import msgspec

from api.agents import templates
from api.agents.definition import HttpCall
from api.agents.http_texts import split_url
from api.runner.tools.content import as_text

URL_CHARACTERS_MAX = 8_192
HEADER_CHARACTERS_MAX = 8_192
BODY_BYTES_MAX = 1024 * 1024

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_ORIGIN = re.compile(r"https?://[^/?#@\\\s]+", re.IGNORECASE)
_BASE = re.compile(_ORIGIN.pattern + r"(?:/[^?#\\\s]*)?", re.IGNORECASE)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")
# The connection's own business, or ours.
_HEADERS_REFUSED = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class RequestRefused(Exception):
    """The request cannot be made of these values; the message is a sentence for the model."""


class FilledRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is ready to be sent."""

    method: str
    url: httpx2.URL
    headers: dict[str, str]
    """Those of the definition."""
    body: bytes | None
    body_has_secrets: bool


def secret_names(call: HttpCall) -> frozenset[str]:
    """The secrets that the templates of a call name."""
    return frozenset(
        place.path[1]
        for text in _texts(call)
        for place in templates.parse(text).placeholders
        if place.path[0] == "secrets" and len(place.path) > 1
    )


def fill(call: HttpCall, values: Mapping[str, Any]) -> FilledRequest:
    """Fill the templates of a call.

    Raises:
        RequestRefused: what would come out is no request, or not the one that the definition means.
    """
    method = call.method.upper()
    if method not in _METHODS:
        raise RequestRefused(f"There is no method {method[:20]} for tools.")
    try:
        url = _url(call, values)
        headers = {name: _header(name, text, values) for name, text in call.headers.items()}
        body = None
        if call.body is not None:
            body = msgspec.json.encode(_filled(call.body, values))
    except (templates.TemplateFault, templates.RenderedTooLong) as error:
        raise RequestRefused(f"The request cannot be filled in: {error}") from error
    if body is not None and len(body) > BODY_BYTES_MAX:
        raise RequestRefused(f"The request's body is longer than {BODY_BYTES_MAX} bytes.")
    return FilledRequest(
        method=method,
        url=url,
        headers=headers,
        body=body,
        body_has_secrets=any(
            place.path[0] == "secrets"
            for text in _strings(call.body)
            for place in templates.parse(text).placeholders
        ),
    )


def read_url(text: str) -> httpx2.URL:
    """Read the address of a request.

    Raises:
        RequestRefused: it is no http or https address, or carries credentials.
    """
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError) as error:
        raise RequestRefused("The address of the request is not a URL.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise RequestRefused("The address of a request begins with http:// or https://.")
    if url.userinfo:
        raise RequestRefused("The address of a request carries no user and no password.")
    return url


def _url(call: HttpCall, values: Mapping[str, Any]) -> httpx2.URL:
    host, rest = split_url(templates.parse(call.url))
    base = _base(host, values)
    path, question, query = _rest(rest, values).partition("?")
    if any(unquote(segment) in (".", "..") for segment in re.split(r"[/\\]", path)):
        raise RequestRefused("A segment of the address's path must not be `.` or `..`.")
    more = urlencode(list(_query(call, values)), quote_via=quote, errors="replace")
    whole = base + path + (question or ("?" if more else "")) + "&".join(filter(None, (query, more)))
    if len(whole) > URL_CHARACTERS_MAX:
        raise RequestRefused(f"The address is longer than {URL_CHARACTERS_MAX} characters.")
    return read_url(whole)


def _base(host: templates.Template, values: Mapping[str, Any]) -> str:
    """Scheme, host and port; and a path, where one place alone holds the base of the address.

    Raises:
        RequestRefused: the model has a hand in it, or what is filled in is more than it should be.
    """
    if any(place.path[0] not in ("context", "secrets") for place in host.placeholders):
        raise RequestRefused("The host of a tool's address must not come from the conversation.")
    is_whole_base = len(host.parts) == 1 and isinstance(host.parts[0], templates.Placeholder)
    form = _BASE if is_whole_base else _ORIGIN
    rendered = templates.render(host, values)
    if not form.fullmatch(rendered):
        raise RequestRefused("The address of a request begins with http:// or https:// and a host.")
    return rendered.rstrip("/") if is_whole_base else rendered


def _rest(rest: templates.Template, values: Mapping[str, Any]) -> str:
    """Path and query, without a fragment."""
    rendered, is_path = "", True
    for part in rest.parts:
        if isinstance(part, str):
            rendered += part
            is_path = is_path and not set("?#") & set(part)
            continue
        text = templates.render(templates.Template((part,)), values)
        if is_path and not text:
            raise RequestRefused(f"The address needs a value for `{'.'.join(part.path)}`.")
        rendered += quote(text, safe="", errors="replace")
    return rendered.partition("#")[0]


def _query(call: HttpCall, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The query's parameters; one that is a place alone with nothing to fill in is left out."""
    for name, text in call.query.items():
        found = templates.value(text, values)
        if found is not None:
            yield name, as_text(found)


def _header(name: str, text: str, values: Mapping[str, Any]) -> str:
    if not _HEADER_NAME.fullmatch(name) or name.lower() in _HEADERS_REFUSED:
        raise RequestRefused(f"A tool cannot set the header field `{name[:60]}`.")
    rendered = templates.render(templates.parse(text), values).strip()
    if len(rendered) > HEADER_CHARACTERS_MAX or not _HEADER_VALUE.fullmatch(rendered):
        limit = f"at most {HEADER_CHARACTERS_MAX} characters of printable ASCII"
        raise RequestRefused(f"The header field `{name}` takes {limit}.")
    return rendered


def _filled(body: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(body, str):
        return templates.value(body, values)
    if isinstance(body, dict):
        return {name: _filled(inner, values) for name, inner in body.items()}
    if isinstance(body, list):
        return [_filled(inner, values) for inner in body]
    return body


def _texts(call: HttpCall) -> Iterator[str]:
    yield call.url
    yield from call.headers.values()
    yield from call.query.values()
    yield from _strings(call.body)


def _strings(body: Any) -> Iterator[str]:
    if isinstance(body, str):
        yield body
    elif isinstance(body, dict):
        for inner in body.values():
            yield from _strings(inner)
    elif isinstance(body, list):
        for inner in body:
            yield from _strings(inner)
