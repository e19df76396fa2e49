"""What holds between the fields of a definition: names are unique and known, every node can be reached.

Everything here reads JSON of which nothing is certain: what has no right form is a fault of its field
(`api.agents.fields`) and passed over, so that all faults can be told at once.
"""

from collections.abc import Iterator
from typing import Any

from api.agents import bounds
from api.agents.checks import say
from api.agents.faults import Fault, step
from api.agents.graph import check_graph
from api.agents.http_texts import places_of

_KINDS = ("http", "mcp", "function")


def check_rules(definition: Any, faults: list[Fault]) -> None:
    """Look at the definition as a whole."""
    if not isinstance(definition, dict):
        return
    tools = _objects(definition, "tools")
    _check_distinct(tools, "name", "/tools", "There is another tool of this name.", faults)
    for index, tool in tools:
        _check_tool(tool, f"/tools/{index}", faults)
    known = {tool["name"] for _, tool in tools if isinstance(tool.get("name"), str)}
    is_known = isinstance(definition.get("tools", []), list | tuple)
    nodes = _objects(definition, "nodes")
    for index, node in nodes:
        _check_node(node, f"/nodes/{index}", known if is_known else None, faults)
    if nodes:
        check_graph(nodes, faults)
    elif len(tools) > bounds.OFFERED_MAX:
        say(faults, "/tools", "too_many", f"A node can offer at most {bounds.OFFERED_MAX} tools.")


def _check_tool(tool: dict[str, Any], pointer: str, faults: list[Fault]) -> None:
    given = [kind for kind in _KINDS if tool.get(kind) is not None]
    if len(given) != 1:
        message = f"There must be exactly one of {', '.join(f'`{kind}`' for kind in _KINDS)}."
        say(faults, pointer, "exactly_one_of", message)
    http = tool.get("http")
    if not isinstance(http, dict):
        return
    if http.get("method") == "GET" and http.get("body") is not None:
        say(faults, f"{pointer}/http/body", "not_allowed", "A GET request has no body; use `query`.")
    if tool.get("parameters") is None:
        for place, placeholder in places_of(http):
            if placeholder.path[0] == "arguments":
                message = "This tool takes no arguments: it has no `parameters`."
                say(faults, f"{pointer}/http{place}", "unknown_name", message)


def _check_node(node: dict[str, Any], pointer: str, known: set[str] | None, faults: list[Fault]) -> None:
    names = _strings(node, "tools")
    seen: set[str] = set()
    for index, name in names:
        place = f"{pointer}/tools/{index}"
        if known is not None and name not in known:
            say(faults, place, "unknown_name", "There is no tool of this name.")
        elif name in seen:
            say(faults, place, "duplicate", "This tool is named twice.")
        seen.add(name)
    transitions = _objects(node, "transitions")
    message = "There is another transition with this label."
    _check_distinct(transitions, "label", f"{pointer}/transitions", message, faults)
    for index, transition in transitions:
        label = transition.get("label")
        if isinstance(label, str) and label in seen:
            place = f"{pointer}/transitions/{index}/label"
            say(faults, place, "duplicate", "A tool of this node has this name.")
    if len(names) + len(transitions) > bounds.OFFERED_MAX:
        message = f"A node can offer at most {bounds.OFFERED_MAX} tools and transitions."
        say(faults, pointer, "too_many", message)
    extraction = _objects(node, "extraction")
    message = "There is another variable of this name."
    _check_distinct(extraction, "name", f"{pointer}/extraction", message, faults)
    for index, variable in extraction:
        _check_values(variable, f"{pointer}/extraction/{index}", faults)
    _check_end(node, pointer, faults)


def _check_values(variable: dict[str, Any], pointer: str, faults: list[Fault]) -> None:
    values = _strings(variable, "values")
    if values and variable.get("type") in ("number", "integer", "boolean"):
        say(faults, f"{pointer}/values", "not_allowed", "Only a string can be held to certain values.")
    seen: set[str] = set()
    for index, value in values:
        if value in seen:
            say(faults, f"{pointer}/values/{index}", "duplicate", "This value is named twice.")
        seen.add(value)


def _check_end(node: dict[str, Any], pointer: str, faults: list[Fault]) -> None:
    if node.get("end") is True:
        for field, why in (
            ("transitions", "No transition leads out of an end node."),
            ("extraction", "An end node is not left, so nothing is learned in it."),
        ):
            if node.get(field):
                say(faults, pointer + step(field), "not_allowed", why)
    elif node.get("end", False) is False and node.get("resolution") is not None:
        say(faults, f"{pointer}/resolution", "not_allowed", "Only an end node has a resolution.")


def _check_distinct(
    items: list[tuple[int, dict[str, Any]]], field: str, pointer: str, message: str, faults: list[Fault]
) -> None:
    seen: set[str] = set()
    for index, item in items:
        name = item.get(field)
        if isinstance(name, str):
            if name in seen:
                say(faults, f"{pointer}/{index}/{field}", "duplicate", message)
            seen.add(name)


def _objects(value: dict[str, Any], field: str) -> list[tuple[int, dict[str, Any]]]:
    return [(index, item) for index, item in _listed(value, field) if isinstance(item, dict)]


def _strings(value: dict[str, Any], field: str) -> list[tuple[int, str]]:
    return [(index, item) for index, item in _listed(value, field) if isinstance(item, str)]


def _listed(value: dict[str, Any], field: str) -> Iterator[tuple[int, Any]]:
    listed = value.get(field)
    return enumerate(listed) if isinstance(listed, list | tuple) else enumerate(())
