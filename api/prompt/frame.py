"""The frame of a model call: everything it is shown beside the earlier turns and the user's message."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from api.agents import templates
from api.agents.definition import Definition, Greeting, Node, Transition, Variable, VariableType
from api.models.base import Message, ToolSpec
from api.session.document import Turn

_NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}

EXTRACTION_INSTRUCTIONS = (
    "Read the conversation and note what it says about each field. Answer with the JSON document alone. "
    "Write null for a field that the conversation does not settle; never guess."
)


class Frame(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the current turn adds to a call."""

    node: str
    """Where the agent is."""
    instructions: str
    messages: tuple[Message, ...] = ()
    """What the turn's own calls have brought so far; they follow the user's message."""
    tools: tuple[ToolSpec, ...] = ()
    answer_schema: dict[str, Any] | None = None
    reasoning: str | None = None


def of_reply(
    definition: Definition,
    node: Node,
    turn: Turn,
    *,
    context: Mapping[str, Any],
    variables: Mapping[str, Any],
    messages: tuple[Message, ...] = (),
    tools: tuple[ToolSpec, ...] = (),
) -> Frame:
    """The frame of a call that is to speak, or to ask for tools, in a node."""
    values = templates.scope(context, variables)
    texts = templates_of_reply(definition, node, turn)
    rendered = [templates.render(templates.read(text), values) for text in texts]
    return Frame(
        node=node.name,
        instructions="\n\n".join(text for text in rendered if text),
        messages=messages,
        tools=tools,
        answer_schema=node.answer_schema,
        reasoning=node.reasoning,
    )


def templates_of_reply(definition: Definition, node: Node, turn: Turn) -> list[str]:
    """The texts that the instructions of such a call are rendered from, in order."""
    greeting = definition.greeting
    texts = [definition.instructions, node.instructions]
    if turn.user_message is None and isinstance(greeting, Greeting):
        texts.append(greeting.instructions or "")
    return [text for text in texts if text]


def of_extraction(node: Node, *, messages: tuple[Message, ...]) -> Frame:
    """The frame of the call that learns a node's variables when it is left."""
    return Frame(
        node=node.name,
        instructions=EXTRACTION_INSTRUCTIONS,
        messages=messages,
        answer_schema=extraction_schema(node.extraction),
    )


def extraction_schema(variables: Sequence[Variable]) -> dict[str, Any]:
    """JSON Schema of what an extraction answers: every variable, each of its type or null."""
    return {
        "type": "object",
        "properties": {variable.name: _schema(variable) for variable in variables},
        "required": [variable.name for variable in variables],
        "additionalProperties": False,
    }


def transition_specs(transitions: Sequence[Transition]) -> tuple[ToolSpec, ...]:
    """The ways out of a node, as the model is told of them."""
    return tuple(
        ToolSpec(name=transition.label, description=transition.condition, parameters=_NO_ARGUMENTS)
        for transition in transitions
    )


def _schema(variable: Variable) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": [variable.type.value, "null"]}
    if variable.description:
        schema["description"] = variable.description
    if variable.values and variable.type is VariableType.STRING:
        schema["enum"] = [*variable.values, None]
    return schema
