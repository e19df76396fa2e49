"""Logging: what a line holds, what never gets into one, and that libraries log through it."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest
from loguru import logger

from api.log import configure, redact

OUR_KEY = "tl_0198c2aa_5JfS0bQ-Zx81Lw"
PROVIDER_KEY = "sk-proj-abcDEF123_456-789"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A stream to log to; afterwards logging is as it was."""
    root = logging.root
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    logger.remove()


def test_a_json_line_holds_the_bound_fields(stream: io.StringIO) -> None:
    configure(format="json", level="info", stream=stream)

    logger.bind(turn_id="trn_1").info("turn completed", output_tokens=412)

    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert entry["level"] == "info"
    assert entry["logger"] == __name__
    assert entry["message"] == "turn completed"
    assert (entry["turn_id"], entry["output_tokens"]) == ("trn_1", 412)
    assert datetime.fromisoformat(entry["at"]).utcoffset().total_seconds() == 0


def test_a_field_does_not_take_the_place_of_what_every_line_has(stream: io.StringIO) -> None:
    configure(format="json", level="info", stream=stream)

    logger.info("turn completed", level="none", at="never")

    entry = json.loads(stream.getvalue())
    assert entry["level"] == "info"
    assert entry["at"] != "never"


def test_a_value_that_json_does_not_know_is_written_as_text(stream: io.StringIO) -> None:
    configure(format="json", level="info", stream=stream)

    logger.info("pool opened", pool=OSError("no"), text="\ud800")

    assert json.loads(stream.getvalue())["pool"] == "no"


def test_a_pretty_line_is_one_line_whatever_the_values_hold(stream: io.StringIO) -> None:
    configure(format="pretty", level="info", stream=stream)

    logger.info("key refused", path="/v1\nERROR forged\x1b[31m")

    (line,) = stream.getvalue().splitlines()
    assert f"INFO    {__name__}: key refused path=/v1\\x0aERROR forged\\x1b[31m" in line


def test_a_pretty_line_has_colour_on_a_terminal_only(stream: io.StringIO) -> None:
    configure(format="pretty", level="info", stream=stream)
    logger.warning("lease lost")
    plain = stream.getvalue()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    configure(format="pretty", level="info", stream=stream)
    logger.warning("lease lost")

    assert "\x1b" not in plain
    assert "\x1b[33mWARNING\x1b[0m" in stream.getvalue()


def test_lines_below_the_level_are_not_written(stream: io.StringIO) -> None:
    configure(format="pretty", level="warning", stream=stream)

    logger.info("turn completed")

    assert stream.getvalue() == ""


@pytest.mark.parametrize("log_format", ["pretty", "json"])
@pytest.mark.parametrize("key", [OUR_KEY, PROVIDER_KEY])
def test_keys_are_taken_out_of_messages_fields_and_exceptions(
    log_format: str, key: str, stream: io.StringIO
) -> None:
    configure(format=log_format, level="info", stream=stream)  # type: ignore[arg-type]

    logger.info(f"called with {key}")
    logger.info("called", header={"Authorization": key})

    def call() -> None:
        raise PermissionError(f"Incorrect API key provided: {key}.")

    try:
        call()
    except PermissionError:
        logger.exception("call failed")

    text = stream.getvalue()
    assert key not in text
    assert key[3:] not in text
    assert text.count(f"{key[:3]}***") == 3


def test_a_traceback_does_not_show_the_values_of_variables(stream: io.StringIO) -> None:
    configure(format="pretty", level="info", stream=stream)

    def fail(said: str) -> None:
        raise ValueError(len(said))

    try:
        fail("words of a person " * 3)
    except ValueError:
        logger.exception("turn failed")

    assert "ValueError: 54" in stream.getvalue()
    assert "words of a person words" not in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"key={OUR_KEY}", "key=tl_***"),
        (f'"{PROVIDER_KEY}"', '"sk-***"'),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer ***"),
        ("postgresql://ada:pa%20ss@db.example/x", "postgresql://***@db.example/x"),
        ("the task-runner-loop drained", "the task-runner-loop drained"),
        ("https://models.example/v1", "https://models.example/v1"),
        ("a short sk-1 stays", "a short sk-1 stays"),
    ],
)
def test_redact_takes_out_secrets_and_nothing_else(text: str, expected: str) -> None:
    assert redact(text) == expected


def test_warnings_of_libraries_are_routed_under_their_own_name(stream: io.StringIO) -> None:
    configure(format="json", level="info", stream=stream)

    logging.getLogger("asyncpg.pool").warning("{odd} %s", "connection")

    entry = json.loads(stream.getvalue())
    assert (entry["logger"], entry["level"]) == ("asyncpg.pool", "warning")
    assert entry["message"] == "{odd} connection"


def test_a_level_of_a_library_s_own_is_kept(stream: io.StringIO) -> None:
    configure(format="json", level="info", stream=stream)

    logging.getLogger("uvicorn").log(35, "noticed")

    assert json.loads(stream.getvalue())["level"] == "level 35"


@pytest.mark.parametrize("library", ["openai", "httpx", "litestar", "uvicorn.access"])
def test_libraries_print_no_requests_even_when_told_to(library: str, stream: io.StringIO) -> None:
    theirs = logging.getLogger(library)
    theirs.addHandler(logging.StreamHandler(stream))

    configure(format="pretty", level="debug", stream=stream)
    theirs.setLevel(logging.DEBUG)  # as OPENAI_LOG=debug does when the client is imported later
    theirs.info("Request options: {'messages': ['words of a person']}")

    theirs.setLevel(logging.NOTSET)
    theirs.handlers.clear()
    assert stream.getvalue() == ""
