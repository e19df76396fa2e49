"""Whatever stands in whatever place of a definition: it is read, or its faults lead somewhere."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.agents.definition import DefinitionRefused, Fault, digest, parse
from api.agents.diff import diff
from tests.agents.recipes import NODES, changed


def places(value: Any, pointer: str = "") -> Iterator[str]:
    """Every place in a JSON value, and one behind the end of each array and object."""
    if pointer:
        yield pointer
    if isinstance(value, dict):
        yield f"{pointer}/new"
        for name, inner in value.items():
            yield from places(inner, f"{pointer}/{name}")
    elif isinstance(value, list):
        yield f"{pointer}/{len(value)}"
        for index, inner in enumerate(value):
            yield from places(inner, f"{pointer}/{index}")


def leads_somewhere(definition: Any, fault: Fault) -> bool:
    """A fault's pointer names a place that is there, or one that is missing where there could be one."""
    found = definition
    steps = [step.replace("~1", "/").replace("~0", "~") for step in fault.pointer.split("/")[1:]]
    for index, step in enumerate(steps):
        if isinstance(found, dict) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            return index == len(steps) - 1 and fault.code in ("required", "invalid_schema")
    return True


TEXT = st.text(alphabet="ab_{}|.$~/ é\n", max_size=8) | st.sampled_from(
    [
        "start",
        "done",
        "book",
        "{{name}}",
        "{{secrets.a}}",
        "https://a.example/{{arguments.x}}",
        "object",
        "#/$defs/a",
    ]
)
NAMES = TEXT | st.sampled_from(
    ["name", "to", "tools", "nodes", "type", "$ref", "properties", "end", "http", "url", "values", "generate"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 70) | st.sampled_from([0.5, 2**64, -0.0]) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
PLACES = st.sampled_from(sorted(set(places(NODES))))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(st.tuples(PLACES, JSON), min_size=1, max_size=2))
def test_whatever_is_changed_it_is_read_or_refused_with_faults_that_lead_somewhere(
    changes: list[tuple[str, Any]],
) -> None:
    recipe = NODES
    for pointer, value in changes:
        try:
            recipe = changed(pointer, value, recipe=recipe)
        except (KeyError, IndexError, ValueError, TypeError):
            continue  # the place went with the first change
    before = json.dumps(recipe)

    try:
        definition = parse(recipe)
    except DefinitionRefused as refused:
        lost = [fault for fault in refused.faults if not leads_somewhere(recipe, fault)]
    else:
        lost = []
        again = parse(msgspec.json.encode(definition))
        assert (again, digest(again)) == (definition, digest(definition))
        assert diff(definition, again) == ()

    assert lost == []
    assert json.dumps(recipe) == before
