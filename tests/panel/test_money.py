"""What it has cost: live, by what became of it, per turn, and over the turns."""

import re
from decimal import Decimal

from playwright.async_api import expect

from api.store.scopes import Scope
from tests.factories import World
from tests.panel.agents import add_agent
from tests.panel.person import Person
from tests.panel.test_futures import edit
from tests.providers.server import FakeProvider, Plan


async def test_active_discarded_cancelled_and_failed_are_apart_and_add_up(
    person: Person, world: World, provider: FakeProvider
) -> None:
    await add_agent(world, "Priced", model="openai:gpt-4o-mini")
    provider.plans.append(Plan(text="The first answer.", input_tokens=1000))
    provider.plans.append(Plan(text="The second answer.", input_tokens=2000))
    provider.plans.append(Plan(text="Words before the stop", stall_after=3))
    # A call whose stream breaks is made once more, and both are paid.
    provider.plans += [Plan(text="Words before the fault", error_after=3)] * 2
    session_id = await person.start(agent="Priced")
    await person.ask("One.", turn=1)
    await edit(person, 1, "Two.")
    await person.say("Three.")
    await expect(person.turn(2).locator(".reply.live")).to_contain_text("Words before")
    await person.composer.press("Escape")
    await expect(person.turn(2)).to_have_attribute("data-state", "cancelled")
    await person.say("Four.")
    await expect(person.turn(3)).to_have_attribute("data-state", "failed")

    await person.page.get_by_role("tab", name="Cost").click()

    fates = person.page.locator(".fates > div")
    await expect(fates).to_have_count(4)
    await expect(fates.filter(has_text="Active")).to_contain_text("1 call")
    await expect(fates.filter(has_text="Discarded")).to_contain_text("1 call")
    await expect(fates.filter(has_text="Cancelled")).to_contain_text("1 call")
    await expect(fates.filter(has_text="Failed")).to_contain_text("2 calls")
    ledger = (await person.call("GET", f"/usage/entries?session_id={session_id}"))["items"]
    costs = [Decimal(entry["cost"]) for entry in ledger]
    assert min(costs) > 0
    sums = {"Discarded": costs[:1], "Active": costs[1:2], "Cancelled": costs[2:3], "Failed": costs[3:]}
    await expect(person.page.locator(".fates")).to_have_attribute("aria-busy", "false")
    for fate, parts in sums.items():
        shown = await fates.filter(has_text=fate).locator("dd").inner_text()
        assert says(shown.split("\n")[0], sum(parts)), (fate, shown, parts)
    assert says(await person.page.locator(".total strong").inner_text(), sum(costs))


def says(shown: str, amount: Decimal | int) -> bool:
    """Whether this amount is told, to as many digits as the panel chose."""
    return Decimal(shown.removeprefix("$")) == round(Decimal(amount), len(shown.partition(".")[2])) > 0


async def test_the_cost_is_live_and_stands_beside_each_turn(person: Person) -> None:
    await person.start()
    chip = person.page.locator(".cost-chip")
    await expect(chip).to_have_text("$0.00")

    await person.ask("My name is Ada.", turn=2)

    await expect(chip).to_have_text("$0.00027")
    # Of an earlier turn it appears when it is pointed at, or has the focus.
    await person.ask("What is my name?", turn=3)
    actions = person.turn(2).get_by_role("group", name="Actions on turn 2")
    await person.turn(3).hover()
    await expect(actions).to_have_css("opacity", "0")
    await person.turn(2).hover()
    await expect(actions).to_have_css("opacity", "1")
    await expect(person.turn(2).locator(".turn-cost")).to_contain_text("$0.00027")
    await expect(person.turn(2).locator(".turn-cost")).to_contain_text("66 tokens")
    await expect(person.turn(2).locator(".turn-cost")).to_have_attribute(
        "title", "60 input and 6 output tokens, 0.00027 USD"
    )


async def test_a_key_that_may_not_read_the_ledger_sees_the_sum_and_is_told(
    person: Person, world: World
) -> None:
    person.forgiven.append("403")
    scopes = frozenset({Scope.SESSIONS_READ, Scope.SESSIONS_WRITE})
    key = await world.store.access.create_key(world.organization_id, name="tester", scopes=scopes)
    person.key = key.secret
    await person.start()
    await person.ask("My name is Ada.", turn=2)

    await person.page.locator(".cost-chip").click()

    await expect(person.page.locator(".total strong")).to_have_text("$0.00027")
    await person.sees("What became of it cannot be told:")
    await expect(person.page.get_by_role("slider", name="Turn in the chart")).to_be_visible()


async def test_the_chart_shows_turns_and_leads_to_them(person: Person) -> None:
    await person.start()
    await person.ask("My name is Ada.", turn=2)
    await person.ask("What is my name?", turn=3)
    await person.page.locator(".cost-chip").click()

    chart = person.page.get_by_role("slider", name="Turn in the chart")

    await expect(chart).to_have_attribute(
        "aria-valuetext", re.compile(r"^Turn 3: Cost \$0\.000309, Tokens 78 in, 5 out")
    )
    await expect(chart.locator("rect")).to_have_count(6)
    await chart.focus()
    await chart.press("ArrowLeft")
    await expect(chart).to_have_attribute("aria-valuetext", re.compile("^Turn 2: "))
    await chart.press("Enter")
    await expect(person.turn(2)).to_be_focused()
