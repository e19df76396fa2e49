"""Discarded futures: the tree, the comparison, and back onto the line."""

import asyncio
import re

from playwright.async_api import Locator, Route, expect

from tests.panel.person import WAIT_MS, Person


def future(person: Person, ordinal: int) -> Locator:
    """A card of the tree."""
    return person.page.get_by_role("article", name=f"Discarded future {ordinal}")


async def edit(person: Person, turn: int, text: str) -> None:
    """Run a turn again with other words."""
    await person.act(turn, "Edit")
    await person.page.get_by_label(f"Other words for turn {turn}").fill(text)
    await person.preview.get_by_role("button", name="Run again").click()
    await expect(person.preview).to_have_count(0)
    await expect(person.turn(turn)).to_contain_text(text)
    await expect(person.turn(turn)).to_have_attribute("data-state", "completed")


async def forked(person: Person) -> None:
    """A line with one future: Grace instead of Ada."""
    await person.start(name="Ada or Grace")
    await person.ask("My name is Ada.", turn=2)
    await person.ask("What is my name?", turn=3)
    await edit(person, 2, "My name is Grace.")


async def test_nothing_discarded_is_said_kindly(person: Person) -> None:
    await person.start()

    await person.sees("Nothing discarded yet")


async def test_a_future_hangs_on_the_tree_with_what_it_holds(person: Person) -> None:
    await forked(person)

    card = future(person, 1)
    await expect(card).to_contain_text("2 turns")
    await expect(card).to_contain_text("My name is Ada.")
    await expect(card).to_contain_text("$0.00")
    await person.sees("After turn 1")


async def test_a_future_whose_stem_was_discarded_hangs_on_the_other_one(person: Person) -> None:
    await person.start()
    await person.ask("My name is Ada.", turn=2)
    await person.ask("What is my name?", turn=3)
    await edit(person, 3, "What is my town?")
    await edit(person, 2, "My name is Grace.")

    nested = person.page.locator("li.branch li.branch").get_by_role("article", name="Discarded future 1")

    await expect(nested).to_be_visible()
    await expect(person.page.locator("li.junction")).to_have_count(1)


async def test_where_a_future_hangs_is_asked_again_when_the_session_has_moved_on(person: Person) -> None:
    await person.start()
    await person.ask("My name is Ada.", turn=2)
    await person.ask("What is my name?", turn=3)
    await edit(person, 3, "What is my town?")
    asked: list[int] = []

    async def overtake_once(route: Route) -> None:
        answer = await route.fetch()
        preview = await answer.json()
        asked.append(preview["revision"])
        # Zero is none that the page could know: the one before could be, as the turn ends meanwhile.
        await route.fulfill(response=answer, json=preview | ({"revision": 0} if len(asked) == 1 else {}))

    await person.page.route("**/restore-preview*", overtake_once)
    await edit(person, 2, "My name is Grace.")

    nested = person.page.locator("li.branch li.branch").get_by_role("article", name="Discarded future 1")
    await expect(nested).to_be_visible()
    async with asyncio.timeout(WAIT_MS / 1000):
        while len(asked) < 2:
            await asyncio.sleep(0.05)


async def test_a_future_is_compared_word_by_word_with_cost_and_latency(person: Person) -> None:
    await forked(person)
    await person.ask("What is my name?", turn=3)

    await person.page.get_by_role("link", name="Compare future 1").click()

    pair = person.page.get_by_role("region", name="Turn 3 in both")
    await expect(pair.locator("del")).to_have_text("Ada")
    await expect(pair.locator("ins")).to_have_text("Grace")
    await expect(pair).to_contain_text("answers 80 % alike")
    for side in (pair.locator(".side.left"), pair.locator(".side.right")):
        await expect(side).to_contain_text(re.compile(r"\$0\.000\d+ · \d+ tokens · \d+ ms"))
    sums = person.page.locator(".sum")
    await expect(sums).to_have_count(2)
    for words in ("Cost", "Tokens", "Latency"):
        await expect(sums.first).to_contain_text(words)
    await person.page.get_by_role("link", name="Back").click()
    await expect(person.composer).to_be_visible()


async def test_the_tree_leads_to_its_place_in_the_conversation_from_the_comparison(person: Person) -> None:
    await forked(person)
    await person.page.get_by_role("link", name="Compare future 1").click()

    await person.button("After turn 1").click()

    await expect(person.turn(1)).to_be_focused()
    await expect(person.turn(1)).to_be_in_viewport()


async def test_a_future_is_restored_from_the_comparison_and_the_line_takes_its_place(person: Person) -> None:
    await forked(person)
    await person.page.get_by_role("link", name="Compare future 1").click()
    await expect(person.page.get_by_role("region", name="Turn 3 in both")).to_be_visible()
    await person.button("Restore future 1").click()
    await expect(person.preview).to_contain_text("1 turn with 1 reply will be kept as a discarded future")

    await person.preview.get_by_role("button", name="Restore").click()

    await person.sees("Discarded future 1 is not there any more")
    await person.page.get_by_role("link", name="Back to the conversation").click()
    await expect(person.turn(3)).to_contain_text("Your name is Ada.")
    await expect(future(person, 2)).to_contain_text("My name is Grace.")


async def test_a_future_is_restored_from_the_tree_and_undone(person: Person) -> None:
    await forked(person)
    await person.button("Restore future 1").click()
    await person.preview.get_by_role("button", name="Restore").click()
    await expect(person.turn(3)).to_contain_text("Your name is Ada.")
    await expect(future(person, 2)).to_be_visible()

    await person.button("Undo").click()

    await expect(person.turn(2)).to_contain_text("your name is Grace")
    await expect(future(person, 3)).to_be_visible()
