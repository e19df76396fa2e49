"""What is wrong with a definition: where, in words and for programs."""

import re
from typing import Any

import msgspec

from api.agents.bounds import NAME

_STEP_CHARACTERS_MAX = 128


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a definition."""

    pointer: str
    """Where, as a JSON pointer into the definition (RFC 6901); the empty string is the whole of it."""
    message: str
    """Names the node or tool and the field, then what is wrong; for people."""
    code: str
    """`invalid_json required unknown_field wrong_type not_allowed exactly_one_of blank too_long too_many
    too_large too_small too_deep invalid_characters invalid_format invalid_template invalid_schema duplicate
    unknown_name unreachable`."""


class DefinitionRefused(Exception):
    """The definition has faults; all of them are told."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{fault.pointer or '/'}: {fault.message}" for fault in faults))
        self.faults = faults


def step(name: object) -> str:
    """Write one step of a JSON pointer, its slash included; a very long name is cut."""
    text = str(name)
    if len(text) > _STEP_CHARACTERS_MAX:
        text = f"{text[:_STEP_CHARACTERS_MAX]}..."
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "/" + text.replace("~", "~0").replace("/", "~1")


def in_words(definition: Any, fault: Fault) -> Fault:
    """Begin a fault's message with the place: node or tool by name, then the field."""
    words = _place(definition, fault.pointer)
    if not words:
        return fault
    return msgspec.structs.replace(fault, message=f"{words}: {fault.message}")


_NAMED = {
    "nodes": ("node", "name"),
    "tools": ("tool", "name"),
    "transitions": ("transition", "label"),
    "extraction": ("variable", "name"),
}


def _place(definition: Any, pointer: str) -> str:
    """Say where a pointer leads; nothing for what has no name of its own around it."""
    steps = pointer.split("/")[1:]
    words: list[str] = []
    found = definition
    while len(steps) >= 2 and steps[0] in _NAMED and isinstance(found, dict):
        listed, index = found.get(steps[0]), steps[1]
        if not (isinstance(listed, list) and index.isdecimal() and int(index) < len(listed)):
            break
        found = listed[int(index)]
        noun, field = _NAMED[steps[0]]
        if words and noun == "tool":
            break  # a node's list of tools' names: the field says enough
        words.append(f"{noun} {_called(found, field, int(index))}")
        steps = steps[2:]
    if not words:
        return ""
    if steps:
        words.append(f"`{'/'.join(steps)}`")
    place = ", ".join(words)
    return place[0].upper() + place[1:]


def _called(item: Any, field: str, index: int) -> str:
    name = item.get(field) if isinstance(item, dict) else None
    # What is no name is not repeated: it may be anything.
    return f"`{name}`" if isinstance(name, str) and re.fullmatch(NAME, name) else f"number {index + 1}"
