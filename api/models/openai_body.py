"""A request in the words of chat completions; what is said to OpenAI alone, and what to every other server.

Structured answers: OpenAI is asked for `json_schema`, strict where the schema allows it, and in words only
where the root is no object, which it refuses. Other servers are asked in words, because many constrain the
answer without showing the model the schema, and by `json_schema` as well unless tools are offered: then
llama.cpp refuses the request and vLLM never calls a tool. What is refused is asked for once more, in words.

Reasoning: only OpenAI is told an effort; of other servers nobody knows which words they take. `off` is the
least that the model has: `none`, before gpt-5.1 `minimal`, of the o-series and of codex `low`. Models that do
not reason, and those whose effort is fixed (`-chat`, `-pro`), are told none.

Earlier calls in a request that offers no tools: OpenAI takes them as they are. Behind other servers some
providers refuse them, so there they are told in words.
"""

import re
from typing import Any

import msgspec

from api.models import schemas
from api.models.base import ModelRequest, ToolSpec
from api.models.messages import Exchange, alternating, arguments_object, with_calls_as_text

_SCHEMA_NAME = "answer"

_EFFORTLESS = re.compile(r"gpt-3|gpt-4|chatgpt|-chat\b|-pro\b")
_LEAST_EFFORTS = (
    (re.compile(r"o\d|.*codex"), "low"),
    (re.compile(r"gpt-5(?!\.\d)"), "minimal"),
    (re.compile(r""), "none"),
)


def make_body(request: ModelRequest, *, is_openai: bool, takes_schema: bool = True) -> dict[str, Any]:
    """What is posted. `takes_schema` is False where the server has refused the schema of the answer."""
    exchanges = alternating(request.messages)
    if not (request.tools or is_openai):
        exchanges = with_calls_as_text(exchanges)
    messages = [message for exchange in exchanges for message in _messages(exchange)]
    instructions = request.instructions
    response_format = None
    if (schema := request.answer_schema) is not None:
        is_sendable = takes_schema and (schema.get("type") == "object" if is_openai else not request.tools)
        if is_sendable:
            response_format = _response_format(schema)
        if not (is_openai and is_sendable):
            instructions = "\n\n".join(part for part in (instructions, schemas.in_words(schema)) if part)
    if instructions:
        # `developer` is OpenAI's newer word for it; servers everywhere know `system`.
        messages.insert(0, {"role": "system", "content": instructions})
    body: dict[str, Any] = {
        "model": request.model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if response_format is not None:
        body["response_format"] = response_format
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if request.output_tokens_max is not None:
        # OpenAI's reasoning models refuse `max_tokens`; of the compatible servers many know nothing else,
        # and some ignore what they do not know, which would leave the output without a limit.
        body["max_completion_tokens" if is_openai else "max_tokens"] = request.output_tokens_max
    if request.temperature is not None:
        body["temperature"] = request.temperature
    effort = _effort(request) if is_openai else None
    if effort is not None:
        body["reasoning_effort"] = effort
    return body


def _messages(exchange: Exchange) -> list[dict[str, Any]]:
    # An empty text and no null beside calls: several servers fail on null.
    message: dict[str, Any] = {"role": exchange.role, "content": exchange.text}
    if not exchange.calls:
        return [message]
    message["tool_calls"] = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": _readable(call.arguments)},
        }
        for call in exchange.calls
    ]
    results = [{"role": "tool", "tool_call_id": call.id, "content": call.result} for call in exchange.calls]
    return [message, *results]


def _readable(arguments: str) -> str:
    """Servers that fill a chat template read them, and fail where they cannot."""
    value = arguments_object(arguments)
    return msgspec.json.encode(value).decode() if value.keys() <= {"unreadable"} else arguments


def _tool(offered: ToolSpec) -> dict[str, Any]:
    tool = schemas.as_sent(offered)
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _response_format(schema: dict[str, Any]) -> dict[str, Any]:
    json_schema = {"name": _SCHEMA_NAME, "schema": schema, "strict": schemas.is_strict(schema)}
    return {"type": "json_schema", "json_schema": json_schema}


def _effort(request: ModelRequest) -> str | None:
    if request.reasoning is None or _EFFORTLESS.search(request.model):
        return None
    if request.reasoning != "off":
        return request.reasoning
    return next(effort for names, effort in _LEAST_EFFORTS if names.match(request.model))
