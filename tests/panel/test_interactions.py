"""What a call was told and what it answered, in the inspector."""

from playwright.async_api import expect

from tests.factories import World
from tests.panel.agents import add_agent
from tests.panel.person import Person
from tests.providers.server import FakeProvider, Plan


async def test_a_calls_prompt_and_answer_are_shown_as_they_were(
    person: Person, world: World, provider: FakeProvider
) -> None:
    await add_agent(world, "Talker", instructions="Be kind and brief.", speaker="Talker")
    provider.plans.append(Plan(text="I am kind."))
    await person.start(agent="Talker")
    await person.ask("Who are you?", turn=1)
    await person.act(1, "Inspect this turn")

    await person.button("Prompt and answer").click()

    inspector = person.page.get_by_role("tabpanel", name="Turn")
    await expect(inspector.get_by_label("Instructions")).to_contain_text("Be kind and brief.")
    await expect(inspector.locator(".messages li")).to_contain_text(["Who are you?"])
    await expect(inspector.get_by_label("Answer")).to_have_text("I am kind.")
    await expect(inspector).to_contain_text("Made of 1 turn")
    await expect(inspector).not_to_contain_text("not exactly what was sent")
