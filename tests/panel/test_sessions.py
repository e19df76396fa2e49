"""The list of sessions: search, filters, rename, end, export, delete; on narrow screens too."""

import asyncio
import json
from pathlib import Path

import pytest
from playwright.async_api import Locator, Route, expect

from db.pool import Pool
from tests.factories import World
from tests.panel.agents import add_agent
from tests.panel.person import WAIT_MS, Person
from tests.panel.test_futures import edit
from tests.providers.server import FakeProvider, Plan


def rows(person: Person) -> Locator:
    """The sessions in the list."""
    return person.page.get_by_role("list", name="Sessions, newest first").get_by_role("listitem")


async def test_the_list_is_searched_and_filtered(person: Person, world: World, panel_pool: Pool) -> None:
    other = await add_agent(world, "Other", model="scripted:echo")
    helper = (await person.call("GET", "/agents"))["items"][-1]["id"]
    await person.call("POST", "/sessions", {"agent_id": helper, "name": "Alpha"})
    beta = await person.call("POST", "/sessions", {"agent_id": helper, "name": "Beta"})
    gamma = await person.call("POST", "/sessions", {"agent_id": other, "name": "Gamma"})
    await person.call("POST", f"/sessions/{beta['id']}/end", {}, If_Match="*")
    await person.call("POST", f"/sessions/{gamma['id']}/messages", {"text": "Say this again."}, If_Match="*")
    await person.arrive()
    await expect(rows(person)).to_have_count(3)

    await person.page.get_by_role("searchbox").fill("alp")
    await expect(rows(person)).to_have_count(1)
    await expect(rows(person)).to_contain_text("Alpha")
    await person.page.get_by_role("searchbox").fill(gamma["id"])
    await expect(rows(person)).to_contain_text("Gamma")
    await person.page.get_by_role("searchbox").fill("nothing is called so")
    await person.sees("No session is like that.")
    await person.page.get_by_role("searchbox").fill("")

    await person.button("Filters").click()
    await person.page.get_by_label("State").select_option("ended")
    await expect(rows(person)).to_have_count(1)
    await expect(rows(person)).to_contain_text("Beta")
    await person.page.get_by_label("State").select_option("")
    await person.page.locator("#filters").get_by_label("Agent").select_option(label="Other")
    await expect(rows(person)).to_contain_text(["Gamma"])
    await person.button("Clear filters").click()
    await expect(rows(person)).to_have_count(3)
    await panel_pool.execute(AGED, beta["id"].removeprefix("ses_"))
    await person.page.get_by_label("Active").select_option("day")
    await expect(rows(person)).to_have_count(2)
    await person.page.get_by_label("Active").select_option("week")
    await expect(rows(person)).to_have_count(3)


AGED = "UPDATE sessions SET active_hour = active_hour - interval '3 days' WHERE id = $1::uuid"


async def test_dear_sessions_are_found_however_far_down_the_list(
    person: Person, world: World, provider: FakeProvider
) -> None:
    agent = await add_agent(world, "Priced", model="openai:gpt-4o-mini")
    provider.plans.append(Plan(text="A long answer.", input_tokens=1_000_000))
    dear = await person.call("POST", "/sessions", {"agent_id": agent, "name": "A dear one"})
    await person.call("POST", f"/sessions/{dear['id']}/messages", {"text": "Go on."}, If_Match="*")
    # More than a page of others, which cost nothing.
    await asyncio.gather(*(world.session(name=f"Cheap {number}") for number in range(45)))
    await person.arrive()
    await expect(rows(person)).to_have_count(40)
    await expect(rows(person).filter(has_text="A dear one")).to_have_count(0)

    await person.button("Filters").click()
    await person.page.get_by_label("Cost").select_option("0.1")

    await expect(rows(person)).to_have_count(1)
    await expect(rows(person)).to_contain_text("A dear one")
    await expect(rows(person)).to_contain_text("$0.15")
    await person.page.get_by_label("Cost").select_option("1")
    await person.sees("No session is like that.")


async def test_a_session_is_renamed_from_its_title(person: Person) -> None:
    session_id = await person.start(name="Before")
    await person.page.get_by_role("heading", name="Before").get_by_role("button").click()
    await person.page.get_by_role("dialog").get_by_label("Name").fill("After")

    await person.page.get_by_role("dialog").get_by_role("button", name="Rename").click()

    await expect(person.page.get_by_role("heading", name="After")).to_be_visible()
    await expect(rows(person)).to_contain_text(["After"])
    assert (await person.session(session_id))["name"] == "After"
    assert (await person.page.title()).startswith("After")


@pytest.mark.parametrize("is_refused", [False, True])
async def test_a_question_that_is_put_away_takes_no_other_with_it_and_its_answer_is_told(
    person: Person, is_refused: bool
) -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        if route.request.method != "PATCH":
            await route.continue_()
            return
        asked.set()
        await may_answer.wait()
        if is_refused:
            await route.fulfill(status=422, json={"detail": "Not this name."})
        else:
            await route.continue_()

    person.forgiven.append("422")
    await person.start(name="Lunch")
    await person.page.route("**/v1/sessions/*", late)
    await person.page.get_by_role("button", name="Lunch", exact=True).click()
    dialog = person.page.get_by_role("dialog")
    await dialog.get_by_label("Name").fill("Dinner")
    await dialog.get_by_label("Name").press("Enter")
    await asyncio.wait_for(asked.wait(), WAIT_MS / 1000)
    await person.page.keyboard.press("Escape")
    await person.page.keyboard.press("?")
    may_answer.set()

    if is_refused:
        await person.sees("Not this name.")
    else:
        await expect(person.page.get_by_role("button", name="Dinner", exact=True)).to_be_visible()
    await expect(dialog).to_contain_text("Keyboard shortcuts")


