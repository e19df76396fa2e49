"""What the scripted model says to people: it recalls what they told it about themselves."""

import re
from collections.abc import Sequence

from api.models.base import Message

_QUOTED_CHARACTERS_MAX = 80
_HEARD_CHARACTERS_MAX = 2_000
"""It listens to the beginning of each message only: searching 32 KiB for its phrases takes seconds."""


def echo(messages: Sequence[Message]) -> str:
    """The user's last words."""
    said = _user_texts(messages)
    return said[-1] if said else "There is nothing to repeat yet."


def converse(messages: Sequence[Message]) -> str:
    """Greet, recall, or take note, in this order of preference."""
    said = _heard(messages)
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


def told_facts(messages: Sequence[Message]) -> dict[str, str]:
    """What the user said of themselves in the whole conversation, by topic in small letters."""
    return _facts(_heard(messages))


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


def _heard(messages: Sequence[Message]) -> list[str]:
    return [text[:_HEARD_CHARACTERS_MAX] for text in _user_texts(messages)]


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(parts) if len(parts) <= 2 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTED_CHARACTERS_MAX else line[: _QUOTED_CHARACTERS_MAX - 1] + "…"
