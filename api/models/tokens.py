"""How many tokens a text is when no provider counted it: one rule for estimates and the scripted model."""

from api.models.base import ModelRequest

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


def estimate_input_tokens(request: ModelRequest) -> int:
    """Instructions (nothing, when there are none) and messages."""
    instructions = estimate_message_tokens(request.instructions) if request.instructions else 0
    return instructions + sum(estimate_message_tokens(m.text, m.name) for m in request.messages)
