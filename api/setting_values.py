"""Values of settings that are more than a word or a number, and how each is read from its text."""

import base64
import binascii
import re
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

PROVIDERS_BUILT_IN = frozenset({"openai", "anthropic", "scripted"})
"""Provider names with a meaning of their own, which `model_providers` cannot give another."""

SECRETS_KEY_BYTES = 32

_PROVIDER_NAME = re.compile(r"[a-z][a-z0-9-]*")
_TOOL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_HOST_ENTRY = re.compile(r"[\w.:/\[\]-]{1,261}", re.ASCII)


class ModelProvider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server that speaks the chat-completions protocol, named in `model` as `name:model`."""

    name: str
    base_url: str
    api_key: str | None = None
    """None where the server asks for no key."""

    def __repr__(self) -> str:
        return f"{self.name}={self.base_url}"

    def __rich_repr__(self) -> Any:
        yield repr(self)

    def __str__(self) -> str:
        return f"{self!r} (key {'set' if self.api_key else 'not set'})"


class ToolFunction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Python function that definitions may name as a tool."""

    name: str
    target: str
    """`package.module:function`."""

    def __str__(self) -> str:
        return f"{self.name}={self.target}"


class McpServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An MCP server that definitions may name: a command that is run, or an address."""

    name: str
    command: str | None = None
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    """Names of variables of our environment that the command gets beside the usual few."""
    url: str | None = None
    headers: dict[str, str] = {}
    """Templates over `secrets`, the calling organization's, and `environ`, our environment."""

    def __repr__(self) -> str:
        return f"{self.name}={self.command or self.url}"

    def __rich_repr__(self) -> Any:
        yield repr(self)


def read_base_url(text: str) -> str:
    """Read the address of a server.

    Raises:
        ValueError: it is none, or carries what does not belong into one.
    """
    url = urlsplit(text)
    # A path is appended to it, so it ends before a query; and credentials belong where they are not shown.
    if (
        url.scheme not in ("http", "https")
        or not url.hostname
        or url.query
        or url.fragment
        or "@" in url.netloc
    ):
        raise ValueError(text)
    _ = url.port  # raises ValueError when it is no port
    return text.rstrip("/")


def read_providers(text: str) -> tuple[ModelProvider, ...]:
    """Read `name=base_url,...`; raises ValueError."""
    providers = []
    for name, url in _pairs(text):
        if not _PROVIDER_NAME.fullmatch(name) or name in PROVIDERS_BUILT_IN:
            raise ValueError(name)
        providers.append(ModelProvider(name=name, base_url=read_base_url(url)))
    return tuple(providers)


def read_functions(text: str) -> tuple[ToolFunction, ...]:
    """Read `name=package.module:function,...`; raises ValueError."""
    functions = []
    for name, target in _pairs(text):
        if not (_TOOL_NAME.fullmatch(name) and _FUNCTION.fullmatch(target)):
            raise ValueError(name)
        functions.append(ToolFunction(name=name, target=target))
    return tuple(functions)


def read_servers(text: str) -> tuple[McpServer, ...]:
    """Read a JSON object of servers by name; raises ValueError."""
    servers = []
    for name, value in msgspec.json.decode(text, type=dict[str, dict[str, Any]]).items():
        server = msgspec.convert({**value, "name": name}, McpServer)
        is_command = server.command is not None and server.url is None and not server.headers
        is_address = server.url is not None and not (server.command or server.args or server.env)
        if not _TOOL_NAME.fullmatch(name) or "name" in value or not (is_command or is_address):
            raise ValueError(name)
        if server.url is not None:
            read_base_url(server.url)
        servers.append(server)
    return tuple(servers)


def read_hosts(text: str) -> tuple[str, ...]:
    """Read hosts, addresses and networks with commas between them; raises ValueError."""
    entries = tuple(part.strip() for part in text.split(","))
    for entry in entries:
        if not _HOST_ENTRY.fullmatch(entry):
            raise ValueError(entry)
    return entries


def read_secrets_keys(text: str) -> tuple[bytes, ...]:
    """Read keys in base64 with commas between them; raises ValueError."""
    keys = []
    for part in text.split(","):
        try:
            key = base64.b64decode(part.strip(), validate=True)
        except binascii.Error as error:
            raise ValueError("a key") from error
        if len(key) != SECRETS_KEY_BYTES:
            raise ValueError("a key")
        keys.append(key)
    return tuple(keys)


def _pairs(text: str) -> list[tuple[str, str]]:
    pairs = []
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        pairs.append((name, value))
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError(text)
    return pairs


# What the settings of these values say of themselves: see `api.settings`.

MODEL_PROVIDERS = Meta(
    extra={
        "read": read_providers,
        "expects": "`name=base_url[,name=base_url...]`, each name `[a-z][a-z0-9-]*` and given once",
    }
)
FUNCTIONS = Meta(
    extra={
        "read": read_functions,
        "expects": "`name=package.module:function[,name=package.module:function...]`, each name given once",
    }
)
SERVERS = Meta(
    extra={
        "read": read_servers,
        "expects": "a JSON object of servers by name, each with `command`, `args` and `env`, or with `url` "
        "and `headers`",
    }
)
HOSTS = Meta(extra={"read": read_hosts, "expects": "hosts, addresses and networks, with commas between them"})
SECRETS_KEY = Meta(
    extra={
        "read": read_secrets_keys,
        "secret": True,
        "expects": "base64 of 32 bytes, or several of these with commas between them",
        "default": "unset; beside the embedded server `secrets.key` in `data_dir`, made at the first start",
    }
)
