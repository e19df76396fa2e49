"""Tools and conversations with calls, as the tests of this folder send them."""

from typing import Any

from api.models.base import Message, ToolCall, ToolSpec

LOOKUP = ToolSpec(
    name="lookup",
    description="What a day brings.",
    parameters={"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]},
)
BOOK = ToolSpec(name="go_to_booking", description="Go on to booking.", parameters={"type": "object"})

MONDAY = '{"day":"monday"}'

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
"""A schema that providers can guarantee."""

LOOSE: dict[str, Any] = {"type": "object", "properties": {"name": {"type": "string", "minLength": 2}}}
"""One that they cannot."""


def asked(*names: str, text: str = "", first_id: int = 1, arguments: str = MONDAY) -> Message:
    """The assistant asks for calls; their ids are `call_1` and so on."""
    calls = tuple(
        ToolCall(id=f"call_{number}", name=name, arguments=arguments)
        for number, name in enumerate(names, start=first_id)
    )
    return Message(role="assistant", text=text, tool_calls=calls)


def answered(text: str, number: int = 1) -> Message:
    """A tool answers `call_<number>`."""
    return Message(role="tool", text=text, tool_call_id=f"call_{number}")


def user(text: str) -> Message:
    """The user speaks."""
    return Message(role="user", text=text)
