"""The graph of nodes and transitions: one start, no way to nowhere, no node that nobody can reach."""

import re
from collections.abc import Iterator
from typing import Any, TypeGuard

from api.agents.bounds import NAME
from api.agents.checks import say
from api.agents.definition import START_NODE
from api.agents.faults import Fault


def check_graph(nodes: list[tuple[int, dict[str, Any]]], faults: list[Fault]) -> None:
    """Follow the transitions from the start. `nodes` come with their index in the definition."""
    before = len(faults)
    named: dict[str, tuple[int, dict[str, Any]]] = {}
    for index, node in nodes:
        name = node.get("name")
        if _is_name(name):
            if name in named:
                say(faults, f"/nodes/{index}/name", "duplicate", "There is another node of this name.")
            named.setdefault(name, (index, node))
    leads_nowhere = False
    for index, node in nodes:
        for place, to in _ways(node):
            leads_nowhere |= to not in named
            if _is_name(to) and to not in named:
                pointer = f"/nodes/{index}/transitions/{place}/to"
                say(faults, pointer, "unknown_name", "There is no node of this name.")
    if START_NODE not in named:
        message = f"One node must be called `{START_NODE}`: every session begins there."
        say(faults, "/nodes", "required", message)
        return
    start_index, start = named[START_NODE]
    if start.get("end") is True:
        message = "The first node is no end: a session would be over before it began."
        say(faults, f"/nodes/{start_index}/end", "not_allowed", message)
    # With a name missing or double, or a way to nowhere, what cannot be reached would be a guess.
    if not leads_nowhere and len(faults) == before and len(named) == len(nodes):
        reached = _reached({name: node for name, (_, node) in named.items()})
        for name, (index, _) in named.items():
            if name not in reached:
                message = f"No transition leads here from `{START_NODE}`, directly or by way of others."
                say(faults, f"/nodes/{index}", "unreachable", message)


def _is_name(value: Any) -> TypeGuard[str]:
    """What has not the form of a name is told as such, and is no name here."""
    return isinstance(value, str) and re.fullmatch(NAME, value) is not None


def _reached(nodes: dict[str, dict[str, Any]]) -> set[str]:
    reached, pending = {START_NODE}, [START_NODE]
    while pending:
        for _, name in _ways(nodes[pending.pop()]):
            if name not in reached:
                reached.add(name)
                pending.append(name)
    return reached


def _ways(node: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Where a node's transitions lead, each with its index; an empty name where that cannot be read."""
    transitions = node.get("transitions", ())
    if not isinstance(transitions, list | tuple):
        transitions = (transitions,)
    for index, transition in enumerate(transitions):
        to = transition.get("to") if isinstance(transition, dict) else None
        yield index, to if isinstance(to, str) else ""
