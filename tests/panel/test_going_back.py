"""Rewind, edit, run again: told before, undone after."""

import re

from playwright.async_api import expect

from tests.factories import World
from tests.panel.agents import add_agent
from tests.panel.person import Person
from tests.providers.server import FakeProvider, Plan


async def conversation(person: Person) -> str:
    """A session with a greeting and three questions."""
    session_id = await person.start(name="Going back")
    await person.ask("My name is Ada.", turn=2)
    await person.ask("What is my name?", turn=3)
    await person.ask("My town is London.", turn=4)
    return session_id


async def test_a_rewind_is_previewed_done_and_undone(person: Person) -> None:
    session_id = await conversation(person)
    before = await person.session(session_id)

    await person.act(2, "Rewind to here")

    await expect(person.preview).to_contain_text("Rewind to turn 2?")
    await expect(person.preview).to_contain_text("2 turns with 2 replies out of effect")
    await expect(person.preview).to_contain_text("tokens and $0.000")
    await expect(person.preview).to_contain_text("No tool call among them that cannot be undone")
    assert (await person.session(session_id))["revision"] == before["revision"]

    await person.preview.get_by_role("button", name="Rewind").click()

    await person.sees("2 turns are out of effect.")
    assert (await person.session(session_id))["cursor"] == 2
    await person.button("Undo").click()
    await expect(person.page.get_by_text("2 turns are out of effect.")).to_have_count(0)
    assert (await person.session(session_id))["cursor"] == 4


async def test_a_preview_can_be_put_away_and_nothing_has_happened(person: Person) -> None:
    session_id = await conversation(person)
    await person.act(2, "Run again")
    await expect(person.preview).to_contain_text("3 turns with 3 replies will be kept")

    await person.preview.get_by_role("button", name="Cancel").click()

    await expect(person.preview).to_have_count(0)
    assert (await person.session(session_id))["discarded_count"] == 0


async def test_an_edited_turn_runs_again_and_undo_brings_all_of_it_back(person: Person) -> None:
    session_id = await conversation(person)
    await person.act(2, "Edit")
    await person.page.get_by_label("Other words for turn 2").fill("My name is Grace.")
    await expect(person.preview).to_contain_text("3 turns with 3 replies will be kept as a discarded future")

    await person.preview.get_by_role("button", name="Run again").click()

    await expect(person.turn(2).locator(".reply")).to_contain_text("your name is Grace")
    await expect(person.turn(2)).to_have_attribute("data-state", "completed")
    await expect(person.turn(3)).to_have_count(0)
    await person.sees("3 turns kept as discarded future 1.")
    await person.button("Undo").click()
    await expect(person.turn(4)).to_contain_text("My town is London.")
    await expect(person.turn(2)).to_contain_text("your name is Ada")
    assert (await person.session(session_id))["turn_count"] == 4


async def test_the_same_words_run_again(person: Person) -> None:
    session_id = await conversation(person)
    await person.act(4, "Run again")
    await expect(person.preview).to_contain_text("1 turn with 1 reply will be kept")

    await person.preview.get_by_role("button", name="Run again").click()

    await expect(person.page.get_by_role("article", name="Discarded future 1")).to_be_visible()
    await expect(person.turn(4)).to_have_attribute("data-state", "completed")
    assert (await person.session(session_id))["discarded_count"] == 1
    await person.button("Undo").click()
    await expect(person.page.get_by_role("article", name="Discarded future 2")).to_be_visible()
    await expect(person.turn(4)).to_contain_text("My town is London.")


async def test_saying_something_behind_a_moved_cursor_keeps_what_was_there(person: Person) -> None:
    await conversation(person)
    await person.act(2, "Rewind to here")
    await person.preview.get_by_role("button", name="Rewind").click()
    await person.sees("2 turns are out of effect.")

    await person.ask("What is my town?", turn=3)

    await person.sees("2 turns kept as discarded future 1.")
    await expect(person.turn(3)).to_contain_text("You have not told me your town")
    await person.button("Undo").click()
    await expect(person.turn(4)).to_contain_text("My town is London.")


async def test_the_line_can_be_rewound_to_its_start_and_forward_again(person: Person) -> None:
    session_id = await conversation(person)
    await person.act(1, "Rewind to the start")
    await person.preview.get_by_role("button", name="Rewind").click()
    await person.sees("4 turns are out of effect.")
    assert (await person.session(session_id))["cursor"] == 0

    await person.button("Move forward to the end").click()
    await expect(person.preview).to_contain_text("Every turn of the line is in effect")
    await person.preview.get_by_role("button", name="Rewind").click()

    await expect(person.page.get_by_text("are out of effect")).to_have_count(0)
    assert (await person.session(session_id))["cursor"] == 4


async def test_a_running_turn_is_named_in_the_preview_and_stopped_by_the_rewind(
    person: Person, world: World, provider: FakeProvider
) -> None:
    await add_agent(world, "Talker")
    provider.plans += [Plan(text="One."), Plan(text="Two."), Plan(text="Words of the third", stall_after=2)]
    await person.start(agent="Talker")
    await person.ask("First?", turn=1)
    await person.ask("Second?", turn=2)
    await person.say("Third?")
    await expect(person.turn(3).locator(".reply.live")).to_contain_text("Words of")

    await person.act(1, "Rewind to here")

    await expect(person.preview).to_contain_text("The running turn is stopped.")
    await person.preview.get_by_role("button", name="Rewind").click()
    await expect(person.turn(3)).to_have_attribute("data-state", "cancelled")
    await expect(person.turn(3).locator(".reply")).to_contain_text("Words of")
    await person.sees("2 turns are out of effect.")


async def test_a_turn_is_forked_into_a_session_of_its_own(person: Person) -> None:
    first = await conversation(person)
    await person.act(3, "Fork a new session from here")

    await expect(person.turn(3)).to_contain_text("Your name is Ada.")
    await expect(person.turn(4)).to_have_count(0)
    await expect(person.page).not_to_have_url(re.compile(first))
    assert (await person.session(first))["turn_count"] == 4
