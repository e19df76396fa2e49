"""What is different between two definitions, field by field.

Nodes, tools and variables are matched by name, transitions by label; in pointers the name stands where an
index would: `/nodes/booking/instructions`. All else that is an array is compared as a whole.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from api.agents.definition import Definition
from api.agents.faults import step

_MATCHED = {"nodes": "name", "tools": "name", "transitions": "label", "extraction": "name"}
"""The arrays whose items have names, and the fields of these."""


class Difference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One place at which two definitions differ. What stands on one side only has nothing on the other."""

    pointer: str
    before: Any = msgspec.UNSET
    after: Any = msgspec.UNSET


def diff(before: Definition, after: Definition) -> tuple[Difference, ...]:
    """List what has changed, in the order of the fields; what is left out and what is spelled out are one."""
    return tuple(_of_objects(msgspec.to_builtins(before), msgspec.to_builtins(after), ""))


def _of_objects(before: dict[str, Any], after: dict[str, Any], pointer: str) -> Iterator[Difference]:
    for field in [*before, *(name for name in after if name not in before)]:
        place = pointer + step(field)
        old, new = before.get(field, msgspec.UNSET), after.get(field, msgspec.UNSET)
        key = _MATCHED.get(field)
        if key is not None and _is_matchable(old, key) and _is_matchable(new, key):
            yield from _of_named(old or (), new or (), key, place)
        else:
            yield from _of_values(old, new, place)


def _of_values(old: Any, new: Any, pointer: str) -> Iterator[Difference]:
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _of_objects(old, new, pointer)
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield Difference(pointer=pointer, before=old, after=new)


def _of_named(old: Any, new: Any, key: str, pointer: str) -> Iterator[Difference]:
    before = {item[key]: item for item in old}
    after = {item[key]: item for item in new}
    for name in [*before, *(name for name in after if name not in before)]:
        place = pointer + step(name)
        yield from _of_values(before.get(name, msgspec.UNSET), after.get(name, msgspec.UNSET), place)
    kept_before = [name for name in before if name in after]
    kept_after = [name for name in after if name in before]
    if kept_before != kept_after:
        yield Difference(pointer=pointer, before=kept_before, after=kept_after)


def _is_matchable(value: Any, key: str) -> bool:
    """An array of objects with names; one that is left out is empty.

    Within a JSON Schema or a body, fields that happen to be called alike may hold anything.
    """
    if value is msgspec.UNSET:
        return True
    if not isinstance(value, list | tuple):
        return False
    names = [item.get(key) if isinstance(item, dict) else None for item in value]
    return all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
