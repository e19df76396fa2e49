"""What either protocol refuses: a client that sends it would fail at the real provider, so it fails here."""

from collections.abc import Mapping
from typing import Any


def fault_in(path: str, body: Mapping[str, Any]) -> str | None:
    """What is wrong with a request, in a sentence; None where nothing is."""
    check = _anthropic_fault if path.endswith("/messages") else _chat_fault
    return check(body, list(body.get("messages", [])))


def _chat_fault(body: Mapping[str, Any], messages: list[Mapping[str, Any]]) -> str | None:
    if body.get("tools") == []:
        return "[] is too short - 'tools'"
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                return (
                    "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
                )
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            return f"tool_call_ids did not have response messages: {', '.join(waiting)}"
        waiting = [call["id"] for call in message.get("tool_calls", ())]
    return f"tool_call_ids did not have response messages: {', '.join(waiting)}" if waiting else None


def _anthropic_fault(body: Mapping[str, Any], messages: list[Mapping[str, Any]]) -> str | None:
    if [m["role"] for m in messages] != [("user", "assistant")[n % 2] for n in range(len(messages))]:
        return "messages: roles must alternate between user and assistant"
    seen: set[str] = set()
    asked: list[str] = []
    for message in messages:
        blocks = _blocks(message)
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(results) != sorted(asked):
            return "`tool_use` ids were found without `tool_result` blocks immediately after, or the reverse"
        if any(block["type"] == "tool_result" for block in blocks[len(results) :]):
            return "`tool_result` blocks must come first"
        if any(block["type"] == "text" and not block["text"].strip() for block in blocks):
            return "text content blocks must contain non-whitespace text"
        asked = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if seen & set(asked) or len(set(asked)) < len(asked):
            return "`tool_use` ids must be unique"
        seen |= set(asked)
    if asked:
        return "`tool_use` ids were found without `tool_result` blocks immediately after"
    if seen and not body.get("tools"):
        return "Requests which include `tool_use` or `tool_result` blocks must define tools"
    return _thinking_fault(body, messages, has_calls=bool(seen))


def _thinking_fault(
    body: Mapping[str, Any], messages: list[Mapping[str, Any]], *, has_calls: bool
) -> str | None:
    thinking = body.get("thinking", {})
    if thinking.get("type") != "enabled":
        return None
    if not 1_024 <= thinking["budget_tokens"] < body["max_tokens"]:
        return "`max_tokens` must be greater than `thinking.budget_tokens`"
    if body.get("temperature") not in (None, 1):
        return "`temperature` may only be set to 1 when thinking is enabled"
    assistants = [_blocks(message) for message in messages if message["role"] == "assistant"]
    in_loop = has_calls and any(block["type"] == "tool_result" for block in _blocks(messages[-1]))
    if in_loop and assistants[-1][0]["type"] != "thinking":
        return "Expected `thinking` or `redacted_thinking`, but found `tool_use`."
    return None


def _blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
