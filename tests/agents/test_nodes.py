"""Definitions with nodes and tools: what is taken, and every fault in its place and words."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from api.agents import bounds
from api.agents.definition import (
    APPROVAL_SECONDS_DEFAULT,
    START_NODE,
    TOOL_SECONDS_DEFAULT,
    ApprovalMode,
    DefinitionRefused,
    Effort,
    McpCall,
    ToolEffect,
    VariableType,
    digest,
    parse,
)
from tests.agents.recipes import NODES, changed, faults_of, message_of


def test_nodes_and_tools_are_read() -> None:
    definition = parse(NODES)

    start, booking, done = definition.nodes
    book, search, refund = definition.tools
    assert (start.name, booking.reasoning, done.resolution) == (START_NODE, Effort.LOW, "served")
    assert [variable.type for variable in start.extraction] == [
        VariableType.STRING,
        VariableType.STRING,
        VariableType.INTEGER,
    ]
    assert (book.cost, book.effect, book.timeout_seconds) == (Decimal("0.05"), ToolEffect.IDEMPOTENT, 5)
    assert search.mcp == McpCall(server="records", tool="search.people")
    assert refund.approval is ApprovalMode.ALWAYS
    assert definition.tools_of(booking) == (book, refund)


def test_a_definition_without_nodes_is_one_that_offers_every_tool() -> None:
    recipe = changed("/nodes", [])

    definition = parse(recipe)

    node = definition.node(START_NODE)
    assert node is not None
    assert definition.tools_of(node) == definition.tools
    assert definition.node("booking") is None


def test_what_is_stored_is_read_again() -> None:
    definition = parse(NODES)

    assert parse(msgspec.json.encode(definition)) == definition


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/limits", {"iterations": 3, "hops": 2, "approval_seconds": 60, "context_tokens": None}),
        ("/tools/1/description", ""),
        ("/tools/1/approval", "never"),
        ("/tools/1/timeout_seconds", TOOL_SECONDS_DEFAULT),
        ("/tools/1/timeout_seconds", float(TOOL_SECONDS_DEFAULT)),
        ("/tools/1/http", None),
        ("/tools/0/timeout_seconds", 5.0),
        ("/nodes/0/end", False),
        ("/nodes/0/extraction/0/type", "string"),
        ("/nodes/0/extraction/0/values", []),
        ("/nodes/2/transitions", []),
    ],
)
def test_a_default_that_is_spelled_out_is_the_same_definition(pointer: str, value: Any) -> None:
    assert digest(parse(changed(pointer, value))) == digest(parse(NODES))


def test_the_default_limits_spelled_out_are_the_same_definition() -> None:
    spelled = msgspec.json.encode(
        {"model": "a:b", "limits": {"iterations": 8, "hops": 4, "approval_seconds": APPROVAL_SECONDS_DEFAULT}}
    )

    assert digest(parse(spelled)) == digest(parse({"model": "a:b"}))


TOOL: dict[str, Any] = {"name": "x", "function": "f", "effect": "read"}
TRANSITION: dict[str, Any] = {"to": "start", "label": "x", "condition": "Always."}


@pytest.mark.parametrize(
    ("pointer", "value", "at", "code"),
    [
        ("/limits/iterations", 0, None, "too_small"),
        ("/limits/iterations", None, None, "wrong_type"),
        ("/limits/hops", 17, None, "too_large"),
        ("/limits/approval_seconds", 0.5, None, "too_small"),
        ("/greeting", "Hello {{name", None, "invalid_template"),
        ("/greeting", "Hello {{secrets.a}}", None, "invalid_template"),
        (
            "/greeting",
            {"generate": True, "instructions": "{{}}"},
            "/greeting/instructions",
            "invalid_template",
        ),
        ("/instructions", "{{a b}}", None, "invalid_template"),
        ("/tools", None, None, "wrong_type"),
        ("/tools/3", "book", None, "wrong_type"),
        ("/tools/3", {"name": "x", "effect": "read"}, None, "exactly_one_of"),
        ("/tools/3", {**TOOL, "mcp": {"server": "a", "tool": "b"}}, None, "exactly_one_of"),
        ("/tools/3", {"function": "f", "effect": "read"}, "/tools/3/name", "required"),
        ("/tools/3", {"name": "x", "function": "f"}, "/tools/3/effect", "required"),
        ("/tools/3", {**TOOL, "effect": "write"}, "/tools/3/effect", "not_allowed"),
        ("/tools/3", {**TOOL, "effect": 1}, "/tools/3/effect", "wrong_type"),
        ("/tools/3", {**TOOL, "approval": "sometimes"}, "/tools/3/approval", "not_allowed"),
        ("/tools/3", {**TOOL, "name": "two words"}, "/tools/3/name", "invalid_format"),
        ("/tools/3", {**TOOL, "name": "é"}, "/tools/3/name", "invalid_format"),
        ("/tools/3", {**TOOL, "name": "x" * 65}, "/tools/3/name", "invalid_format"),
        ("/tools/3", {**TOOL, "name": "x" * 999}, "/tools/3/name", "too_long"),
        ("/tools/3", {**TOOL, "name": "book"}, "/tools/3/name", "duplicate"),
        ("/tools/3", {**TOOL, "function": "rm -rf"}, "/tools/3/function", "invalid_format"),
        ("/tools/3", {**TOOL, "timeout_seconds": 0}, "/tools/3/timeout_seconds", "too_small"),
        ("/tools/3", {**TOOL, "timeout_seconds": 601}, "/tools/3/timeout_seconds", "too_large"),
        ("/tools/3", {**TOOL, "cost": 0.05}, "/tools/3/cost", "wrong_type"),
        ("/tools/3", {**TOOL, "cost": "-1"}, "/tools/3/cost", "invalid_format"),
        ("/tools/3", {**TOOL, "cost": "NaN"}, "/tools/3/cost", "invalid_format"),
        ("/tools/3", {**TOOL, "descripton": "x"}, "/tools/3/descripton", "unknown_field"),
        ("/tools/3", {**TOOL, "description": "x" * 5_000}, "/tools/3/description", "too_long"),
        ("/tools/1/mcp", {"server": "records"}, "/tools/1/mcp/tool", "required"),
        ("/nodes/1/tools/0", "books", None, "unknown_name"),
        ("/nodes/1/tools/1", "book", None, "duplicate"),
        ("/nodes/1/transitions/0/to", "strat", None, "unknown_name"),
        ("/nodes/1/transitions/0/label", "book", None, "duplicate"),
        (
            "/nodes/1/transitions/1",
            {**TRANSITION, "label": "back"},
            "/nodes/1/transitions/1/label",
            "duplicate",
        ),
        ("/nodes/1/transitions/0/label", "go back", None, "invalid_format"),
        ("/nodes/1/transitions/0/condition", " ", None, "blank"),
        ("/nodes/1/transitions/0/condition", ..., None, "required"),
        ("/nodes/0/transitions/0/says", "{{name", None, "invalid_template"),
        ("/nodes/0/transitions/0/says", "", None, "blank"),
        ("/nodes/0/instructions", "{{.}}", None, "invalid_template"),
        ("/nodes/0/extraction/0/name", "first name", None, "invalid_format"),
        ("/nodes/0/extraction/0/name", "1st", None, "invalid_format"),
        ("/nodes/0/extraction/0/name", "context", None, "not_allowed"),
        ("/nodes/0/extraction/0/name", "mood", "/nodes/0/extraction/1/name", "duplicate"),
        ("/nodes/0/extraction/0/type", "date", None, "not_allowed"),
        ("/nodes/0/extraction/2/values", ["1"], None, "not_allowed"),
        ("/nodes/0/extraction/1/values/1", "good", None, "duplicate"),
        ("/nodes/0/extraction/1/values/1", " ", None, "blank"),
        ("/nodes/0/end", 1, None, "wrong_type"),
        ("/nodes/0/reasoning", "much", None, "not_allowed"),
        ("/nodes/0/resolution", "never", None, "not_allowed"),
        ("/nodes/2/resolution", "a\nb", None, "invalid_characters"),
        ("/nodes/2/transitions", [TRANSITION], None, "not_allowed"),
        ("/nodes/2/extraction", [{"name": "x"}], None, "not_allowed"),
        ("/nodes/0/answer_schema", {"type": "array"}, "/nodes/0/answer_schema/type", "invalid_schema"),
        ("/nodes/3", {"name": "island"}, None, "unreachable"),
        ("/nodes/3", 5, None, "wrong_type"),
        ("/nodes/0/speaks", True, None, "unknown_field"),
    ],
)
def test_a_fault_is_told_where_it_is(pointer: str, value: Any, at: str | None, code: str) -> None:
    assert faults_of(changed(pointer, value)) == [(at or pointer, code)]


def test_two_nodes_of_one_name_are_told() -> None:
    recipe = changed("/nodes/3", {"name": "done", "end": True})

    assert faults_of(recipe) == [("/nodes/3/name", "duplicate")]


def test_nodes_need_a_start() -> None:
    lonely = {"model": "a:b", "nodes": [{"name": "first"}]}

    assert faults_of(lonely) == [("/nodes", "required")]


def test_a_session_does_not_begin_at_its_end() -> None:
    over = {"model": "a:b", "nodes": [{"name": "start", "end": True}]}

    assert faults_of(over) == [("/nodes/0/end", "not_allowed")]


def test_a_circle_that_the_start_does_not_lead_to_is_unreachable() -> None:
    nodes = [
        {"name": "start"},
        {"name": "a", "transitions": [{"to": "b", "label": "x", "condition": "."}]},
        {"name": "b", "transitions": [{"to": "a", "label": "x", "condition": "."}]},
    ]

    assert faults_of({"model": "a:b", "nodes": nodes}) == [
        ("/nodes/1", "unreachable"),
        ("/nodes/2", "unreachable"),
    ]


def test_a_node_may_lead_to_itself() -> None:
    again = {"to": "start", "label": "again", "condition": "Once more."}

    assert parse({"model": "a:b", "nodes": [{"name": "start", "transitions": [again]}]})


@pytest.mark.parametrize(
    ("pointer", "value", "message"),
    [
        (
            "/nodes/1/transitions/0/to",
            "strat",
            "Node `booking`, transition `back`, `to`: There is no node of this name.",
        ),
        ("/nodes/1/tools/0", "x", "Node `booking`, `tools/0`: There is no tool of this name."),
        ("/nodes/2/end", 1, "Node `done`, `end`: This must be true or false."),
        (
            "/nodes/0/extraction/1/type",
            "x",
            "Node `start`, variable `mood`, `type`: This must be one of `string`, `number`, `integer`, "
            "`boolean`.",
        ),
        ("/tools/2/cost", 5, "Tool `refund`, `cost`: This must be a string."),
        ("/nodes/3", {"name": "b", "\x00": 1}, None),
        ("/model", 5, "This must be a string."),
    ],
)
def test_a_message_names_node_and_field(pointer: str, value: Any, message: str | None) -> None:
    if message is not None:
        assert message_of(changed(pointer, value)) == message
    else:
        assert len(faults_of(changed(pointer, value))) == 2


def test_a_node_without_a_proper_name_is_named_by_its_number() -> None:
    message = message_of(changed("/nodes/3", {"name": "no name\n"}))

    assert message.startswith("Node number 4, `name`: ")


def test_faults_of_fields_and_of_the_whole_are_told_together() -> None:
    recipe = changed("/nodes/1/transitions/0/to", "nowhere")
    recipe["model"] = "gpt"
    recipe["tools"][0]["http"]["url"] = "ftp://x"

    assert faults_of(recipe) == [
        ("/model", "invalid_format"),
        ("/tools/0/http/url", "invalid_format"),
        ("/nodes/1/transitions/0/to", "unknown_name"),
    ]


@pytest.mark.parametrize(
    ("recipe", "pointer"),
    [
        ({"nodes": [{"name": f"n{number}"} for number in range(bounds.NODES_MAX + 1)]}, "/nodes"),
        (
            {"tools": [{**TOOL, "name": f"t{number}"} for number in range(bounds.TOOLS_MAX + 1)]},
            "/tools",
        ),
        (
            {"nodes": [{"name": "start", "extraction": [{"name": f"v{number}"} for number in range(33)]}]},
            "/nodes/0/extraction",
        ),
        (
            {
                "tools": [{**TOOL, "name": f"t{number}"} for number in range(100)],
                "nodes": [
                    {
                        "name": "start",
                        "tools": [f"t{number}" for number in range(100)],
                        "transitions": [{**TRANSITION, "label": f"l{number}"} for number in range(29)],
                    }
                ],
            },
            "/nodes/0",
        ),
    ],
)
def test_there_is_an_end_to_everything(recipe: dict[str, Any], pointer: str) -> None:
    assert (pointer, "too_many") in faults_of({"model": "a:b", **recipe})


def test_a_definition_has_a_size_limit() -> None:
    nodes = [{"name": "start", "instructions": "x" * 32_000}]
    for number in range(7):
        nodes[-1]["transitions"] = [{"to": f"n{number}", "label": "on", "condition": "."}]  # type: ignore[assignment]
        nodes.append({"name": f"n{number}", "instructions": "x" * 32_000})

    assert faults_of({"model": "a:b", "nodes": nodes}) == [("", "too_large")]
    assert faults_of(b" " * 1_000_000) == [("", "too_large")]


def test_a_definition_has_a_depth_limit() -> None:
    deep: Any = 1
    for _ in range(bounds.DEPTH_MAX):
        deep = [deep]

    assert faults_of({"model": "a:b", "nodes": deep}) == [("", "too_deep")]


def test_no_more_faults_are_told_than_anyone_reads() -> None:
    with pytest.raises(DefinitionRefused) as caught:
        parse({"model": "a:b", **{f"f{number}": 1 for number in range(5_000)}})

    assert len(caught.value.faults) == bounds.FAULTS_MAX
