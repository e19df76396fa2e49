"""A request in the words of Anthropic's Messages API.

Structured answers: by `output_config.format` where the schema is strict, has few alternatives and the model
knows the field, else in words. What is refused is asked for once more, in words.

Reasoning: models up to 4.5 think within a budget of tokens (1,024, 4,096 or 16,384 for `low`, `medium` and
`high`), newer ones by an effort of these names. Thinking counts towards `max_tokens`: a limit that the
request sets holds for both, and the budget is at most half of it; below 2,048 there is no room to think.
Where the request sets none, the budget is added to the default. `off` switches thinking off where it can be,
else it is the least effort.

Thinking within a budget is left out while the model goes on after results: it would have to be given its
signed thoughts again, which are not kept.

Earlier calls in a request that offers no tools: their tools are declared by name, because calls without
declarations are refused, and may not be called (`tool_choice`).
"""

import hashlib
import re
from typing import Any

from api.models import schemas
from api.models.base import ModelRequest
from api.models.messages import Exchange, alternating, arguments_object

OUTPUT_TOKENS_DEFAULT = 4_096
"""Anthropic demands an output limit; this one is sent where the request has none."""

_UNIONS_MAX = 16
"""Parts of an answer's schema that may allow several types, as every variable that may be null does."""

_BUDGETS = {"low": 1_024, "medium": 4_096, "high": 16_384}
_BUDGET_MIN = 1_024

_THOUGHTLESS = re.compile(r"claude-(?:2|instant|3-(?:5|opus|sonnet|haiku))")
_WITH_BUDGET = re.compile(r"claude-3-7|claude-(?:opus|sonnet|haiku)-4(?:-[015])?(?:-\d{8}|$|@)")
_ALWAYS_THINKING = re.compile(r"claude-(?:fable|mythos)")
_WITHOUT_FORMAT = re.compile(r"claude-(?:2|instant|3)|claude-(?:opus|sonnet|haiku)-4(?:-0)?(?:-\d{8}|$|@)")

_ID = re.compile(r"[a-zA-Z0-9_-]+")


def make_body(request: ModelRequest, *, takes_schema: bool = True) -> dict[str, Any]:
    """What is posted. `takes_schema` is False where the schema of the answer has been refused."""
    exchanges = alternating(request.messages)
    messages = _messages(exchanges)
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.output_tokens_max or OUTPUT_TOKENS_DEFAULT,
        "messages": messages,
        "stream": True,
    }
    instructions = request.instructions
    if (schema := request.answer_schema) is not None:
        if takes_schema and _is_guaranteed(schema, request.model):
            body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        else:
            instructions = "\n\n".join(part for part in (instructions, schemas.in_words(schema)) if part)
    if instructions:
        body["system"] = instructions
    body |= _tools(request, exchanges)
    # Also where the user has said something behind the results: it stands in one message with them.
    is_going_on = any(exchange.calls for exchange in exchanges[-2:] if exchange.role == "assistant")
    _add_thinking(body, request, is_going_on=is_going_on)
    thinks = body.get("thinking", {}).get("type", "disabled") != "disabled"
    if request.temperature is not None and not thinks:
        # No argument of the SDK any more, because newer models refuse it; older ones still take it, unless
        # they think.
        body["extra_body"] = {"temperature": request.temperature}
    return body


def _is_guaranteed(schema: dict[str, Any], model: str) -> bool:
    is_simple = schemas.is_strict(schema) and schemas.union_count(schema) <= _UNIONS_MAX
    return is_simple and not _WITHOUT_FORMAT.match(model)


def _messages(exchanges: list[Exchange]) -> list[dict[str, Any]]:
    """Results open the user's message that follows their calls, with what the user says next behind them."""
    messages: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for exchange in exchanges:
        if exchange.role == "assistant":
            if results:
                messages.append({"role": "user", "content": results})
            messages.append({"role": "assistant", "content": _assistant_content(exchange)})
            results = [
                {"type": "tool_result", "tool_use_id": _id(call.id), "content": call.result}
                for call in exchange.calls
            ]
        elif results:
            said = [{"type": "text", "text": exchange.text}] if exchange.text.strip() else []
            messages.append({"role": "user", "content": [*results, *said]})
            results = []
        else:
            messages.append({"role": "user", "content": exchange.text})
    if results:
        messages.append({"role": "user", "content": results})
    return messages


def _assistant_content(exchange: Exchange) -> str | list[dict[str, Any]]:
    if not exchange.calls:
        return exchange.text
    said = [{"type": "text", "text": exchange.text}] if exchange.text.strip() else []
    calls = [
        {
            "type": "tool_use",
            "id": _id(call.id),
            "name": call.name,
            "input": arguments_object(call.arguments),
        }
        for call in exchange.calls
    ]
    return [*said, *calls]


def _id(call_id: str) -> str:
    """Another provider's id may hold characters that Anthropic refuses."""
    if _ID.fullmatch(call_id):
        return call_id
    return f"call_{hashlib.sha256(call_id.encode()).hexdigest()[:24]}"


def _tools(request: ModelRequest, exchanges: list[Exchange]) -> dict[str, Any]:
    if request.tools:
        offered = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
            for tool in map(schemas.as_sent, request.tools)
        ]
        return {"tools": offered}
    called = dict.fromkeys(call.name for exchange in exchanges for call in exchange.calls)
    if not called:
        return {}
    declared = [{"name": name, "input_schema": {"type": "object"}} for name in called]
    return {"tools": declared, "tool_choice": {"type": "none"}}


def _add_thinking(body: dict[str, Any], request: ModelRequest, *, is_going_on: bool) -> None:
    effort = request.reasoning
    if effort is None or _THOUGHTLESS.match(request.model):
        return
    if _WITH_BUDGET.match(request.model):
        if effort != "off" and not is_going_on:
            _add_budget(body, request.output_tokens_max, _BUDGETS[effort])
        return
    if effort == "off" and not _ALWAYS_THINKING.match(request.model):
        body["thinking"] = {"type": "disabled"}
        return
    body["thinking"] = {"type": "adaptive", "display": "summarized"}
    body.setdefault("output_config", {})["effort"] = "low" if effort == "off" else effort


def _add_budget(body: dict[str, Any], output_tokens_max: int | None, budget_tokens: int) -> None:
    if output_tokens_max is None:
        body["max_tokens"] = OUTPUT_TOKENS_DEFAULT + budget_tokens
    else:
        budget_tokens = min(budget_tokens, output_tokens_max // 2)
    if budget_tokens >= _BUDGET_MIN:
        body["thinking"] = {"type": "enabled", "budget_tokens": budget_tokens, "display": "summarized"}
