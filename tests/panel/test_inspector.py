"""One turn in detail."""

import itertools
import re
import shlex

from playwright.async_api import Locator, expect

from api.agents.definition import Node, Transition, Variable, VariableType
from tests.factories import World
from tests.panel.agents import add_agent
from tests.panel.person import Person
from tests.panel.test_futures import edit
from tests.providers.server import FakeProvider, Plan, PlannedCall

NODES = (
    Node(
        name="start",
        instructions="Find out what they want.",
        transitions=(Transition(to="booking", label="book", condition="They want to come."),),
        extraction=(Variable(name="name"), Variable(name="age", type=VariableType.INTEGER)),
    ),
    Node(
        name="booking",
        instructions="Book a day for {{name}}.",
        transitions=(Transition(to="start", label="again", condition="They want something else."),),
        extraction=(Variable(name="age", type=VariableType.INTEGER), Variable(name="day")),
    ),
)


def moving(label: str, learned: str, said: str) -> tuple[Plan, ...]:
    """What a model says that takes a way out, is asked what it has learned, and goes on."""
    return Plan(calls=(PlannedCall(name=label, arguments="{}"),)), Plan(text=learned), Plan(text=said)


def standing(person: Person) -> Locator:
    """Node and variables before and after the turn, row by row."""
    return person.page.get_by_role("table", name="Node and variables").locator("tbody tr")


async def test_a_turn_shows_its_steps_timing_usage_events_and_node(person: Person) -> None:
    await person.start()
    await person.ask("My name is Ada.", turn=2)

    await person.act(2, "Inspect this turn")

    inspector = person.page.get_by_role("tabpanel", name="Turn")
    await expect(inspector).to_contain_text("60 in (0 cached), 6 out (0 reasoning)")
    await expect(inspector).to_contain_text("$0.00027")
    await expect(inspector).to_contain_text("scripted:demo")
    await expect(inspector.locator(".timing i")).to_have_count(1)
    await expect(standing(person)).to_have_text(re.compile("^nodestartstart$"))
    await expect(inspector).to_contain_text("No variables are set.")
    events = inspector.locator(".events li")
    await expect(events).to_have_count(2)
    await expect(events).to_contain_text(["added a turn", "A turn was answered"])


async def test_node_and_variables_are_shown_before_and_after_a_turn(
    person: Person, world: World, provider: FakeProvider
) -> None:
    await add_agent(world, "Clinic", nodes=NODES)
    provider.plans += moving("book", '{"name": "Ada", "age": 36}', "Which day?")
    provider.plans += [Plan(text="Any day will do.")]
    provider.plans += moving("again", '{"age": 37, "day": "Monday"}', "Monday it is.")
    await person.start(agent="Clinic")
    await person.ask("I am Ada, 36, and want to come.", turn=1)
    await person.ask("Which days are there?", turn=2)
    await person.ask("I am 37 since today. Monday!", turn=3)

    await person.act(1, "Inspect this turn")
    await expect(standing(person)).to_have_text(["nodestartbooking", "name–Ada", "age–36"])
    await person.button("Prompt and answer").nth(1).click()
    call = person.page.locator(".call")
    await expect(call).to_contain_text("Made for: extraction, in node start.")
    await expect(call.get_by_label("Schema of the answer")).to_contain_text('"age"')
    await expect(call.get_by_label("Answer", exact=True)).to_have_text('{"name": "Ada", "age": 36}')

    # A turn that changed nothing shows what stood there all along.
    await person.act(2, "Inspect this turn")
    await expect(standing(person)).to_have_text(["nodebookingbooking", "nameAdaAda", "age3636"])
    await expect(person.page.locator(".standing [data-kind=same]")).to_have_count(3)

    await person.act(3, "Inspect this turn")
    await expect(standing(person)).to_have_text(["nodebookingstart", "nameAdaAda", "age3637", "day–Monday"])
    await expect(person.page.locator(".standing [data-kind=changed]")).to_have_text(
        ["nodebookingstart", "age3637"]
    )


async def test_a_discarded_turn_is_inspected_beside_the_one_that_took_its_place(person: Person) -> None:
    await person.start()
    await person.ask("My name is Ada.", turn=2)
    await edit(person, 2, "My name is Grace.")
    await person.page.get_by_role("link", name="Compare future 1").click()

    await person.button("Inspect turn 2 of the future").click()

    inspector = person.page.get_by_role("tabpanel", name="Turn")
    await expect(inspector).to_contain_text("60 in (0 cached)")
    await person.button("Prompt and answer").click()
    await expect(inspector.get_by_label("Answer")).to_contain_text("your name is Ada")
    await person.button("Inspect turn 2 of the line").click()
    await expect(inspector).to_contain_text("61 in (0 cached)")
    await person.button("Prompt and answer").click()
    await expect(inspector.get_by_label("Answer")).to_contain_text("your name is Grace")


async def test_a_turn_is_copied_as_curl_without_the_key(new_person: "object") -> None:
    person: Person = await new_person(permissions=["clipboard-read", "clipboard-write"])  # type: ignore[operator]
    session_id = await person.start()
    await person.ask("It's me.", turn=2)
    await person.act(2, "Inspect this turn")

    await person.button("Copy as curl").click()

    await expect(person.button("Copied")).to_be_visible()
    copied = await person.page.evaluate("() => navigator.clipboard.readText()")
    assert person.key not in copied
    words = shlex.split(copied.replace("$TURNLEDGER_KEY", person.key))
    headers = dict(word.split(": ", 1) for flag, word in itertools.pairwise(words) if flag == "-H")
    assert words[:5] == ["curl", "-sS", "-X", "POST", f"{person.address}/v1/sessions/{session_id}/messages"]
    assert words[-2:] == ["-d", '{"text":"It\'s me."}']
    # What was copied does what it says.
    answer = await person.page.request.post(words[4], headers=headers, data=words[-1])
    assert answer.ok
    await expect(person.turn(3)).to_contain_text("It's me.")
