"""What the model is shown of a conversation: rebuilt from the turns for every call, stored nowhere.

    completed   the user's words and every reply
    cancelled   the user's words and what had been said, marked as cut off
    failed      nothing

The newest whole turns that fit the budget are kept, read backwards until one does not fit. The current
user message, and what the turn's own calls have brought so far, are always shown. The same turns and steps
give the same request, so a prompt is kept by its first and last turn and checked by its digest.
"""

import hashlib
from collections.abc import AsyncIterable, Iterable
from itertools import chain

import msgspec

from api.agents.definition import Definition
from api.models.base import Message, ModelRequest
from api.models.tokens import estimate_input_tokens, estimate_whole_message_tokens
from api.prompt.frame import Frame
from api.session.document import Turn, TurnState

CONTEXT_TOKENS_DEFAULT = 32_000
"""For models whose window nobody has told us."""

OUTPUT_TOKENS_RESERVED = 4_096
"""Kept free for the reply where no output limit is set, but never more than half of the window."""

CONTEXT_TOKENS_FLOOR = 256

CUT_OFF = "[This reply was cut off here.]"
"""Follows what had been said of a cancelled reply."""

CUT_OFF_BEFORE_IT_BEGAN = "[This reply was cut off before it began.]"


class Prompt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request, and what it takes to render it again."""

    request: ModelRequest
    first_turn_id: str
    """The oldest turn that is shown; the current turn when it is shown alone."""
    last_turn_id: str
    """The current turn."""
    estimated_tokens: int
    """Of the input, by `api.models.tokens`."""
    sha256: str
    """Of the request's canonical JSON, in hex."""


def build(
    definition: Definition,
    current: Turn,
    earlier: Iterable[Turn],
    *,
    frame: Frame,
    model: str,
    context_tokens: int | None,
    output_tokens_max: int | None = None,
) -> Prompt:
    """Make the prompt for `current` from the turns in effect before it, newest first, and the call's frame.

    Stops reading `earlier` at the first turn that does not fit `context_tokens`; None is no limit, which
    renders a known stretch of turns again. `model` is the provider's name of it. `output_tokens_max` holds
    where the definition sets no output limit.
    """
    window = _Window(definition, current, frame, model, context_tokens, output_tokens_max)
    for turn in earlier:
        if not window.take(turn):
            break
    return window.prompt()


async def build_from_pages(
    definition: Definition,
    current: Turn,
    pages: AsyncIterable[Iterable[Turn]],
    *,
    frame: Frame,
    model: str,
    context_tokens: int | None,
    output_tokens_max: int | None = None,
) -> Prompt:
    """The same from pages of turns, newest first; asks for no page behind the one where the budget ends."""
    window = _Window(definition, current, frame, model, context_tokens, output_tokens_max)
    async for page in pages:
        if not all(window.take(turn) for turn in page):
            break
    return window.prompt()


def context_budget(
    definition: Definition,
    *,
    window_tokens: int | None,
    output_tokens_max: int | None = None,
    context_tokens_default: int = CONTEXT_TOKENS_DEFAULT,
) -> int:
    """How many tokens of input to show: what the definition says, else what the model's window leaves.

    Of the window less the output limit a quarter stays free, because our count of tokens is an estimate.
    `context_tokens_default` holds where the window is not known.
    """
    if definition.limits.context_tokens is not None:
        return definition.limits.context_tokens
    if window_tokens is None:
        return context_tokens_default
    output_tokens = definition.limits.output_tokens or output_tokens_max
    if output_tokens is None:
        output_tokens = min(OUTPUT_TOKENS_RESERVED, window_tokens // 2)
    return max(CONTEXT_TOKENS_FLOOR, (window_tokens - output_tokens) * 3 // 4)


class _Window:
    """Collects turns backwards until the budget is spent."""

    def __init__(
        self,
        definition: Definition,
        current: Turn,
        frame: Frame,
        model: str,
        context_tokens: int | None,
        output_tokens_max: int | None,
    ) -> None:
        self._speaker = definition.speaker_name
        self._current = current
        self._request = ModelRequest(
            model=model,
            instructions=frame.instructions,
            messages=(*_user_messages(current), *frame.messages),
            output_tokens_max=definition.limits.output_tokens or output_tokens_max,
            temperature=definition.temperature,
            tools=frame.tools,
            answer_schema=frame.answer_schema,
            reasoning=frame.reasoning,
        )
        self._estimated_tokens = estimate_input_tokens(self._request)
        self._context_tokens = context_tokens
        self._taken: list[tuple[Message, ...]] = []
        self._first_turn_id = current.id

    def take(self, turn: Turn) -> bool:
        """Add the next older turn; False when it does not fit, and then none behind it does either."""
        messages = _messages(turn, self._speaker)
        estimated_tokens = self._estimated_tokens + sum(
            estimate_whole_message_tokens(message) for message in messages
        )
        if self._context_tokens is not None and messages and estimated_tokens > self._context_tokens:
            return False
        if messages:
            self._taken.append(messages)
            self._estimated_tokens = estimated_tokens
            self._first_turn_id = turn.id
        return True

    def prompt(self) -> Prompt:
        """What was taken, oldest first, and the current turn."""
        messages = (*chain.from_iterable(reversed(self._taken)), *self._request.messages)
        request = msgspec.structs.replace(self._request, messages=messages)
        canonical = msgspec.json.encode(request, order="sorted")
        return Prompt(
            request=request,
            first_turn_id=self._first_turn_id,
            last_turn_id=self._current.id,
            estimated_tokens=self._estimated_tokens,
            sha256=hashlib.sha256(canonical).hexdigest(),
        )


def _messages(turn: Turn, speaker: str) -> tuple[Message, ...]:
    """What a final turn shows to the model. Turns that are not final show nothing; there are none before
    the current one."""
    if turn.state is TurnState.COMPLETED:
        return (*_user_messages(turn), *_replies(turn, speaker))
    if turn.state is not TurnState.CANCELLED:
        return ()
    replies = _replies(turn, speaker)
    if replies:
        last = replies[-1]
        cut = msgspec.structs.replace(last, text=f"{last.text}\n{CUT_OFF}")
        return (*_user_messages(turn), *replies[:-1], cut)
    if turn.user_message is None:
        return ()
    return (*_user_messages(turn), Message(role="assistant", text=CUT_OFF_BEFORE_IT_BEGAN))


def _user_messages(turn: Turn) -> tuple[Message, ...]:
    said = turn.user_message
    return () if said is None else (Message(role="user", text=said.text, name=said.speaker),)


def _replies(turn: Turn, speaker: str) -> tuple[Message, ...]:
    """The model's own words carry no name, lest it learns to begin its replies with one."""
    return tuple(
        Message(role="assistant", text=reply.text, name=None if reply.speaker == speaker else reply.speaker)
        for reply in turn.replies
        if reply.text
    )
