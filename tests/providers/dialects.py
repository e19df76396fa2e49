"""How a plan is streamed in either protocol. A line of None stalls."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Literal

import msgspec

from tests.providers.plan import Plan, PlannedCall


class Cut(Exception):
    """Drop the connection now."""


class Piece(msgspec.Struct, frozen=True):
    """What is sent at once: of the answer, or of what goes wrong with it."""

    kind: Literal["thought", "text", "call", "stall", "garbage", "error"]
    text: str = ""
    number: int = 0
    """Of the call, from 0."""
    is_first: bool = False
    """Of the call's pieces."""


def _answer(plan: Plan) -> list[Piece]:
    calls = [
        Piece("call", text, number, at == 0)
        for number, call in enumerate(plan.calls)
        for at, text in enumerate(plan.call_pieces(call))
    ]
    return [
        *(Piece("thought", text) for text in plan.thoughts),
        *(Piece("text", text) for text in plan.pieces),
        *calls,
    ]


async def _pieces(plan: Plan) -> AsyncGenerator[Piece, None]:
    """The answer, with what goes wrong between its pieces."""
    for count, piece in enumerate([*_answer(plan), None]):
        if count == plan.cut_after:
            raise Cut
        if count == plan.stall_after:
            yield Piece("stall")
        if count == plan.garbage_after:
            yield Piece("garbage")
        if count == plan.error_after:
            yield Piece("error")
        if count == plan.ends_after:
            return
        if piece is not None:
            if plan.delay_ms:
                await asyncio.sleep(plan.delay_ms / 1000)
            yield piece


def _output_tokens(plan: Plan) -> int:
    return sum(1 for piece in _answer(plan) if piece.kind != "thought")


def _entry(plan: Plan, call: PlannedCall, call_id: str, piece: Piece) -> dict[str, Any]:
    """A piece of a call as chat completions have it, after the habits of `plan.call_style`."""
    style = plan.call_style
    function: dict[str, Any] = {"arguments": piece.text}
    if style == "objects":
        function["arguments"] = json.loads(piece.text)
    if piece.is_first or style in ("names_repeated", "ids_renewed", "bare", "said_twice"):
        function["name"] = call.name
    entry: dict[str, Any] = {"index": piece.number, "function": function}
    if piece.is_first:
        entry |= {"id": call_id, "type": "function"}
    if style == "ids_renewed":
        entry["id"] = f"{call_id}_{next(_RENEWALS)}"
        if not piece.is_first:
            del function["name"]
    if style == "index_zero":
        entry["index"] = 0
    if style in ("no_ids", "bare", "whole_bare"):
        entry.pop("id", None)
    if style in ("no_index", "bare", "whole_bare"):
        del entry["index"]
    return entry


_RENEWALS = itertools.count()


