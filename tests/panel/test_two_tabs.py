"""Two tabs, two people: changes appear live, refused writes lose nothing, broken connections heal."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from playwright.async_api import Route, expect

from tests.e2e.services import serving
from tests.factories import World
from tests.panel.agents import add_agent
from tests.panel.person import WAIT_MS, Person
from tests.providers.server import FakeProvider, Plan

NewPerson = Callable[..., Awaitable[Person]]


async def together(new_person: NewPerson) -> tuple[Person, Person, str]:
    """Two people in one session with two turns."""
    ada, grace = await new_person(), await new_person()
    for person in (ada, grace):
        person.forgiven += ["412", "ERR_INTERNET_DISCONNECTED", "ERR_NETWORK_CHANGED"]
    session_id = await ada.start(name="Together")
    await ada.ask("My name is Ada.", turn=2)
    await grace.open(session_id)
    await expect(grace.turn(2)).to_contain_text("My name is Ada.")
    return ada, grace, session_id


async def test_what_one_does_appears_in_the_other_tab(new_person: NewPerson) -> None:
    ada, grace, _ = await together(new_person)

    await ada.ask("What is my name?", turn=3)
    await expect(grace.turn(3)).to_contain_text("Your name is Ada.")
    await ada.act(2, "Rewind to here")
    await ada.preview.get_by_role("button", name="Rewind").click()
    await grace.sees("1 turn is out of effect.")
    await grace.ask("My town is Paris.", turn=3)

    await expect(ada.turn(3)).to_contain_text("My town is Paris.")
    await expect(ada.page.get_by_role("article", name="Discarded future 1")).to_be_visible()


async def test_a_refused_message_keeps_the_draft_tells_what_changed_and_is_rebased(
    new_person: NewPerson,
) -> None:
    ada, grace, _ = await together(new_person)
    await ada.page.get_by_role("button", name="Panel menu").click()
    await ada.page.get_by_role("menuitem", name="Preferences").click()
    await ada.page.get_by_label("Your name").fill("Ada Ł.")
    await ada.page.keyboard.press("Escape")
    async with grace.hearing_nothing():
        await ada.ask("What is my name?", turn=3)
        await grace.say("My town is Paris.")
        refusal = grace.page.get_by_role("alertdialog", name="Your message was not sent")
        await expect(refusal).to_be_visible()

    await expect(refusal).to_contain_text("The conversation went on while you were writing.")
    await expect(refusal).to_contain_text("Ada Ł. added a turn.")
    await expect(grace.composer).to_have_value("My town is Paris.")
    await expect(grace.turn(3)).to_contain_text("What is my name?")
    await refusal.get_by_role("button", name="Rebase on the new end").click()

    await expect(grace.turn(4)).to_contain_text("Noted: your town is Paris.")
    await expect(refusal).to_have_count(0)
    await expect(grace.composer).to_have_value("")
    await expect(ada.turn(4)).to_contain_text("Noted: your town is Paris.")


async def test_when_only_the_name_has_changed_the_message_is_sent_again(new_person: NewPerson) -> None:
    ada, grace, _ = await together(new_person)
    async with grace.hearing_nothing():
        await ada.page.get_by_role("heading", name="Together").get_by_role("button").click()
        await ada.page.get_by_role("dialog").get_by_label("Name").fill("Renamed")
        await ada.page.get_by_role("dialog").get_by_role("button", name="Rename").click()
        await expect(ada.page.get_by_role("heading", name="Renamed")).to_be_visible()
        await grace.say("My town is Paris.")
        await grace.sees("Something about the session changed, but nothing in the conversation.")

    await grace.button("Send again").click()

    await expect(grace.turn(3)).to_contain_text("Noted: your town is Paris.")
    await expect(grace.page.get_by_role("heading", name="Renamed")).to_be_visible()


async def test_a_draft_can_be_discarded(new_person: NewPerson) -> None:
    ada, grace, session_id = await together(new_person)
    async with grace.hearing_nothing():
        await ada.ask("What is my name?", turn=3)
        await grace.say("Never mind.")
        await grace.sees("Your message was not sent")

    await grace.button("Discard").click()

    await expect(grace.composer).to_have_value("")
    assert (await grace.session(session_id))["turn_count"] == 3


async def test_when_the_session_has_ended_the_draft_goes_into_a_new_one(new_person: NewPerson) -> None:
    ada, grace, session_id = await together(new_person)
    async with grace.hearing_nothing():
        document = await ada.session(session_id)
        await ada.call("POST", f"/sessions/{session_id}/end", {"expected_revision": document["revision"]})
        await grace.say("My town is Paris.")
        await grace.sees("The session has ended and takes no further messages.")

    await expect(grace.page.get_by_text("This session has ended.")).to_be_visible()
    await grace.button("Begin a new session with it").click()
    await grace.sees("Your draft comes along: “My town is Paris.”")
    await grace.button("Start").click()

    await expect(grace.composer).to_have_value("My town is Paris.")


async def test_a_preview_that_is_no_longer_true_is_shown_anew_before_anything_happens(
    new_person: NewPerson,
) -> None:
    ada, grace, session_id = await together(new_person)
    async with grace.hearing_nothing():
        await grace.act(2, "Run again")
        await expect(grace.preview).to_contain_text("1 turn with 1 reply")
        await ada.ask("What is my name?", turn=3)
        await grace.preview.get_by_role("button", name="Run again").click()
        await grace.sees("The session changed while you were looking; nothing was done.")
    await expect(grace.preview).to_contain_text("2 turns with 2 replies")
    assert (await grace.session(session_id))["discarded_count"] == 0

    await grace.preview.get_by_role("button", name="Run again").click()

    await grace.sees("2 turns kept as discarded future 1.")


async def until_completed(person: Person, session_id: str, count: int) -> None:
    """Wait until so many turns have been answered, whatever the tab knows of it."""
    async with asyncio.timeout(WAIT_MS / 1000):
        while [turn["state"] for turn in (await person.session(session_id))["turns"]] != [
            "completed"
        ] * count:
            await asyncio.sleep(0.02)


async def test_a_turn_that_ends_meanwhile_refuses_neither_a_message_nor_an_undo(
    person: Person, world: World, provider: FakeProvider
) -> None:
    person.forgiven += ["412", "ERR_INTERNET_DISCONNECTED", "ERR_NETWORK_CHANGED"]
    await add_agent(world, "Talker")
    slow = Plan(
        text="One word after the other, " + "and then some more, " * 3 + "and that is all.", delay_ms=100
    )
    provider.plans += [slow, Plan(text="The second answer."), slow]
    session_id = await person.start(agent="Talker")
    await person.say("First.")
    await expect(person.turn(1).locator(".reply.live")).to_contain_text("One word")
    async with person.hearing_nothing():
        await until_completed(person, session_id, 1)
        await person.say("Second.")
        await until_completed(person, session_id, 2)
    await expect(person.turn(2)).to_contain_text("The second answer.")
    await expect(person.page.get_by_role("alertdialog")).to_have_count(0)

    await person.act(2, "Run again")
    await person.preview.get_by_role("button", name="Run again").click()
    await expect(person.turn(2).locator(".reply.live")).to_contain_text("One word")
    async with person.hearing_nothing():
        await until_completed(person, session_id, 2)
        await person.button("Undo").click()
        async with asyncio.timeout(WAIT_MS / 1000):
            while (await person.session(session_id))["discarded_count"] < 2:
                await asyncio.sleep(0.02)

    await expect(person.turn(2)).to_contain_text("The second answer.")
    await expect(person.page.get_by_role("alert")).to_have_count(0)


async def test_offline_is_shown_what_is_written_waits_and_is_said_once(new_person: NewPerson) -> None:
    ada, grace, session_id = await together(new_person)
    await grace.page.context.set_offline(True)
    await grace.sees("You are offline.")
    await grace.say("My town is Paris.")
    await grace.sees("Your message has no answer yet.")

    await grace.page.context.set_offline(False)

    await expect(grace.turn(3)).to_contain_text("Noted: your town is Paris.")
    await grace.is_live()
    await expect(ada.turn(3)).to_contain_text("My town is Paris.")
    assert (await ada.session(session_id))["turn_count"] == 3


async def losing_one_answer(person: Person, path: str) -> list[int]:
    """Have the first answer of a path get lost on its way; gives what its status was."""
    person.forgiven.append("ERR_FAILED")
    lost: list[int] = []

    async def lose_once(route: Route) -> None:
        if lost or route.request.method != "POST":
            await route.continue_()
            return
        lost.append((await route.fetch()).status)
        await route.abort()

    await person.page.route(path, lose_once)
    return lost


async def test_a_session_and_a_fork_whose_answers_are_lost_are_made_once(person: Person) -> None:
    await person.arrive()
    await losing_one_answer(person, "**/v1/sessions")
    await person.button("Start").click()
    await person.sees("There is no connection to the service.")
    await person.button("Start").click()
    await expect(person.turn(1)).to_contain_text("Tell me something about you")
    await losing_one_answer(person, "**/fork")

    await person.act(1, "Fork a new session from here")
    await expect(person.page.get_by_role("alert")).to_have_text("There is no connection to the service.")
    await person.act(1, "Fork a new session from here")
    await expect(person.page.get_by_role("alert")).to_have_count(0)

    await expect(person.page.get_by_role("listitem").filter(has_text="Helper")).to_have_count(2)
    sessions = (await person.call("GET", "/sessions"))["items"]
    assert len(sessions) == 2


async def test_an_answer_that_is_lost_on_the_way_leads_to_no_second_turn(new_person: NewPerson) -> None:
    _, grace, session_id = await together(new_person)
    lost = await losing_one_answer(grace, "**/messages")
    await grace.say("My town is Paris.")

    await expect(grace.turn(3)).to_contain_text("Noted: your town is Paris.")
    await expect(grace.page.get_by_text("Your message has no answer yet.")).to_have_count(0)
    await expect(grace.composer).to_have_value("")
    assert lost == [202]
    assert (await grace.session(session_id))["turn_count"] == 3


async def test_a_restart_of_the_server_in_the_middle_of_a_stream_is_healed(
    new_person: NewPerson,
    world: World,
    provider: FakeProvider,
    service_environ: dict[str, str],
    run_folder: Path,
    worker_id: str,
) -> None:
    await add_agent(world, "Talker")
    folder = run_folder / f"panel-restart-{worker_id}"
    # The turn runs elsewhere: only the server that the panel speaks to goes away, and comes back.
    api = {**service_environ, "TURNLEDGER_RUNNERS": "0", "TURNLEDGER_SHUTDOWN_GRACE_SECONDS": "1"}
    provider.plans.append(Plan(text="Before. " + "on and on " * 45 + "After.", delay_ms=40))
    with serving(folder, environ=api) as first:
        await asyncio.to_thread(first.wait_until_ready)
        person = await new_person(address=first.address)
        person.forgiven += [
            "ERR_CONNECTION_REFUSED",
            "ERR_CONNECTION_RESET",
            "ERR_INCOMPLETE_CHUNKED",
            "ERR_EMPTY",
        ]
        session_id = await person.start(agent="Talker")
        await person.say("Talk.")
        live = person.turn(1).locator(".reply.live")
        await expect(live).to_contain_text("Before. on and on")
        first.process.kill()
        first.wait()
    await person.sees("The connection was lost. Trying again …")
    port = first.address.rpartition(":")[2]
    with serving(folder, "--port", port, environ=api) as second:
        await asyncio.to_thread(second.wait_until_ready)
        await expect(person.turn(1)).to_have_attribute("data-state", "completed")
        reply = await person.turn(1).locator(".reply").inner_text()
        document = await person.session(session_id)
        await person.is_live()
        await person.page.goto("about:blank")

    assert document["turns"][0]["replies"][0]["text"].split() == reply.split()[1:]


async def test_a_tab_that_nobody_sees_gives_its_connection_back_and_catches_up(
    new_person: NewPerson,
) -> None:
    # In a browser of its own: the clock of all its tabs is another.
    person = await new_person(locale="en-GB")
    await person.page.add_init_script(
        "Object.defineProperty(document, 'hidden', { get: () => window.isUnseen === true })"
    )
    await person.page.clock.install()
    session_id = await person.start(name="Out of sight")
    state = person.page.locator(".link-state")
    await person.page.evaluate("() => { window.isUnseen = true }")
    await person.page.clock.fast_forward(31_000)
    await expect(state).to_have_attribute("data-state", "resting")
    await person.call("POST", f"/sessions/{session_id}/messages", {"text": "My name is Ada."}, If_Match="*")

    await person.page.evaluate(
        "() => { window.isUnseen = false; document.dispatchEvent(new Event('visibilitychange')) }"
    )

    await person.is_live()
    await expect(person.turn(2)).to_contain_text("Noted: your name is Ada.")


async def test_on_a_slow_network_the_panel_stays_usable(person: Person) -> None:
    async with slow_network(person):
        await person.start(name="Slow")

        await person.composer.fill("My name is Ada.")
        await person.composer.press("Enter")

        # What was said stands there at once, long before the service knows of it.
        await expect(person.page.locator(".sending")).to_contain_text("My name is Ada.", timeout=250)
        await expect(person.turn(2)).to_contain_text("Noted: your name is Ada.")
        await expect(person.page.locator(".sending")).to_have_count(0)


@contextlib.asynccontextmanager
async def slow_network(person: Person) -> AsyncIterator[None]:
    """0.3 s to the service, and 50 kB/s."""
    session = await person.page.context.new_cdp_session(person.page)
    slow = {"offline": False, "latency": 300, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
    await session.send("Network.enable")
    await session.send("Network.emulateNetworkConditions", slow)
    try:
        yield
    finally:
        await session.detach()
