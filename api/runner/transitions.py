"""Leaving a node: what it has brought is extracted, a line is spoken, and the next node is entered."""

import json
import math
from typing import Any

import msgspec
from loguru import logger

from api.agents import templates
from api.agents.definition import Node, Transition, Variable, VariableType
from api.models.base import ModelError
from api.models.text import storable
from api.prompt import frame
from api.prompt.progress import (
    EXTRACTION,
    ModelAnswer,
    OpenCall,
    Progress,
    Standing,
    ToolAnswer,
    ToolEnd,
    misfit_of,
)
from api.runner.delta_log import DeltaLog
from api.runner.model_calls import ModelCalls
from api.runner.run import Run
from api.runner.tool_calls import ToolCalls
from api.session.document import VARIABLES_BYTES_MAX, Notice

_ONE_AT_A_TIME = "Another transition was taken already; this one was not."
_NO_MORE = "No more transitions can be taken in this turn."

_INTEGER_BITS = 63


class Transitions:
    """Takes the transitions of all turns of a process."""

    def __init__(self, models: ModelCalls, tools: ToolCalls, deltas: DeltaLog) -> None:
        self._models = models
        self._tools = tools
        self._deltas = deltas

    async def take(self, run: Run, progress: Progress) -> None:
        """Answer the open calls of the round, all of them transitions: the first is taken, no other.

        Raises:
            TurnLost: the turn was taken from the run.
        """
        by_label = {transition.label: transition for transition in progress.transitions(run.definition)}
        has_left = progress.has_left
        for call in progress.open_calls:
            transition = by_label.get(call.call.name)
            if has_left:
                await self._tools.refuse(run, progress, call, _ONE_AT_A_TIME)
            elif transition is None:
                await self._tools.refuse(run, progress, call, _NO_MORE)
            else:
                await self._move(run, progress, call, transition)
                has_left = True

    async def _move(self, run: Run, progress: Progress, call: OpenCall, transition: Transition) -> None:
        variables, notice = await self._learn(run, progress)
        says = ""
        if transition.says:
            says = templates.render(templates.read(transition.says), templates.scope(run.context, variables))
        answer = ToolAnswer(
            end=ToolEnd.COMPLETED,
            content="Done. Go on by the instructions that hold now.",
            says=says,
            standing=Standing(node=transition.to, variables=variables),
            notice=notice,
        )
        step_id = await self._tools.record_transition(run, progress, call, answer)
        if says.strip():
            self._deltas.add(run.claim, run.hold, step_id, offset=0, text=progress.separator + says)

    async def _learn(self, run: Run, progress: Progress) -> tuple[dict[str, Any], Notice | None]:
        """The variables as they stand when the node is left; a fault leaves them as they were."""
        node = progress.node
        if not node.extraction:
            return progress.variables, None
        try:
            answer = progress.extraction or await self._extract(run, progress)
            learned = _learned(node, answer)
        except (ModelError, ValueError) as error:
            logger.warning("nothing extracted", node=node.name, error=type(error).__name__)
            message = f"Nothing was learned when the node `{node.name}` was left: {error}"
            return progress.variables, Notice(code="extraction_failed", message=message[:500])
        variables = {**progress.variables, **learned}
        if len(msgspec.json.encode(variables)) > VARIABLES_BYTES_MAX:
            message = f"What was learned in the node `{node.name}` is over {VARIABLES_BYTES_MAX} bytes."
            return progress.variables, Notice(code="extraction_failed", message=message)
        return variables, None

    async def _extract(self, run: Run, progress: Progress) -> ModelAnswer:
        of_node = frame.of_extraction(progress.node, messages=progress.settled_messages())
        return await self._models.make(run, of_node, purpose=EXTRACTION, separator=None)


def _learned(node: Node, answer: ModelAnswer) -> dict[str, Any]:
    """The fields that the conversation has settled.

    Raises:
        ValueError: the answer is not what was asked for.
    """
    misfit = misfit_of(answer.text, frame.extraction_schema(node.extraction))
    if misfit is not None:
        raise ValueError(misfit)
    document = json.loads(answer.text)
    return {
        variable.name: _exact(variable, document[variable.name])
        for variable in node.extraction
        if document[variable.name] is not None
    }


def _exact(variable: Variable, value: Any) -> Any:
    """A value as it can be stored. JSON Schema counts 3.0 as an integer; a variable of that type is one.

    Raises:
        ValueError: a number that other readers of JSON could not take.
    """
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"`{variable.name}` is too large.")
    exact = int(value) if variable.type is VariableType.INTEGER else value
    if isinstance(exact, int) and exact.bit_length() > _INTEGER_BITS:
        raise ValueError(f"`{variable.name}` is too large.")
    return exact
