"""The definitions in docs/agents, and the page that describes every field."""

import re
from pathlib import Path

import msgspec
import pytest

from api.agents import definition as definitions
from api.agents import templates
from api.agents.definition import ApprovalMode, Definition, ToolEffect, parse

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = sorted((DOCS / "agents").glob("*.json"))
SECTIONS = {
    "Definition": "The definition",
    "Greeting": "A greeting by the model",
    "Limits": "Limits of a turn",
    "Node": "Nodes",
    "Transition": "Transitions",
    "Variable": "Variables",
    "Tool": "Tools",
    "McpCall": "Tools",
    "HttpCall": "Requests",
}
"""Where the page describes the fields of each struct."""


def example(name: str) -> Definition:
    return parse((DOCS / "agents" / f"{name}.json").read_bytes())


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_every_example_can_be_published(file: Path) -> None:
    assert parse(file.read_bytes()).model.startswith("openai:")


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_every_example_is_on_the_page(file: Path) -> None:
    assert f"(agents/{file.name})" in (DOCS / "agents.md").read_text()


def test_the_examples_show_what_there_is() -> None:
    helper, clinic, operations = example("helper"), example("clinic"), example("operations")

    assert helper.nodes == ()
    assert any(transition.says for node in clinic.nodes for transition in node.transitions)
    assert any(node.extraction for node in clinic.nodes)
    assert any(node.end and node.resolution for node in clinic.nodes)
    assert {tool.effect for tool in operations.tools} == set(ToolEffect)
    assert {tool.approval for tool in operations.tools} == set(ApprovalMode)
    assert any(node.answer_schema for node in operations.nodes)


def test_what_an_example_names_in_its_instructions_is_learned_or_has_a_default() -> None:
    for file in EXAMPLES:
        recipe = parse(file.read_bytes())
        texts = [recipe.instructions, *(node.instructions for node in recipe.nodes)]
        for text in texts:
            for place in templates.parse(text).placeholders:
                assert place.default is not None, (file.stem, place.path)


def test_every_struct_has_its_section() -> None:
    structs = {
        name
        for name, struct in vars(definitions).items()
        if isinstance(struct, type) and issubclass(struct, msgspec.Struct) and name != "Fault"
    }

    assert SECTIONS.keys() == structs


@pytest.mark.parametrize(("name", "heading"), SECTIONS.items())
def test_the_page_describes_every_field(name: str, heading: str) -> None:
    page = (DOCS / "agents.md").read_text()
    (section,) = re.findall(rf"^##+ {heading}$(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)

    described = set(re.findall(r"`(\w+)`", section))

    assert set(getattr(definitions, name).__struct_fields__) <= described


def test_the_page_tells_the_defaults_as_they_are() -> None:
    page = (DOCS / "agents.md").read_text()
    defaults = {
        "iterations": definitions.ITERATIONS_DEFAULT,
        "hops": definitions.HOPS_DEFAULT,
        "approval_seconds": definitions.APPROVAL_SECONDS_DEFAULT,
        "timeout_seconds": definitions.TOOL_SECONDS_DEFAULT,
    }

    for field, default in defaults.items():
        (row,) = re.findall(rf"^\| `{field}` \|.*\| ([^|]+) \|$", page, re.MULTILINE)
        assert row.split()[0] == str(default)
