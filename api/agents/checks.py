"""Checks of one value each, made for a field by its bounds; they tell every fault and raise nothing."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from api.agents import bounds, templates
from api.agents.faults import Fault, step

Check: TypeAlias = Callable[[Any, str, list[Fault]], None]
"""Given a value, its pointer, and the faults so far, to which it adds."""


def say(faults: list[Fault], pointer: str, code: str, message: str) -> None:
    """Add a fault."""
    faults.append(Fault(pointer=pointer, message=message, code=code))


def optional(check: Check) -> Check:
    """A check for null, or what `check` takes."""

    def run(value: Any, pointer: str, faults: list[Fault]) -> None:
        if value is not None:
            check(value, pointer, faults)

    return run


def text(
    *, bytes_max: int = bounds.TEXT_BYTES_MAX, may_be_blank: bool = True, one_line: bool = False
) -> Check:
    """A check for a string."""

    def run(value: Any, pointer: str, faults: list[Fault]) -> None:
        if not isinstance(value, str):
            say(faults, pointer, "wrong_type", "This must be a string.")
        elif bounds.NOT_STORABLE.search(value):
            message = "This must contain neither U+0000 nor lone surrogates."
            say(faults, pointer, "invalid_characters", message)
        elif len(value.encode()) > bytes_max:
            say(faults, pointer, "too_long", f"This must be at most {bytes_max} bytes of UTF-8.")
        elif not may_be_blank and not value.strip():
            say(faults, pointer, "blank", "This must not be blank.")
        elif one_line and bounds.CONTROL.search(value):
            say(faults, pointer, "invalid_characters", "This must be one line without control characters.")

    return run


def line(characters_max: int, *, may_be_blank: bool = False) -> Check:
    """A check for a string of one line that people read as a name."""
    is_text = text(may_be_blank=may_be_blank, one_line=True)

    def run(value: Any, pointer: str, faults: list[Fault]) -> None:
        before = len(faults)
        is_text(value, pointer, faults)
        if len(faults) == before and len(value) > characters_max:
            say(faults, pointer, "too_long", f"This must be at most {characters_max} characters.")

    return run


def form(pattern: str, message: str, *, characters_max: int = bounds.FOREIGN_NAME_CHARACTERS_MAX) -> Check:
    """A check for a string of a certain form; `message` says which."""
    compiled = re.compile(pattern)
    is_text = text()

    def run(value: Any, pointer: str, faults: list[Fault]) -> None:
        before = len(faults)
        is_text(value, pointer, faults)
        if len(faults) > before:
            return
        if len(value) > characters_max:
            say(faults, pointer, "too_long", f"This must be at most {characters_max} characters.")
        elif not compiled.fullmatch(value):
            say(faults, pointer, "invalid_format", message)

    return run


def one_of(values: Sequence[str]) -> Check:
    """A check for one of a few words."""
    words = ", ".join(f"`{value}`" for value in values)

    def run(value: Any, pointer: str, faults: list[Fault]) -> None:
        if not isinstance(value, str):
            say(faults, pointer, "wrong_type", "This must be a string.")
        elif value not in values:
            say(faults, pointer, "not_allowed", f"This must be one of {words}.")

    return run


def boolean(value: Any, pointer: str, faults: list[Fault]) -> None:
    """Check for true or false."""
    if not isinstance(value, bool):
        say(faults, pointer, "wrong_type", "This must be true or false.")


def number(low: float, high: float, *, whole: bool = False) -> Check:
    """A check for a number in low..high."""
    noun = "a whole number" if whole else "a number"

    def run(value: Any, pointer: str, faults: list[Fault]) -> None:
        message = f"This must be {noun} from {low} to {high}."
        is_whole = isinstance(value, int) and not isinstance(value, bool)  # a bool is an int to Python
        is_fraction = isinstance(value, float) and math.isfinite(value)
        if not is_whole and (whole or not is_fraction):
            say(faults, pointer, "wrong_type", message)
        elif value < low:
            say(faults, pointer, "too_small", message)
        elif value > high:
            say(faults, pointer, "too_large", message)

    return run


def fields(checks: dict[str, Check], *, required: tuple[str, ...] = ()) -> Check:
    """A check for an object with these fields and no others."""

    def run(value: Any, pointer: str, faults: list[Fault]) -> None:
        if not isinstance(value, dict):
            say(faults, pointer, "wrong_type", "This must be an object.")
            return
        for name in required:
            if name not in value:
                say(faults, pointer + step(name), "required", "This is required.")
        for name, check in checks.items():
            if name in value:
                check(value[name], pointer + step(name), faults)
        for name in value:
            if name not in checks:
                message = f"There is no such field; there are {', '.join(checks)}."
                say(faults, pointer + step(name), "unknown_field", message)

    return run


def items(check: Check, *, count_max: int) -> Check:
    """A check for an array."""

    def run(value: Any, pointer: str, faults: list[Fault]) -> None:
        if not isinstance(value, list | tuple):
            say(faults, pointer, "wrong_type", "This must be an array.")
            return
        if len(value) > count_max:
            say(faults, pointer, "too_many", f"There are {len(value)}; at most {count_max} are allowed.")
            return
        for index, item in enumerate(value):
            check(item, f"{pointer}/{index}", faults)

    return run


def entries(*, names: str, names_message: str, values: Check, count_max: int) -> Check:
    """A check for an object whose names the caller chooses."""
    is_name = form(names, names_message)

    def run(value: Any, pointer: str, faults: list[Fault]) -> None:
        if not isinstance(value, dict):
            say(faults, pointer, "wrong_type", "This must be an object.")
            return
        if len(value) > count_max:
            say(faults, pointer, "too_many", f"There are {len(value)}; at most {count_max} are allowed.")
            return
        for name, item in value.items():
            is_name(name, pointer + step(name), faults)
            values(item, pointer + step(name), faults)

    return run


def template(is_text: Check) -> Check:
    """A check for a text with places that see context and variables."""

    def run(value: Any, pointer: str, faults: list[Fault]) -> None:
        before = len(faults)
        is_text(value, pointer, faults)
        if len(faults) > before:
            return
        for place in places(value, pointer, faults):
            if place.path[0] == "secrets":
                message = "`secrets` can be used in the texts of HTTP tools alone."
                say(faults, pointer, "invalid_template", message)

    return run


def places(value: str, pointer: str, faults: list[Fault]) -> tuple[templates.Placeholder, ...]:
    """Read a template and give its places; none, and a fault, where it cannot be read."""
    try:
        return templates.parse(value).placeholders
    except templates.TemplateFault as fault:
        say(faults, pointer, "invalid_template", str(fault))
        return ()


def storable(value: Any, pointer: str, faults: list[Fault]) -> None:
    """Check that JSON of any form can be stored and read again as it was."""
    pending: list[tuple[Any, str]] = [(value, pointer)]
    while pending:
        item, place = pending.pop()
        names = item if isinstance(item, dict) else [item] if isinstance(item, str) else ()
        if any(bounds.NOT_STORABLE.search(name) for name in names):
            message = "This must contain neither U+0000 nor lone surrogates."
            say(faults, place, "invalid_characters", message)
        elif isinstance(item, dict):
            pending += [(inner, place + step(name)) for name, inner in item.items()]
        elif isinstance(item, list):
            pending += [(inner, f"{place}/{index}") for index, inner in enumerate(item)]
        elif isinstance(item, float) and not math.isfinite(item):
            say(faults, place, "wrong_type", "This must be a finite number.")
        elif isinstance(item, int) and not -(2**63) <= item < 2**63:
            say(faults, place, "too_large", "This must fit in 64 bits.")
