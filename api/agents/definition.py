"""The recipe of an agent: model, instructions, greeting, speaker, limits. Read here with every fault at once.

A definition without nodes is one node, called `START_NODE`, that these fields describe.
"""

import hashlib
import math
import re
from collections.abc import Callable
from typing import Any

import msgspec

START_NODE = "start"
"""The node that every session begins in."""

SPEAKER_DEFAULT = "assistant"
"""Who speaks when the definition names nobody."""

TEXT_BYTES_MAX = 32 * 1024
MODEL_CHARACTERS_MAX = 200
SPEAKER_CHARACTERS_MAX = 64
CONTEXT_TOKENS_MIN, CONTEXT_TOKENS_MAX = 256, 10_000_000
OUTPUT_TOKENS_MIN, OUTPUT_TOKENS_MAX = 1, 1_000_000
TURN_SECONDS_MIN, TURN_SECONDS_MAX = 1, 3_600
TEMPERATURE_MIN, TEMPERATURE_MAX = 0, 2


class Greeting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A greeting that the model makes up; a fixed one is written as a plain string instead."""

    generate: bool
    """Always true: there is no other way to make a greeting."""
    instructions: str | None = None
    """Said to the model after the agent's instructions, for the greeting alone; None adds nothing."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one turn may take. None leaves a limit to the installation's settings or to the model."""

    context_tokens: int | None = None
    """How much of the conversation the model is shown: the newest whole turns that fit."""
    output_tokens: int | None = None
    """The longest reply; a longer one is cut and marked as truncated."""
    turn_seconds: float | None = None
    """How long one turn may run before it fails."""


_NO_LIMITS = Limits()


class Definition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One published edition of an agent; it never changes, a newer version takes its place."""

    model: str
    """`provider:model`, as in `openai:gpt-5-mini` or `scripted:demo`."""
    instructions: str = ""
    greeting: str | Greeting | None = None
    """None: the user speaks first."""
    speaker: str | None = None
    """The name under which the agent replies; None means `SPEAKER_DEFAULT`."""
    limits: Limits = _NO_LIMITS
    temperature: float | None = None
    """None leaves it to the model."""

    @property
    def speaker_name(self) -> str:
        """Who the replies are by."""
        return self.speaker or SPEAKER_DEFAULT


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a definition."""

    pointer: str
    """Where, as a JSON pointer into the definition (RFC 6901); the empty string is the whole of it."""
    message: str
    code: str
    """`invalid_json required unknown_field wrong_type blank too_long too_small too_large invalid_characters
    invalid_format`."""


class DefinitionRefused(Exception):
    """The definition has faults; all of them are told."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{fault.pointer or '/'}: {fault.message}" for fault in faults))
        self.faults = faults


def parse(data: bytes | dict[str, Any]) -> Definition:
    """Read a definition from JSON, or from JSON already decoded.

    Raises:
        DefinitionRefused: with every fault, in the order of the fields.
    """
    value: Any = data
    if isinstance(data, bytes):
        try:
            value = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            fault = Fault(pointer="", message="This is not valid JSON.", code="invalid_json")
            raise DefinitionRefused((fault,)) from None
    faults: list[Fault] = []
    _check_object(value, "", _FIELDS, faults, required=("model",))
    if faults:
        raise DefinitionRefused(tuple(faults))
    definition = msgspec.convert(value, Definition)
    if definition.limits == _NO_LIMITS:
        # msgspec leaves a default out only when it is the very same object; the digest relies on that.
        definition = msgspec.structs.replace(definition, limits=_NO_LIMITS)
    return definition


def digest(definition: Definition) -> str:
    """SHA-256 in hex of the definition's meaning: field order and spelled-out defaults do not count."""
    canonical = msgspec.json.encode(definition, order="sorted")
    return hashlib.sha256(canonical).hexdigest()


_Check = Callable[[Any, str, list[Fault]], None]

_MODEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}:[\x21-\x7e]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NOT_STORABLE = re.compile(r"[\x00\ud800-\udfff]")


def _check_object(
    value: Any,
    pointer: str,
    fields: dict[str, _Check],
    faults: list[Fault],
    *,
    required: tuple[str, ...] = (),
) -> None:
    if not isinstance(value, dict):
        faults.append(Fault(pointer=pointer, message="This must be an object.", code="wrong_type"))
        return
    faults.extend(
        Fault(pointer=f"{pointer}/{name}", message="This is required.", code="required")
        for name in required
        if name not in value
    )
    for name, check in fields.items():
        if name in value:
            check(value[name], f"{pointer}/{name}", faults)
    for name in value:
        if name not in fields:
            escaped = str(name).replace("~", "~0").replace("/", "~1")
            message = f"There is no such field; there are {', '.join(fields)}."
            faults.append(Fault(pointer=f"{pointer}/{escaped}", message=message, code="unknown_field"))


