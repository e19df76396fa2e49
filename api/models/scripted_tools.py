"""Plays what people write into their message for `scripted:tools`; `api.models.scripted` lists the lines."""

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from api.models import scripted_documents
from api.models.base import Message, ModelRequest, ToolCall, ToolSpec
from api.models.scripted_demo import converse, told_facts

_CALL = re.compile(r"\s*call (?P<name>\S+)(?:\s+(?P<arguments>[{\[].*))?\s*$")
_GO = re.compile(r"\s*go (?P<name>\S+)\s*$")
_SAY = re.compile(r"\s*say (?P<text>.+?)\s*$")
_ANSWER = re.compile(r"\s*answer (?P<text>\S.*?)\s*$")
_THEN = re.compile(r"^\s*then\s*$", re.MULTILINE)
_REPEAT = re.compile(r"^\s*repeat\s*$", re.MULTILINE)
_MISFIT = re.compile(r"^\s*misfit(?P<always> always)?\s*$", re.MULTILINE)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What the model says and asks for in one call."""

    text: str
    calls: tuple[ToolCall, ...] = ()


def play(request: ModelRequest) -> Line:
    """The step of the script in the user's last message that the conversation has come to."""
    said = _last_said(request.messages)
    steps = _THEN.split(said)
    done_count = sum(1 for message in _since_said(request.messages) if message.tool_calls)
    if _REPEAT.search(steps[-1]):
        done_count = min(done_count, len(steps) - 1)
    if done_count >= len(steps) or not request.tools:
        return Line(text=_answer(request))
    lines = steps[done_count].splitlines()
    words = "\n".join(match["text"] for line in lines if (match := _SAY.match(line)))
    wanted = [match for line in lines if (match := _CALL.match(line) or _GO.match(line))]
    if not wanted:
        return Line(text=words or _answer(request))
    offered = [_offered(match, request.tools) for match in wanted]
    missing = [match["name"] for match, name in zip(wanted, offered, strict=True) if name is None]
    if missing:
        there_are = ", ".join(tool.name for tool in request.tools)
        return Line(text=f"I have no tool {', '.join(missing)} here, but {there_are}.")
    made_count = sum(len(message.tool_calls) for message in request.messages)
    calls = tuple(
        ToolCall(
            id=f"call_{made_count + number}",
            name=name or "",
            arguments=(match.groupdict().get("arguments") or "").rstrip(),
        )
        for number, (match, name) in enumerate(zip(wanted, offered, strict=True), start=1)
    )
    return Line(text=words, calls=calls)


def document(schema: dict[str, Any], messages: Sequence[Message]) -> str:
    """JSON that fits the schema, whatever the conversation says about misfits."""
    return _as_text(scripted_documents.fitting(schema, told_facts(messages)))


def _answer(request: ModelRequest) -> str:
    if request.answer_schema is not None:
        return _scripted_document(request.answer_schema, request.messages)
    results = _results(request.messages)
    return "\n".join(results) if results else converse(request.messages)


def _scripted_document(schema: dict[str, Any], messages: Sequence[Message]) -> str:
    said = _last_said(messages)
    answers = [match["text"] for line in said.splitlines() if (match := _ANSWER.match(line))]
    if answers:
        return answers[-1]
    told_before = [match for m in messages if m.role == "user" for match in _MISFIT.finditer(m.text)]
    if _MISFIT.search(said) or any(match["always"] for match in told_before):
        try:
            return _as_text(scripted_documents.misfitting(schema))
        except ValueError:
            return "There is no misfit, for every document fits."
    return document(schema, messages)


def _as_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _offered(match: re.Match[str], tools: Sequence[ToolSpec]) -> str | None:
    """The name of the tool that a line means; None when it is not offered."""
    wanted = match["name"]
    names = [tool.name for tool in tools]
    if wanted in names:
        return wanted
    endings = [name for name in names if _plain(name).endswith(f"_{_plain(wanted)}")]
    return endings[0] if match.re is _GO and len(endings) == 1 else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", name.lower())


def _results(messages: Sequence[Message]) -> list[str]:
    """What the tools answered since the user last spoke, each with its tool's name."""
    since = _since_said(messages)
    names = {call.id: call.name for message in since for call in message.tool_calls}
    return [
        f"{names.get(message.tool_call_id or '', 'A tool')} answered: {message.text}"
        for message in since
        if message.role == "tool"
    ]


def _last_said(messages: Sequence[Message]) -> str:
    return next((message.text for message in reversed(messages) if message.role == "user"), "")


def _since_said(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages behind the user's last one."""
    behind = next((n for n, m in enumerate(reversed(messages)) if m.role == "user"), len(messages))
    return messages[len(messages) - behind :]