async def test_a_session_is_ended_and_stays_readable(person: Person) -> None:
    session_id = await person.start(name="To its end")
    await person.ask("My name is Ada.", turn=2)
    await person.menu("End session")
    await person.page.get_by_role("dialog").get_by_label("How it ended").fill("solved")

    await person.page.get_by_role("dialog").get_by_role("button", name="End session").click()

    await person.sees("This session has ended: solved. It stays readable.")
    await expect(person.composer).to_have_count(0)
    await expect(person.turn(2)).to_contain_text("Noted: your name is Ada.")
    assert (await person.session(session_id))["resolution"] == "solved"


async def exported(person: Person, item: str, folder: Path) -> Path:
    """Choose from the menu, and give the file that comes."""
    async with person.page.expect_download() as coming:
        await person.menu(item)
    download = await coming.value
    path = folder / download.suggested_filename
    await download.save_as(path)
    return path


async def test_a_session_is_exported_whole_as_json(person: Person, tmp_path: Path) -> None:
    session_id = await person.start(name="Kept / on file")
    await person.ask("My name is Ada.", turn=2)
    await edit(person, 2, "My name is Grace.")

    file = await exported(person, "Export as JSON", tmp_path)

    assert file.name == "Kept-on-file.json"
    kept = json.loads(file.read_text())
    now = await person.session(session_id)
    assert (kept["kind"], kept["session"]["id"]) == ("turnledger.session", session_id)
    assert kept["session"]["revision"] == now["revision"] == len(kept["events"])
    messages = [line["turn"]["user_message"] for line in kept["turns"]]
    said = [message["text"] for message in messages if message is not None]
    assert said == ["My name is Ada.", "My name is Grace."]
    assert [future["ordinal"] for future in kept["discarded_futures"]] == [1]
    ledger = await person.call("GET", f"/usage/entries?session_id={session_id}")
    assert [entry["id"] for entry in kept["usage_entries"]] == [entry["id"] for entry in ledger["items"]]
    assert len(kept["usage_entries"]) == 2


async def test_a_conversation_is_exported_as_markdown(person: Person, tmp_path: Path) -> None:
    await person.start(name="Kept on file")
    await person.ask("My name is Ada.", turn=2)
    await edit(person, 2, "My name is Grace.")

    file = await exported(person, "Export as Markdown", tmp_path)

    assert file.name == "Kept-on-file.md"
    line, _, future = file.read_text().partition("# Discarded future 1")
    assert line.startswith("# Kept on file\n")
    assert "**User**\n\n> My name is Grace.\n" in line
    assert "> Noted: your name is Grace." in line
    assert "0.000288 USD" in line
    assert "Ada" not in line.partition("## Turn 2")[2]
    assert "> My name is Ada.\n" in future


async def test_an_export_that_fails_is_told(person: Person) -> None:
    person.forgiven.append("503")
    await person.start(name="Not now")
    await person.page.route(
        "**/export?*", lambda route: route.fulfill(status=503, json={"detail": "Not now."})
    )

    await person.menu("Export as JSON")

    await expect(person.page.get_by_role("alert")).to_have_text("Not now.")


async def test_a_session_is_deleted_after_it_was_confirmed(person: Person) -> None:
    session_id = await person.start(name="To be forgotten")
    await person.menu("Delete")
    dialog = person.page.get_by_role("dialog")
    await expect(dialog.get_by_role("button", name="Delete")).to_be_disabled()
    await dialog.get_by_label("Yes, delete its turn").check()

    await dialog.get_by_role("button", name="Delete").click()

    await person.page.get_by_role("heading", name="New session").wait_for()
    await expect(rows(person)).to_have_count(0)
    person.forgiven.append("404")
    await person.page.goto(f"{person.address}/#/sessions/{session_id}")
    await person.sees("There is no such session")


async def test_what_is_typed_stays_when_one_looks_at_another_session(person: Person) -> None:
    first = await person.start(name="First")
    await person.composer.fill("Not finished yet")
    await person.page.get_by_role("link", name="New session").last.click()
    await person.button("Start").click()
    await expect(person.composer).to_have_value("")

    await person.page.goto(f"{person.address}/#/sessions/{first}")

    await expect(person.composer).to_have_value("Not finished yet")


async def test_on_a_narrow_screen_both_side_panels_are_drawers(new_person: "object") -> None:
    person: Person = await new_person(viewport={"width": 390, "height": 780}, has_touch=True)  # type: ignore[operator]
    await person.start(name="On the way")
    await person.composer.fill("My name is Ada.")
    await person.button("Send").click()
    await expect(person.turn(2)).to_contain_text("Noted: your name is Ada.")
    width = await person.page.evaluate("() => document.documentElement.scrollWidth")
    assert width <= 390

    await person.page.get_by_role("button", name="Sessions").click()
    await expect(rows(person).first).to_be_in_viewport()
    await person.page.keyboard.press("Escape")
    await expect(rows(person).first).not_to_be_in_viewport()
    await person.button("Show the side panel").click()
    await expect(person.page.get_by_role("tab", name="Futures")).to_be_in_viewport()
    await person.page.get_by_role("complementary").get_by_role("button", name="Hide the side panel").click()
    await expect(person.page.get_by_role("tab", name="Futures")).not_to_be_in_viewport()