def _check_text(value: Any, pointer: str, faults: list[Fault], *, may_be_blank: bool = True) -> None:
    if not isinstance(value, str):
        faults.append(Fault(pointer=pointer, message="This must be a string.", code="wrong_type"))
    elif _NOT_STORABLE.search(value):
        message = "This must contain neither U+0000 nor lone surrogates."
        faults.append(Fault(pointer=pointer, message=message, code="invalid_characters"))
    elif len(value.encode()) > TEXT_BYTES_MAX:
        message = f"This must be at most {TEXT_BYTES_MAX} bytes of UTF-8."
        faults.append(Fault(pointer=pointer, message=message, code="too_long"))
    elif not may_be_blank and not value.strip():
        faults.append(Fault(pointer=pointer, message="This must not be blank.", code="blank"))


def _check_model(value: Any, pointer: str, faults: list[Fault]) -> None:
    before = len(faults)
    _check_text(value, pointer, faults)
    if len(faults) > before:
        return
    if len(value) > MODEL_CHARACTERS_MAX:
        message = f"This must be at most {MODEL_CHARACTERS_MAX} characters."
        faults.append(Fault(pointer=pointer, message=message, code="too_long"))
    elif not _MODEL.fullmatch(value):
        message = "This must be `provider:model`, as in `openai:gpt-5-mini` or `scripted:demo`."
        faults.append(Fault(pointer=pointer, message=message, code="invalid_format"))


def _check_greeting(value: Any, pointer: str, faults: list[Fault]) -> None:
    if value is None:
        return
    if isinstance(value, str):
        _check_text(value, pointer, faults, may_be_blank=False)
    elif isinstance(value, dict):
        _check_object(value, pointer, _GREETING_FIELDS, faults, required=("generate",))
    else:
        message = 'This must be a string, or an object like {"generate": true}.'
        faults.append(Fault(pointer=pointer, message=message, code="wrong_type"))


def _check_generate(value: Any, pointer: str, faults: list[Fault]) -> None:
    if value is not True:
        message = "This must be true; leave the greeting out to have none."
        faults.append(Fault(pointer=pointer, message=message, code="wrong_type"))


def _check_speaker(value: Any, pointer: str, faults: list[Fault]) -> None:
    before = len(faults)
    if value is None:
        return
    _check_text(value, pointer, faults, may_be_blank=False)
    if len(faults) > before:
        return
    if len(value) > SPEAKER_CHARACTERS_MAX:
        message = f"This must be at most {SPEAKER_CHARACTERS_MAX} characters."
        faults.append(Fault(pointer=pointer, message=message, code="too_long"))
    elif _CONTROL.search(value):
        message = "A name must be one line without control characters."
        faults.append(Fault(pointer=pointer, message=message, code="invalid_characters"))


def _number_check(low: float, high: float, *, whole: bool = False) -> _Check:
    """A check for None or a number in low..high."""
    noun = "a whole number" if whole else "a number"

    def check(value: Any, pointer: str, faults: list[Fault]) -> None:
        if value is None:
            return
        message = f"This must be {noun} from {low} to {high}."
        is_whole = isinstance(value, int) and not isinstance(value, bool)  # a bool is an int to Python
        is_fraction = isinstance(value, float) and math.isfinite(value)
        if not is_whole and (whole or not is_fraction):
            faults.append(Fault(pointer=pointer, message=message, code="wrong_type"))
        elif value < low:
            faults.append(Fault(pointer=pointer, message=message, code="too_small"))
        elif value > high:
            faults.append(Fault(pointer=pointer, message=message, code="too_large"))

    return check


def _optional_text(value: Any, pointer: str, faults: list[Fault]) -> None:
    if value is not None:
        _check_text(value, pointer, faults)


def _check_limits(value: Any, pointer: str, faults: list[Fault]) -> None:
    _check_object(value, pointer, _LIMIT_FIELDS, faults)


_GREETING_FIELDS: dict[str, _Check] = {"generate": _check_generate, "instructions": _optional_text}

_LIMIT_FIELDS: dict[str, _Check] = {
    "context_tokens": _number_check(CONTEXT_TOKENS_MIN, CONTEXT_TOKENS_MAX, whole=True),
    "output_tokens": _number_check(OUTPUT_TOKENS_MIN, OUTPUT_TOKENS_MAX, whole=True),
    "turn_seconds": _number_check(TURN_SECONDS_MIN, TURN_SECONDS_MAX),
}

_FIELDS: dict[str, _Check] = {
    "model": _check_model,
    "instructions": _check_text,
    "greeting": _check_greeting,
    "speaker": _check_speaker,
    "limits": _check_limits,
    "temperature": _number_check(TEMPERATURE_MIN, TEMPERATURE_MAX),
}
