"""What is different between two definitions."""

import copy
from typing import Any

from api.agents.definition import parse
from api.agents.diff import diff
from tests.agents.recipes import NODES, changed


def differences(after: dict[str, Any], before: dict[str, Any] = NODES) -> list[tuple[str, Any, Any]]:
    """Where, and what stood and stands there; `...` where nothing does."""
    return [
        (found.pointer, found.before or ..., found.after or ...)
        for found in diff(parse(before), parse(after))
    ]


def test_the_same_definition_has_no_differences() -> None:
    assert differences(copy.deepcopy(NODES)) == []
    assert differences(changed("/nodes/1/end", False)) == []


def test_a_field_is_told_with_what_it_was_and_is() -> None:
    recipe = changed("/instructions", "Be brief.")
    recipe["limits"]["hops"] = 3
    del recipe["greeting"]
    recipe["temperature"] = 1

    assert differences(recipe) == [
        ("/instructions", NODES["instructions"], "Be brief."),
        ("/greeting", NODES["greeting"], ...),
        ("/limits/hops", 2, 3),
        ("/temperature", ..., 1.0),
    ]


def test_nodes_tools_and_transitions_are_matched_by_name() -> None:
    recipe = copy.deepcopy(NODES)
    recipe["nodes"].insert(1, {"name": "aside", "end": True})
    recipe["nodes"][2]["instructions"] = "Find another slot."
    recipe["nodes"][0]["transitions"].insert(0, {"to": "aside", "label": "off", "condition": "Off topic."})
    recipe["nodes"][0]["transitions"][1]["condition"] = "The caller wants two."
    recipe["tools"][0]["http"]["body"]["slots"] = []

    assert differences(recipe) == [
        ("/tools/book/http/body/slots", ["{{arguments.slot}}"], ...),
        (
            "/nodes/start/transitions/go_booking/condition",
            "The caller wants a slot.",
            "The caller wants two.",
        ),
        (
            "/nodes/start/transitions/off",
            ...,
            {"to": "aside", "label": "off", "condition": "Off topic."},
        ),
        ("/nodes/booking/instructions", "Find a slot.", "Find another slot."),
        ("/nodes/aside", ..., {"name": "aside", "end": True}),
    ]


def test_another_order_is_a_difference_of_its_own() -> None:
    recipe = copy.deepcopy(NODES)
    recipe["nodes"].reverse()

    assert differences(recipe) == [("/nodes", ["start", "booking", "done"], ["done", "booking", "start"])]


def test_everything_may_be_new() -> None:
    found = differences(NODES, before={"model": "scripted:demo"})

    assert [pointer for pointer, _, _ in found] == [
        "/instructions",
        "/greeting",
        "/limits",
        "/tools/book",
        "/tools/search",
        "/tools/refund",
        "/nodes/start",
        "/nodes/booking",
        "/nodes/done",
    ]


def test_what_is_called_alike_within_a_schema_is_no_node() -> None:
    before = changed("/tools/0/parameters/properties/slot", {"enum": [1], "nodes": [{"name": 1}]})
    after = changed("/tools/0/parameters/properties/slot", {"enum": [1], "nodes": [{"name": 2}]})

    assert differences(after, before) == [
        ("/tools/book/parameters/properties/slot/nodes", [{"name": 1}], [{"name": 2}])
    ]
