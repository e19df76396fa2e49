"""Logging: one event, one line, past tense, with bound fields, on standard error.

Never message text, never keys: callers keep to that, and what looks like a key is taken out of every line
once more here, because an exception of a library may quote one.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Callable
from datetime import UTC
from typing import TYPE_CHECKING, Any, Literal, TextIO

from loguru import logger

if TYPE_CHECKING:
    from loguru import Message, Record

LIBRARIES = (
    "uvicorn",
    "asyncpg",
    "litestar",
    "openai",
    "anthropic",
    "httpx",
    "httpx2",
    "httpcore",
    "asyncio",
)
"""Libraries that bring log handlers or levels of their own; theirs are taken away."""

_SECRETS = re.compile(
    r"""(?<![A-Za-z0-9])(?P<key>tl_|sk-)[A-Za-z0-9_-]{8,}   # our API keys, and those of providers
      | (?P<scheme>\bBearer\s+)[^\s'",]+                     # whatever authenticates a call
      | (?P<url>://)[^/\s@]+(?=@)                            # user and password of a database
    """,
    re.VERBOSE | re.IGNORECASE,
)

# Line breaks and escape sequences in a value must not forge a line or steer a terminal.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}
_CONTROLS_IN_TRACEBACKS = {code: text for code, text in _CONTROLS.items() if chr(code) != "\n"}

_QUOTING = frozenset(
    {
        "anthropic",
        "httpx",
        "httpx2",
        "json",
        "jsonschema",
        "mcp",
        "msgspec",
        "openai",
        "pydantic",
        "pydantic_core",
    }
)
"""Packages whose exceptions may quote a request, an answer, or a value that they were given."""

_QUOTED = re.compile(r"(?<=invalid input for query argument )(\$\d+):.*|\s*(?:DETAIL|CONTEXT):.*", re.DOTALL)
"""What Postgres and its client add to a message: the row, or the value, that was refused."""

_CHAIN_MAX = 20

_COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}


def configure(
    *,
    format: Literal["pretty", "json"],  # noqa: A002 - the setting is called log_format
    level: str,
    stream: TextIO | None = None,
) -> None:
    """Send all logging of the process to `stream` (standard error), ours from `level` up.

    Of libraries only warnings and worse are kept, whatever `level` says: at their debug level the model
    clients print whole requests, and so message text.
    """
    stream = stream or sys.stderr
    render = _json_line if format == "json" else _pretty_line(in_colour=stream.isatty())

    def write(message: "Message") -> None:
        stream.write(redact(render(message.record)) + "\n")
        stream.flush()

    logger.remove()
    # diagnose would print the values of variables in tracebacks: message text and keys.
    logger.add(write, level=level.upper(), format="{message}", backtrace=False, diagnose=False)

    logging.root.handlers[:] = [_Router(level=logging.WARNING)]
    logging.root.setLevel(logging.WARNING)
    for name in LIBRARIES:
        for library in (
            name,
            *(child for child in logging.root.manager.loggerDict if child.startswith(f"{name}.")),
        ):
            theirs = logging.getLogger(library)
            theirs.handlers.clear()
            theirs.propagate = True
            theirs.setLevel(logging.NOTSET)


def redact(text: str) -> str:
    """Take out what looks like an API key, a bearer token, or the password in a URL."""
    return _SECRETS.sub(lambda found: next(part for part in found.groups() if part) + "***", text)


class _Router(logging.Handler):
    """Hands records of the standard library's logging to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level: str | int = logger.level(record.levelname).name
        except ValueError:
            level = record.levelno

        def name_origin(ours: "Record") -> None:
            ours["name"] = record.name

        logger.patch(name_origin).opt(exception=record.exc_info).log(level, record.getMessage())


def _json_line(record: "Record") -> str:
    line: dict[str, Any] = {
        "at": record["time"].astimezone(UTC).isoformat(),
        "level": record["level"].name.lower(),
        "logger": record["name"],
        "message": record["message"],
    }
    if trace := _traceback(record):
        line["exception"] = trace
    # A field cannot take the place of what every line has.
    return json.dumps({**record["extra"], **line}, default=str)


def _pretty_line(*, in_colour: bool) -> Callable[["Record"], str]:
    def render(record: "Record") -> str:
        level = record["level"].name
        parts = [
            record["time"].astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z",
            f"\x1b[{_COLOURS.get(level, '0')}m{level:<7}\x1b[0m" if in_colour else f"{level:<7}",
            f"{record['name']}: {record['message'].translate(_CONTROLS)}",
            *(f"{name}={str(value).translate(_CONTROLS)}" for name, value in record["extra"].items()),
        ]
        trace = _traceback(record)
        return " ".join(parts) + (f"\n{trace.translate(_CONTROLS_IN_TRACEBACKS)}" if trace else "")

    return render


def _traceback(record: "Record") -> str | None:
    """Write the exception of a record: lines of code and messages, no values.

    Of an exception of a library that may quote what it was given, only the class is told.
    """
    exception = record["exception"]
    if exception is None or exception.value is None:
        return None
    return _told(exception.value)


def _told(error: BaseException) -> str:
    """Write an exception and what led to it, the first cause first."""
    told: list[str] = []
    current: BaseException | None = error
    while current is not None and len(told) < _CHAIN_MAX:
        frames = "".join(traceback.format_tb(current.__traceback__))
        told.append(f"Traceback (most recent call last):\n{frames}{_named(current)}")
        if isinstance(current, BaseExceptionGroup):
            told[-1] += "".join(f"\n| {line}" for e in current.exceptions for line in _told(e).splitlines())
        hidden = None if current.__suppress_context__ else current.__context__
        current = current.__cause__ or hidden
    return "\n\nThis led to:\n\n".join(reversed(told))


def _named(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if kind.__module__.partition(".")[0] in _QUOTING:
        return name
    # A row that breaks a rule of its table is quoted in the detail.
    message = _QUOTED.sub("", str(error)).rstrip()
    return f"{name}: {message}" if message else name
