"""A model without a provider, for first runs, demonstrations and tests: no account, no network, no chance.

The same conversation gets the same answer, always. Tokens are counted by `tokens.estimate_input_tokens` and
`tokens.estimate_text_tokens`, so usage and cost are exact and can be checked by hand. The models:

    scripted:demo   talks about what the user said earlier in the messages that it was given
    scripted:echo   repeats the user's last message
    scripted:slow   as demo, with a pause of 50 ms before every delta
    scripted:fail   fails as an overloaded provider does (status 503), before any text
    scripted:break  speaks two deltas as demo does, then breaks off as a lost connection does

An answer longer than `output_tokens_max` is cut at a word, with finish reason `length`.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence

from api.models.base import (
    Finished,
    FinishReason,
    Message,
    ModelError,
    ModelErrorCode,
    ModelRequest,
    ModelUsage,
    StreamItem,
    TextDelta,
)
from api.models.tokens import estimate_input_tokens, estimate_text_tokens, tokens_for_bytes

PROVIDER = "scripted"
MODELS = ("demo", "echo", "slow", "fail", "break")

_PAUSE_SECONDS = 0.05
_DELTAS_BEFORE_BREAK = 2
_QUOTED_CHARACTERS_MAX = 80
_HEARD_CHARACTERS_MAX = 2_000
"""`demo` listens to the beginning of each message only: searching 32 KiB for its phrases takes seconds."""


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

        answer = _echo(request.messages) if request.model == "echo" else _converse(request.messages)
        spoken = ""
        finish_reason = FinishReason.STOP
        words = _words(answer)
        if request.output_tokens_max is not None:
            words_that_fit = _fitting(words, request.output_tokens_max)
            finish_reason = FinishReason.STOP if len(words_that_fit) == len(words) else FinishReason.LENGTH
            words = words_that_fit
        for count, word in enumerate(words):
            if request.model == "break" and count == _DELTAS_BEFORE_BREAK:
                raise _error(
                    ModelErrorCode.STREAM_BROKEN,
                    "The script `break` always breaks off.",
                    usage=_usage(request, spoken),
                )
            if request.model == "slow":
                await asyncio.sleep(_PAUSE_SECONDS)
            spoken += word
            yield TextDelta(word)
        yield Finished(
            usage=_usage(request, spoken),
            finish_reason=finish_reason,
            model=request.model,
            provider=PROVIDER,
        )

    async def close(self) -> None:
        """There is nothing to release."""


def _usage(request: ModelRequest, spoken: str) -> ModelUsage:
    return ModelUsage(input_tokens=estimate_input_tokens(request), output_tokens=estimate_text_tokens(spoken))


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


def _echo(messages: Sequence[Message]) -> str:
    said = _user_texts(messages)
    return said[-1] if said else "There is nothing to repeat yet."


def _converse(messages: Sequence[Message]) -> str:
    """Greet, recall, or take note, in this order of preference."""
    said = [text[:_HEARD_CHARACTERS_MAX] for text in _user_texts(messages)]
    if not said:
        return (
            "Hello! I am the scripted demo model: I need no account, and I remember what you tell me in this "
            'conversation. Try "My name is Ada", then ask "What is my name?".'
        )
    told_before = _facts(said[:-1])
    if (asked := _ASKED.search(said[-1])) is not None:
        return _recall(asked["topic"], _facts(said))
    if news := _facts(said[-1:]):
        learned = _listed([f"your {topic} is {value}" for topic, value in news.items()])
        changed = [t for t in news if t in told_before and told_before[t] != news[t]]
        before = _listed([f"{told_before[t]} as your {t}" for t in changed])
        return f"Noted: {learned}." + (f" Before, you had given {before}." if changed else "")
    if _ASKED_ALL.search(said[-1]) is not None:
        if not told_before:
            return "You have told me nothing about yourself in this conversation."
        return f"You told me that {_listed([f'your {t} is {v}' for t, v in told_before.items()])}."
    return _acknowledge(said, told_before)


def _recall(topic: str, facts: dict[str, str]) -> str:
    topic = " ".join(topic.lower().split())
    if topic in facts:
        return f"Your {topic} is {facts[topic]}."
    return f"You have not told me your {topic} in this conversation."


def _acknowledge(said: Sequence[str], facts: dict[str, str]) -> str:
    name = f", {facts['name']}" if "name" in facts else ""
    answer = f'You said: "{_quoted(said[-1])}"{name}.'
    if len(said) == 1:
        return f"{answer} That is the first message that I see in this conversation."
    return f'{answer} That is message {len(said)} that I see; the one before was "{_quoted(said[-2])}".'


_TOLD = re.compile(
    r"\bmy (?P<topic>[a-z]+(?: [a-z]+){0,2}) is (?P<value>[^.,;!?\n]{1,60}?)(?= and my |[.,;!?\n]|$)",
    re.IGNORECASE,
)
_TOLD_NAME = re.compile(r"\bcall me (?P<value>[^.,;!?\n]{1,60}?)(?= and my |[.,;!?\n]|$)", re.IGNORECASE)
_ASKED = re.compile(
    r"\b(?:what(?: is|'s|’s)|who is|tell me|do you (?:know|remember)) my "
    r"(?P<topic>[a-z]+(?: [a-z]+){0,2}?)\s*(?:[?.!]|$)",
    re.IGNORECASE,
)
_ASKED_ALL = re.compile(r"\bwhat\b.*\b(?:about me|(?:i|have i) (?:told|tell|said|say)\b)", re.IGNORECASE)


def _facts(texts: Sequence[str]) -> dict[str, str]:
    """What the user said of themselves, by topic; the newest word on a topic counts."""
    facts: dict[str, str] = {}
    for text in texts:
        if _ASKED.search(text) is not None:
            continue
        for told in _TOLD.finditer(text):
            facts[" ".join(told["topic"].lower().split())] = told["value"].strip()
        for told in _TOLD_NAME.finditer(text):
            facts["name"] = told["value"].strip()
    return facts


def _user_texts(messages: Sequence[Message]) -> list[str]:
    return [message.text for message in messages if message.role == "user"]


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(parts) if len(parts) <= 2 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTED_CHARACTERS_MAX else line[: _QUOTED_CHARACTERS_MAX - 1] + "…"
