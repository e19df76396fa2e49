"""A prompt that is rendered again is held against its digest, and what differs is named."""

from typing import Any

import msgspec
import pytest

from api.agents.definition import Definition, Node, Tool, ToolEffect
from api.models.base import ToolSpec
from api.prompt import again, frame, window
from api.prompt.again import Past, Reference
from api.session.document import Reply, Turn, TurnState, UserMessage
from api.store.base import utc_now

SPEC = ToolSpec(name="look", description="Looks.", parameters={"type": "object"})
DEFINITION = Definition(
    model="scripted:demo",
    instructions="For {{customer.name | them}}: {{context.order}} on {{variables.day}}, {{mood | well}}.",
    tools=(Tool(name="look", effect=ToolEffect.READ, function="looking"),),
)
NODE = Node(name="start", tools=("look",))
CONTEXT = {"customer": {"name": "Ada"}, "order": 7, "day": "none"}
VARIABLES = {"day": "monday"}


def turn(position: int, *, state: TurnState = TurnState.COMPLETED) -> Turn:
    now = utc_now()
    said = () if state is TurnState.PENDING else (Reply(speaker="assistant", text="Hi.", created_at=now),)
    return Turn(
        id=f"trn_{position}",
        branch=0,
        position=position,
        state=state,
        revision=1,
        created_at=now,
        user_message=UserMessage(text=f"Question {position}"),
        replies=said,
    )


EARLIER = (turn(2), turn(1, state=TurnState.FAILED), turn(0))
CURRENT = turn(3, state=TurnState.PENDING)


def recorded() -> tuple[window.Prompt, Reference]:
    """A prompt as it was sent, and what was stored of it."""
    of_call = frame.of_reply(DEFINITION, NODE, CURRENT, context=CONTEXT, variables=VARIABLES, tools=(SPEC,))
    prompt = window.build(DEFINITION, CURRENT, EARLIER, frame=of_call, model="demo", context_tokens=10_000)
    stored = msgspec.json.encode(again.reference(prompt, of_call, ()))
    return prompt, msgspec.json.decode(stored, type=Reference)


def past(**fields: Any) -> Past:
    stood: dict[str, Any] = {
        "definition": DEFINITION,
        "turn": CURRENT,
        "earlier": EARLIER,
        "context": CONTEXT,
        "node": "start",
        "variables": VARIABLES,
        "steps": (),
        "tools": (SPEC,),
    }
    return Past(**stood | fields)


def test_what_stood_then_renders_to_what_was_sent() -> None:
    prompt, reference = recorded()

    rendered = again.render(reference, past(), purpose="reply", model="demo")

    assert rendered.difference is None
    assert rendered.request == prompt.request


def test_the_sources_are_named() -> None:
    _, reference = recorded()

    sources = again.render(reference, past(), purpose="reply", model="demo").sources

    assert sources.turn_ids == ("trn_0", "trn_2", "trn_3")
    assert sources.context_fields == ("customer.name", "order")
    assert sources.variables == ("day",)
    assert sources.unfilled == ("mood",)
    assert [(tool.name, tool.source) for tool in sources.tools] == [("look", "function:looking")]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"tools": None}, "tools that were offered are not kept"),
        ({"earlier": EARLIER[:1]}, "turns that were shown are not all there"),
        ({"context": {}}, "instructions render differently"),
        ({"variables": {"day": "friday"}}, "instructions render differently"),
        ({"turn": msgspec.structs.replace(CURRENT, user_message=UserMessage(text="Else"))}, "messages"),
        ({"tools": (msgspec.structs.replace(SPEC, description="Sees."),)}, "tools or options"),
    ],
)
def test_a_difference_has_its_sentence(changed: dict[str, Any], words: str) -> None:
    _, reference = recorded()

    rendered = again.render(reference, past(**changed), purpose="reply", model="demo")

    assert rendered.difference is not None
    assert words in rendered.difference


def test_a_call_of_a_release_that_recorded_less_is_read_as_it_was() -> None:
    plain = Definition(model="scripted:demo", instructions="Be brief.")
    of_call = frame.of_reply(plain, NODE, CURRENT, context={}, variables={})
    prompt = window.build(plain, CURRENT, (), frame=of_call, model="demo", context_tokens=None)
    stored = {
        "instructions_sha256": again.reference(prompt, of_call, ()).instructions_sha256,
        "first_turn_id": CURRENT.id,
        "last_turn_id": CURRENT.id,
        "sha256": prompt.sha256,
    }

    reference = msgspec.convert(stored, Reference)
    rendered = again.render(
        reference, past(definition=plain, tools=(), earlier=()), purpose="reply", model="demo"
    )

    assert (reference.node, rendered.difference) == (None, None)