async def chat_completions(
    plan: Plan, model: str, call_ids: Iterator[str]
) -> AsyncGenerator[str | None, None]:
    """Server-sent events as OpenAI's."""
    count = _output_tokens(plan)
    usage = {
        "prompt_tokens": plan.input_tokens,
        "completion_tokens": count + (0 if plan.counts_reasoning_beside else plan.reasoning_tokens),
        "total_tokens": plan.input_tokens + count + plan.reasoning_tokens,
        "prompt_tokens_details": {
            "cached_tokens": plan.cached_tokens,
            "cache_write_tokens": plan.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": plan.reasoning_tokens},
    }

    def chunk(choices: list[dict[str, Any]], **more: Any) -> str:
        value = {"id": "cmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
        return f"data: {json.dumps({**value, 'choices': choices, **more})}\n\n"

    def choice(delta: dict[str, Any], finish_reason: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "finish_reason": finish_reason}]

    ids = [call.id or next(call_ids) for call in plan.calls]
    noise: dict[str, Any] = {}
    if plan.is_noisy:
        noise = {"role": "assistant", "name": "assistant", "content": None, "tool_calls": None}
    with_text = {"usage": usage} if plan.usage == "with_text" else {}
    yield chunk(choice({"role": "assistant", "content": ""}))
    async for piece in _pieces(plan):
        if piece.kind == "stall":
            yield None
            continue
        if piece.kind == "garbage":
            yield f"data: {plan.garbage}\n\n"
            continue
        if piece.kind == "error":
            error = {"message": plan.error_message, "type": plan.error_type}
            yield f"data: {json.dumps({'error': error})}\n\n"
            continue
        if plan.is_noisy:
            yield ": keep-alive\n\n"
            yield chunk([])
        if piece.kind == "thought":
            delta: dict[str, Any] = {plan.reasoning_field: piece.text}
        elif piece.kind == "text":
            delta = {"content": piece.text}
        else:
            delta = {"tool_calls": [_entry(plan, plan.calls[piece.number], ids[piece.number], piece)]}
        yield chunk(choice({**noise, **delta}), **with_text)
    if plan.ends_after is not None:
        return
    if plan.finish_reason is not None:
        with_finish = {"usage": usage} if plan.usage == "with_finish" else {}
        says_calls = plan.calls and plan.finish_reason == "stop" and not plan.stops_after_calls
        yield chunk(choice({}, "tool_calls" if says_calls else plan.finish_reason), **with_finish)
        if plan.stalls_after_finish:
            yield None
        if plan.cuts_after_finish:
            raise Cut
    if plan.usage == "after_finish":
        yield chunk([], usage=usage)
    yield "data: [DONE]\n\n"


_BLOCKS: dict[str, dict[str, Any]] = {
    "thought": {"type": "thinking", "thinking": "", "signature": ""},
    "text": {"type": "text", "text": ""},
}


async def anthropic(plan: Plan, model: str, call_ids: Iterator[str]) -> AsyncGenerator[str | None, None]:
    """Server-sent events as Anthropic's."""

    def event(kind: str, **more: Any) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n"

    usage = {
        "input_tokens": plan.input_tokens,
        "cache_read_input_tokens": plan.cached_tokens,
        "cache_creation_input_tokens": plan.cache_write_tokens,
        "output_tokens": 1,
    }
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": model}
    ids = [call.id or next(call_ids) for call in plan.calls]
    yield event("message_start", message={**message, "stop_reason": None, "usage": usage})
    index, open_kind = -1, ""
    async for piece in _pieces(plan):
        if piece.kind == "stall":
            yield None
            continue
        if piece.kind == "garbage":
            yield f"event: content_block_delta\ndata: {plan.garbage}\n\n"
            continue
        if piece.kind == "error":
            yield event("error", error={"type": plan.error_type, "message": plan.error_message})
            continue
        if piece.kind != open_kind or piece.is_first:
            if open_kind == "thought":
                signed = {"type": "signature_delta", "signature": "c2lnbmVk"}
                yield event("content_block_delta", index=index, delta=signed)
            if open_kind:
                yield event("content_block_stop", index=index)
            index, open_kind = index + 1, piece.kind
            block = _BLOCKS.get(piece.kind)
            if block is None:
                name = plan.calls[piece.number].name
                block = {"type": "tool_use", "id": ids[piece.number], "name": name, "input": {}}
            yield event("content_block_start", index=index, content_block=block)
        if plan.is_noisy:
            yield event("ping")
            yield event("content_block_delta", index=index, delta={"type": "unheard_of_delta"})
        if piece.kind == "thought":
            delta = {"type": "thinking_delta", "thinking": piece.text}
        elif piece.kind == "text":
            delta = {"type": "text_delta", "text": piece.text}
        else:
            delta = {"type": "input_json_delta", "partial_json": piece.text}
        yield event("content_block_delta", index=index, delta=delta)
    if plan.ends_after is not None:
        return
    if open_kind:
        yield event("content_block_stop", index=index)
    if plan.finish_reason is not None:
        of_calls = plan.calls and not plan.stops_after_calls
        ending = "tool_use" if of_calls else "end_turn"
        reason = ending if plan.finish_reason == "stop" else plan.finish_reason
        counted = {"output_tokens": _output_tokens(plan) + plan.reasoning_tokens}
        yield event("message_delta", delta={"stop_reason": reason}, usage=counted)
        if plan.stalls_after_finish:
            yield None
        if plan.cuts_after_finish:
            raise Cut
    yield event("message_stop")
