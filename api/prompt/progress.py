"""How far a turn has come: read from its recorded steps, so that any runner goes on where the last one ended.

A round is one model call that spoke or asked for tools, with the tool steps that answer it. The rounds in
order give what the model is shown next, which node the turn is in, what has been said, and what is open.
Nothing here decides what to do: that is the runner's, with the rules and tools of this moment.
"""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec

from api.agents.definition import START_NODE, Definition, Node, Transition
from api.agents.fitting import SchemaRefused, Schemas
from api.models.base import FinishReason, Message, ToolCall
from api.session.document import Approval, Decision, Notice

PIECE_SEPARATOR = "\n\n"
"""Stands between what a turn's calls say one after the other; shown, and kept, with the later piece."""

MISFITS_MAX = 1
"""How often an answer that does not fit its schema is asked for again."""

UNKNOWN_CONTENT = "This call was begun, and nobody knows whether it had its effect."
"""What the model is told of a call that was begun and of whose end nothing is known."""

Buffer: TypeAlias = bytes | msgspec.Raw
"""JSON as it is stored."""

EXTRACTION = "extraction"
"""The purpose of a call that learns a node's variables."""


_SCHEMAS = Schemas()


class ModelAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The stored result of a model call that came to its end."""

    text: str
    finish_reason: str
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    """What the model thought aloud; never shown to it again."""


class ToolRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The stored request of a tool step."""

    tool: str
    effect: str
    asked_by: str
    """The step of the model call that asked."""
    call_index: int
    arguments: dict[str, Any] = {}
    arguments_digest: str = ""
    node: str = START_NODE


class ToolEnd(StrEnum):
    """What became of a tool call."""

    COMPLETED = "completed"
    FAILED = "failed"
    REFUSED = "refused"
    """It was not made: no such tool, unfit arguments, or not now."""
    DENIED = "denied"
    """It was not made: a person or a rule said no."""
    UNKNOWN = "unknown"
    """It was begun, and nobody knows whether it had its effect."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Node and variables as they stand after a step."""

    node: str
    variables: dict[str, Any]


class ToolAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The stored result of a tool step."""

    end: ToolEnd
    content: str
    """What the model is told."""
    says: str = ""
    """A line that the agent spoke with it."""
    standing: Standing | None = None
    """Of a transition."""
    notice: Notice | None = None


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the turn that has been started, and perhaps has ended."""

    id: str
    purpose: str
    state: str
    request: ToolRequest | None = None
    """Of a tool step."""
    answer: ModelAnswer | ToolAnswer | None = None
    """None while it goes on, and of a model call that failed."""


_TOOL_ANSWER = msgspec.json.Decoder(ToolAnswer)
_MODEL_ANSWER = msgspec.json.Decoder(ModelAnswer)


def recorded(
    step_id: str, *, kind: str, purpose: str, state: str, request: Buffer, result: Buffer | None
) -> Recorded:
    """A step as it is stored, read for the replay."""
    is_tool = kind == "tool"
    answer: ModelAnswer | ToolAnswer | None = None
    if result is not None:
        answer = (_TOOL_ANSWER if is_tool else _MODEL_ANSWER).decode(result)
    return Recorded(
        id=step_id,
        purpose=purpose,
        state=state,
        request=msgspec.json.decode(request, type=ToolRequest) if is_tool else None,
        answer=answer,
    )


def idempotency_key(turn_id: str, request: ToolRequest) -> str:
    """What goes with every attempt at a tool call, so that the other side can tell that it is one."""
    return f"{turn_id}/{request.asked_by}/{request.call_index}"


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """What one step has added to the reply, as it is shown."""

    step_id: str
    text: str


class OpenCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the model has asked for and that has no answer yet."""

    asked_by: str
    index: int
    call: ToolCall
    step: Recorded | None
    """The newest attempt at it: still open, or of an unknown end."""
    approval: Approval | None
    """The newest question about it that no step has used."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a turn stands."""

    node: Node
    """Where the next call is made."""
    asked_in: Node
    """Where the open calls were asked for; another than `node` once the round has taken its transition."""
    has_left: bool
    """The open round has taken its transition; what else it asks for is refused."""
    variables: dict[str, Any]
    has_moved: bool
    """A transition was taken: node and variables are the turn's own."""
    pieces: tuple[Piece, ...]
    messages: tuple[Message, ...]
    """What the model is shown of this turn behind the user's message: whole rounds only."""
    asking: Message | None
    """The model's message that asks for the open calls; None when none is open."""
    answers: tuple[str | None, ...]
    """To the calls of `asking`, in order; None where there is none yet."""
    open_calls: tuple[OpenCall, ...]
    iteration_count: int
    """Rounds that asked for tools."""
    hop_count: int
    finish_reason: FinishReason | None
    """Of the answer that ends the turn; None while there is none."""
    misfit: str | None
    """Why the newest answer does not fit its schema, when it may not be asked for again."""
    extraction: ModelAnswer | None
    """What the node that is about to be left has brought, if somebody has looked already."""
    notices: tuple[Notice, ...]

    @property
    def is_answered(self) -> bool:
        """Nothing is left to do but to publish."""
        return self.finish_reason is not None

    @property
    def text(self) -> str:
        """The reply so far, as it is shown and kept."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def separator(self) -> str:
        """What the next piece begins with."""
        return PIECE_SEPARATOR if self.pieces else ""

    @property
    def open_tools(self) -> tuple[OpenCall, ...]:
        """The open calls that are no transitions: those come first."""
        labels = {transition.label for transition in self.asked_in.transitions}
        return tuple(call for call in self.open_calls if call.call.name not in labels)

    def takes_tools(self, definition: Definition) -> bool:
        """Whether the next call may ask for tools."""
        return not self.node.end and self.iteration_count < definition.limits.iterations

    def transitions(self, definition: Definition) -> tuple[Transition, ...]:
        """The ways out of the node that may still be taken in this turn."""
        return self.node.transitions if self.hop_count < definition.limits.hops else ()

    def settled_messages(self) -> tuple[Message, ...]:
        """What the model is shown while a round is still open: its calls count as taken."""
        if self.asking is None:
            return self.messages
        return (*self.messages, self.asking, *_results(self.asking, self.answers))


def replay(
    definition: Definition,
    *,
    node: str,
    variables: Mapping[str, Any],
    steps: Sequence[Recorded],
    approvals: Sequence[Approval] = (),
) -> Progress:
    """Work out where the turn stands that began in `node` with these `variables`; steps in order of start."""
    turn = _Replay(definition, node, variables, steps, approvals)
    for step in steps:
        if isinstance(step.answer, ModelAnswer):
            if step.purpose == EXTRACTION:
                turn.extraction = step.answer
            else:
                turn.take_round(step, step.answer)
    return turn.progress()


def misfit_of(text: str, schema: Mapping[str, Any]) -> str | None:
    """Why a text is not a document of this schema, in a sentence for the model; None when it is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return "The answer is not valid JSON."
    try:
        faults = _SCHEMAS.faults(schema, value, whole="the answer")
    except SchemaRefused as refusal:
        return f"The answer cannot be judged: its schema {refusal}."
    return f"The answer does not fit its schema. {'; '.join(faults)}." if faults else None


