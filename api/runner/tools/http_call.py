"""Tools that are HTTP requests: sent through the guard, redirects followed by hand, answers cut to size."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias
from uuid import UUID

import httpx2
import msgspec
from loguru import logger

from api.agents.definition import HttpCall, ToolEffect
from api.agents.templates import TemplateFault
from api.runner.tools import content
from api.runner.tools.addresses import AllowedHosts
from api.runner.tools.base import Invocation, ToolResult
from api.runner.tools.http_request import FilledRequest, RequestRefused, fill, read_url, secret_names
from api.runner.tools.ssrf import Guard
from api.store.errors import SecretsUnavailable

FindSecrets: TypeAlias = Callable[[UUID, Collection[str]], Awaitable[Mapping[str, str]]]
"""Gives those of an organization's secrets that are there, by name."""
FindAllowed: TypeAlias = Callable[[UUID], Awaitable[AllowedHosts]]
"""Gives the hosts that an organization may call although they are not public."""

REDIRECTS_MAX = 3
_EXCERPT_CHARACTERS_MAX = 500
_METHOD_KEPT = (HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT)
_REDIRECTS = (HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND, HTTPStatus.SEE_OTHER, *_METHOD_KEPT)
_CHARSETS = frozenset(
    {"utf-8", "utf-16", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1251", "windows-1252", "koi8-r"}
    | {"shift_jis", "euc-jp", "euc-kr", "gbk", "gb18030", "big5"}
)
"""What servers still use; Python knows more, some of which are no encodings of text."""
_OWN_HEADERS = {
    "Accept": "application/json, text/*;q=0.9, */*;q=0.1",
    # A small answer must not become a large one.
    "Accept-Encoding": "identity",
    "User-Agent": "turnledger",
}


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much of an answer is taken."""

    answer_bytes_max: int = 1024 * 1024
    """Read from the server; no more is."""
    result_bytes_max: int = 32 * 1024
    """Given to the model."""


class HttpTools:
    """Calls HTTP tools."""

    def __init__(
        self, guard: Guard, *, find_secrets: FindSecrets, find_allowed: FindAllowed, limits: HttpLimits
    ) -> None:
        self._guard = guard
        self._find_secrets = find_secrets
        self._find_allowed = find_allowed
        self._limits = limits

    async def call(self, invocation: Invocation, call: HttpCall) -> ToolResult:
        """Send the request and follow where it leads."""
        exchange = _Exchange()
        secrets: Mapping[str, str] = {}
        try:
            async with asyncio.timeout(invocation.tool.timeout_seconds):
                names = secret_names(call)
                if names:
                    secrets = await self._find_secrets(invocation.organization_id, names)
                    if missing := sorted(names - secrets.keys()):
                        return content.failed(_without_secrets(missing))
                filled = fill(call, _values(invocation, secrets))
                allowed = await self._find_allowed(invocation.organization_id)
                result = await self._send(invocation, call, filled, allowed, exchange)
        except SecretsUnavailable as error:
            return content.failed(f"The request was not sent: {error}.")
        except (RequestRefused, TemplateFault) as error:
            result = exchange.ended(str(error))
        except (TimeoutError, httpx2.TimeoutException):
            result = exchange.ended(f"There was no answer within {invocation.tool.timeout_seconds:g} s.")
        except httpx2.ConnectError as error:
            result = exchange.ended(str(error) or "The server could not be reached.")
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL):
            result = exchange.ended("The connection to the server broke.")
        except Exception:  # the edge: a fault of ours, the database's mostly
            logger.opt(exception=True).error("tool call broke off", tool=invocation.tool.name)
            result = exchange.ended("The call broke off inside the service.")
        if not secrets:
            return result
        return msgspec.structs.replace(result, content=content.redacted(result.content, secrets.values()))

    async def _send(
        self,
        invocation: Invocation,
        call: HttpCall,
        filled: FilledRequest,
        allowed: AllowedHosts,
        exchange: "_Exchange",
    ) -> ToolResult:
        headers = {**_OWN_HEADERS, **filled.headers}
        if filled.body is not None:
            headers.setdefault("Content-Type", "application/json")
        if invocation.tool.effect is ToolEffect.IDEMPOTENT:
            headers["Idempotency-Key"] = invocation.idempotency_key
        for _ in range(REDIRECTS_MAX + 1):
            # A client of its own for each hop: nothing is kept, no cookie and no connection.
            async with self._guard.client(allowed, read_seconds=invocation.tool.timeout_seconds) as client:
                request = client.build_request(
                    filled.method,
                    filled.url,
                    headers=headers,
                    content=filled.body,
                    extensions={"trace": exchange.trace},
                )
                response = await client.send(request, stream=True)
                try:
                    if response.status_code not in _REDIRECTS or "location" not in response.headers:
                        return await self._result(call, response)
                finally:
                    await response.aclose()
            exchange.redirected(filled.method, response.status_code)
            filled, headers = _next(filled, headers, response)
        raise RequestRefused(f"The server redirected more than {REDIRECTS_MAX} times.")

    async def _result(self, call: HttpCall, response: httpx2.Response) -> ToolResult:
        text, is_whole = await self._read(response)
        if response.status_code >= 300:
            excerpt = " ".join(text.split())[:_EXCERPT_CHARACTERS_MAX]
            said = f": {excerpt}" if excerpt else "."
            return content.failed(f"The server answered with status {response.status_code}{said}")
        if not is_whole:
            note = f"\n[cut: the answer is longer than {self._limits.answer_bytes_max} bytes]"
            return content.completed(text + note, bytes_max=self._limits.result_bytes_max)
        if call.result is not None:
            text = _mapped(text, call.result)
        return content.completed(
            text or f"The server answered with status {response.status_code} and no text.",
            bytes_max=self._limits.result_bytes_max,
        )

    async def _read(self, response: httpx2.Response) -> tuple[str, bool]:
        """The text of an answer, and whether that is all of it."""
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            return f"[not read: the answer is encoded as {encoding[:40]}]", True
        limit, read = self._limits.answer_bytes_max, bytearray()
        async for chunk in response.aiter_raw():
            read += chunk
            if len(read) > limit:
                break
        kind = response.headers.get("content-type", "text/plain")
        data = bytes(read[:limit])
        if not _is_text(kind) and not _is_utf8(data):
            return f"[{len(data)} bytes of {kind[:100]}]", True
        return data.decode(_charset(response), errors="replace"), len(read) <= limit


class _Exchange:
    """How far a call has come, and so what its failure means."""

    def __init__(self) -> None:
        self._is_sent = False

    async def trace(self, event: str, _: Any) -> None:
        """Note when the first byte of a request goes out."""
        if event.endswith("send_request_headers.started"):
            self._is_sent = True

    def redirected(self, method: str, status: int) -> None:
        """Note that a server sent us elsewhere: with these answers it has done nothing itself."""
        if status in _METHOD_KEPT or method == "GET":
            self._is_sent = False

    def ended(self, sentence: str) -> ToolResult:
        """The call came to no answer."""
        if self._is_sent:
            return content.unknown(f"{sentence} The request had been sent: whether it was done is unknown.")
        return content.failed(f"{sentence} The request was not sent.")


def _next(
    filled: FilledRequest, headers: dict[str, str], response: httpx2.Response
) -> tuple[FilledRequest, dict[str, str]]:
    """The request that a redirect asks for.

    Raises:
        RequestRefused: it is not followed.
    """
    url = read_url(str(filled.url.join(response.headers["location"])))
    method, body = filled.method, filled.body
    if response.status_code not in _METHOD_KEPT and (
        method == "POST" or response.status_code == HTTPStatus.SEE_OTHER
    ):
        method, body = "GET", None
    if body is None:
        headers = {name: value for name, value in headers.items() if name.lower() != "content-type"}
    if (url.scheme, url.host, url.port) != (filled.url.scheme, filled.url.host, filled.url.port):
        if filled.url.scheme == "https" and url.scheme != "https":
            raise RequestRefused("The server redirected to an address without TLS.")
        if body is not None and filled.body_has_secrets:
            raise RequestRefused("The server redirected a request with secrets to another host.")
        # The definition's own header fields were meant for its own host.
        kept = {*(name.lower() for name in _OWN_HEADERS), "idempotency-key"} | (
            {"content-type"} if body is not None else set()
        )
        headers = {name: value for name, value in headers.items() if name.lower() in kept}
        headers |= _OWN_HEADERS
    return msgspec.structs.replace(filled, method=method, url=url, body=body), headers


def _values(invocation: Invocation, secrets: Mapping[str, str]) -> dict[str, Any]:
    return {
        "arguments": invocation.arguments,
        "context": invocation.context,
        "variables": invocation.variables,
        "secrets": secrets,
    }


def _without_secrets(missing: list[str]) -> str:
    names = ", ".join(f"`{name}`" for name in missing)
    return f"The request was not sent: this organization has no secret called {names}."


def _mapped(text: str, pointer: str) -> str:
    """What lies under the pointer; a sentence where nothing does, since the call itself was done."""
    try:
        return content.as_text(content.at_pointer(msgspec.json.decode(text), pointer))
    except (msgspec.DecodeError, RecursionError):
        return f"The call was made, but its answer is not JSON, so there is no result at `{pointer}`."
    except LookupError:
        return f"The call was made, but its answer has nothing at `{pointer}`."


def _is_text(media_type: str) -> bool:
    kind = media_type.partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind.endswith(("json", "xml", "yaml", "x-www-form-urlencoded"))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\x00" not in data


def _charset(response: httpx2.Response) -> str:
    said = (response.charset_encoding or "utf-8").lower()
    return said if said in _CHARSETS else "utf-8"
