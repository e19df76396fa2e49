"""A model without a provider, for first runs, demonstrations and tests: no account, no network, no chance.

The same conversation gets the same answer, always. Tokens are counted by `api.models.tokens`, so usage and
cost are exact and can be checked by hand. The models:

    scripted:demo    talks about what the user said earlier in the messages that it was given
    scripted:echo    repeats the user's last message
    scripted:slow    as demo, with a pause of 50 ms before every delta
    scripted:tools   calls the tools that the user's last message names, then tells what they answered
    scripted:reason  as demo, and thinks aloud before, unless reasoning is `off`
    scripted:fail    fails as an overloaded provider does (status 503), before any text
    scripted:break   speaks two deltas as demo does, then breaks off as a lost connection does

`tools` reads the message line by line; lines that are none of these mean nothing:

    call lookup {"day": "monday"}   call a tool; what stands behind its name are the arguments, JSON or not
    go booking                      call a tool without arguments; the end of its name will do, as for a
                                    transition that is offered as `go_to_booking`
    say One moment.                 say this before the calls
    then                            what follows is for the next call of the model, when results are there
    repeat                          do this step again and again, as long as tools are offered

Asked for JSON by a schema, all but `echo` give a document that fits, with what the user told of themselves
("My name is Ada") in the properties of these names. `tools` obeys three more lines:

    answer {"name": "Ada"}          give this document, whether or not it fits
    misfit                          give one that does not fit, in answer to this message
    misfit always                   the same in answer to this message and all that follow

An answer longer than `output_tokens_max` is cut at a word, with finish reason `length`.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence

from api.models.base import (
    Finished,
    FinishReason,
    ModelError,
    ModelErrorCode,
    ModelRequest,
    ModelUsage,
    ReasoningDelta,
    StreamItem,
    TextDelta,
)
from api.models.scripted_demo import converse, echo
from api.models.scripted_tools import Line, document, play
from api.models.tokens import (
    estimate_call_tokens,
    estimate_input_tokens,
    estimate_text_tokens,
    tokens_for_bytes,
)

PROVIDER = "scripted"
MODELS = ("demo", "echo", "slow", "tools", "reason", "fail", "break")

_PAUSE_SECONDS = 0.05
_DELTAS_BEFORE_BREAK = 2


class ScriptedClient:
    """Plays the scripts; the module's docstring says which there are."""

    provider = PROVIDER

    async def stream(self, request: ModelRequest) -> AsyncGenerator[StreamItem, None]:
        """Answer from the messages alone, one word per delta."""
        if request.model not in MODELS:
            known = ", ".join(f"{PROVIDER}:{name}" for name in MODELS)
            raise _error(ModelErrorCode.UNKNOWN_MODEL, f"There is no script {request.model!r}, but {known}.")
        if request.model == "fail":
            raise _error(ModelErrorCode.PROVIDER_UNAVAILABLE, "The script `fail` always fails.", status=503)

        line = _line(request)
        thought = _thought(request)
        for word in _words(thought):
            yield ReasoningDelta(word)
        words = _words(line.text)
        words_that_fit = words
        if request.output_tokens_max is not None:
            words_that_fit = _fitting(words, request.output_tokens_max)
        is_cut = len(words_that_fit) < len(words)
        spoken = ""
        for count, word in enumerate(words_that_fit):
            if request.model == "break" and count == _DELTAS_BEFORE_BREAK:
                raise _error(
                    ModelErrorCode.STREAM_BROKEN,
                    "The script `break` always breaks off.",
                    usage=_usage(request, Line(text=spoken), thought),
                )
            if request.model == "slow":
                await asyncio.sleep(_PAUSE_SECONDS)
            spoken += word
            yield TextDelta(word)
        calls = () if is_cut else line.calls
        finish_reason = FinishReason.TOOL_CALLS if calls else FinishReason.STOP
        yield Finished(
            usage=_usage(request, Line(text=spoken, calls=calls), thought),
            finish_reason=FinishReason.LENGTH if is_cut else finish_reason,
            model=request.model,
            provider=PROVIDER,
            tool_calls=calls,
        )

    async def close(self) -> None:
        """There is nothing to release."""


def _line(request: ModelRequest) -> Line:
    if request.model == "echo":
        return Line(text=echo(request.messages))
    if request.model == "tools":
        return play(request)
    if request.answer_schema is not None:
        return Line(text=document(request.answer_schema, request.messages))
    return Line(text=converse(request.messages))


def _thought(request: ModelRequest) -> str:
    if request.model != "reason" or request.reasoning == "off":
        return ""
    return f"I was given {len(request.messages)} messages and answer the last one."


def _usage(request: ModelRequest, line: Line, thought: str) -> ModelUsage:
    reasoning_tokens = estimate_text_tokens(thought)
    call_tokens = sum(estimate_call_tokens(call) for call in line.calls)
    return ModelUsage(
        input_tokens=estimate_input_tokens(request),
        output_tokens=estimate_text_tokens(line.text) + call_tokens + reasoning_tokens,
        reasoning_tokens=reasoning_tokens,
    )


def _error(
    code: ModelErrorCode, message: str, *, status: int | None = None, usage: ModelUsage | None = None
) -> ModelError:
    return ModelError(code, message, provider=PROVIDER, status=status, usage=usage)


def _words(text: str) -> list[str]:
    """Pieces that join to the text again: each word with the white space that follows it."""
    return re.findall(r"\S+\s*|^\s+", text)


def _fitting(words: Sequence[str], tokens_max: int) -> list[str]:
    """As many of the first words as stay within `tokens_max`, counted as one text."""
    fitting: list[str] = []
    spoken_bytes = 0
    for word in words:
        spoken_bytes += len(word.encode())
        if tokens_for_bytes(spoken_bytes) > tokens_max:
            break
        fitting.append(word)
    return fitting