class _Replay:
    """Takes the rounds one after the other."""

    def __init__(
        self,
        definition: Definition,
        node: str,
        variables: Mapping[str, Any],
        steps: Sequence[Recorded],
        approvals: Sequence[Approval],
    ) -> None:
        self.extraction: ModelAnswer | None = None
        self._definition = definition
        self._node = self._asked_in = definition.node(node) or Node(name=node)
        self._has_left = False
        self._variables = dict(variables)
        self._has_moved = False
        self._attempts: dict[tuple[str, int], list[Recorded]] = {}
        for step in steps:
            if step.request is not None:
                self._attempts.setdefault((step.request.asked_by, step.request.call_index), []).append(step)
        self._approvals = approvals
        self._used = {step.id for step in steps}
        self._pieces: list[Piece] = []
        self._messages: list[Message] = []
        self._asking: Message | None = None
        self._answers: tuple[str | None, ...] = ()
        self._open: tuple[OpenCall, ...] = ()
        self._iteration_count = 0
        self._hop_count = 0
        self._misfit_count = 0
        self._finish_reason: FinishReason | None = None
        self._misfit: str | None = None
        self._notices: list[Notice] = []

    def take_round(self, step: Recorded, answer: ModelAnswer) -> None:
        self.extraction = None
        # Some servers answer with calls although no tool was offered; those are not taken up.
        may_call = not self._node.end and self._iteration_count < self._definition.limits.iterations
        if answer.tool_calls and may_call:
            self._iteration_count += 1
            if self._node.answer_schema is None:  # else the reply is the document alone
                self._say(step.id, answer.text)
            self._take_calls(step, answer)
        else:
            self._take_answer(step, answer)

    def progress(self) -> Progress:
        return Progress(
            node=self._node,
            asked_in=self._asked_in,
            has_left=self._has_left,
            variables=self._variables,
            has_moved=self._has_moved,
            pieces=tuple(self._pieces),
            messages=tuple(self._messages),
            asking=self._asking,
            answers=self._answers,
            open_calls=self._open,
            iteration_count=self._iteration_count,
            hop_count=self._hop_count,
            finish_reason=self._finish_reason,
            misfit=self._misfit,
            extraction=self.extraction,
            notices=tuple(self._notices),
        )

    def _take_answer(self, step: Recorded, answer: ModelAnswer) -> None:
        schema = self._node.answer_schema
        misfit = None if schema is None else misfit_of(answer.text, schema)
        if misfit is not None and self._misfit_count < MISFITS_MAX:
            self._misfit_count += 1
            again = f"{misfit} Answer again with a document that fits."
            said = Message(role="assistant", text=answer.text)
            self._messages += [said, Message(role="user", text=again)]
            return
        self._misfit = misfit
        if misfit is None:
            self._say(step.id, answer.text)
        self._finish_reason = FinishReason(answer.finish_reason)
        if self._iteration_count >= self._definition.limits.iterations and not self._node.end:
            message = f"The turn asked for tools {self._iteration_count} times, which is the limit."
            self._notices.append(Notice(code="iteration_limit", message=message))
        if self._hop_count >= self._definition.limits.hops and self._node.transitions:
            message = f"The turn took {self._hop_count} transitions, which is the limit."
            self._notices.append(Notice(code="hop_limit", message=message))

    def _take_calls(self, step: Recorded, answer: ModelAnswer) -> None:
        self._asked_in, hop_count = self._node, self._hop_count
        asking = Message(role="assistant", text=answer.text, tool_calls=answer.tool_calls)
        answers: list[str | None] = []
        still_open: list[OpenCall] = []
        for index, call in enumerate(answer.tool_calls):
            attempt = next(iter(reversed(self._attempts.get((step.id, index), []))), None)
            approval = self._approval(step.id, index)
            content = self._content(attempt, approval)
            answers.append(content)
            if content is None:
                still_open.append(
                    OpenCall(asked_by=step.id, index=index, call=call, step=attempt, approval=approval)
                )
        if still_open:
            self._asking, self._answers, self._open = asking, tuple(answers), tuple(still_open)
            self._has_left = self._hop_count > hop_count
        else:
            self._asked_in = self._node
            self._messages += [asking, *_results(asking, answers)]

    def _content(self, attempt: Recorded | None, approval: Approval | None) -> str | None:
        """The answer to a call, with all that goes with it; None while there is none."""
        denied = approval if approval is not None and approval.decision is Decision.DENIED else None
        if attempt is None:
            return None if denied is None else denial(denied)
        answer = attempt.answer
        if not isinstance(answer, ToolAnswer):
            return None
        if answer.end is ToolEnd.UNKNOWN:
            return None if denied is None else f"{answer.content} It was not made again.{_note(denied)}"
        self._say(attempt.id, answer.says)
        if answer.standing is not None:
            name = answer.standing.node
            self._node = self._definition.node(name) or Node(name=name)
            self._variables = answer.standing.variables
            self._has_moved = True
            self._hop_count += 1
        if answer.notice is not None:
            self._notices.append(answer.notice)
        return answer.content

    def _approval(self, asked_by: str, index: int) -> Approval | None:
        """The newest question about a call that no step has used."""
        return next(
            (
                approval
                for approval in reversed(self._approvals)
                if (approval.asked_by, approval.call_index) == (asked_by, index)
                and approval.step_id not in self._used
            ),
            None,
        )

    def _say(self, step_id: str, text: str) -> None:
        if text.strip():
            separator = PIECE_SEPARATOR if self._pieces else ""
            self._pieces.append(Piece(step_id=step_id, text=separator + text))


def denial(approval: Approval) -> str:
    """What the model is told of a call that was denied."""
    if approval.has_expired:
        return "Nobody decided about this call in time, so it was not made."
    return f"A person denied this call, so it was not made.{_note(approval)}"


def _note(approval: Approval) -> str:
    return f" They said: {approval.note}" if approval.note else ""


def _results(asking: Message, answers: Sequence[str | None]) -> list[Message]:
    return [
        Message(role="tool", text="Taken." if content is None else content, tool_call_id=call.id)
        for call, content in zip(asking.tool_calls, answers, strict=True)
    ]
