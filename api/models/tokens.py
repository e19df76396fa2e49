"""How many tokens a text is when no provider counted it: one rule for estimates and the scripted model."""

import msgspec

from api.models.base import Message, ModelRequest, ToolCall, ToolSpec

_BYTES_PER_TOKEN = 4
_MESSAGE_TOKENS = 4


def estimate_text_tokens(text: str) -> int:
    """One token for every 4 bytes of UTF-8 begun.

    English runs at 4.0-4.5 bytes a token with today's tokenizers, other scripts and program code at 2.5-4,
    so the estimate errs low there; whoever must stay below a limit keeps a margin.
    """
    return tokens_for_bytes(len(text.encode()))


def tokens_for_bytes(count: int) -> int:
    """The same for a text whose length in UTF-8 is known."""
    return -(-count // _BYTES_PER_TOKEN)


def estimate_message_tokens(text: str, name: str | None = None) -> int:
    """The text, the speaker's name if one is sent, and 4 tokens for the frame around every message."""
    name_tokens = 0 if name is None else estimate_text_tokens(name + ": ")
    return _MESSAGE_TOKENS + name_tokens + estimate_text_tokens(text)


def estimate_call_tokens(call: ToolCall) -> int:
    """The tool's name, the arguments and the frame around them."""
    return estimate_message_tokens(call.name + call.arguments)


def estimate_tool_tokens(tool: ToolSpec) -> int:
    """What telling the model of a tool takes: name, description and schema."""
    return estimate_message_tokens(tool.name + tool.description) + _estimate_json_tokens(tool.parameters)


def estimate_whole_message_tokens(message: Message) -> int:
    """Text, name and calls of a message of any role."""
    return estimate_message_tokens(message.text, message.name) + sum(
        estimate_call_tokens(call) for call in message.tool_calls
    )


def estimate_input_tokens(request: ModelRequest) -> int:
    """Instructions (nothing, when there are none), messages, tools, and the schema of the answer."""
    instructions = estimate_message_tokens(request.instructions) if request.instructions else 0
    schema = 0 if request.answer_schema is None else _estimate_json_tokens(request.answer_schema)
    messages = sum(estimate_whole_message_tokens(message) for message in request.messages)
    return instructions + schema + messages + sum(estimate_tool_tokens(tool) for tool in request.tools)


def _estimate_json_tokens(value: object) -> int:
    return tokens_for_bytes(len(msgspec.json.encode(value)))
