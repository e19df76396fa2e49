"""A tool call that waits for a person, decided in the conversation."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Locator, expect

from api.agents.definition import ApprovalMode, Definition, Tool, ToolEffect
from api.doorbell import Doorbell
from db.pool import Pool, open_pool
from tests.e2e.services import ServiceProcess, serving
from tests.panel.axe import faults
from tests.panel.conftest import DESK, NewDatabase
from tests.panel.person import Person, person_in
from tests.runner.conversing import Line, Stage, asks, stage

REFUND = Tool(
    name="refund_order", description="Pays back.", effect=ToolEffect.ONCE, approval=ApprovalMode.ALWAYS
)
AGENT = Definition(model="lines:one", tools=(REFUND,), speaker="Operations")
CALL = asks(("refund_order", {"order": "A-17", "amount": 12.5}), text="Let me ask a colleague.")

Waiting = Callable[..., Awaitable[tuple[Person, Stage]]]


@pytest.fixture(scope="module")
async def idle(
    new_database: NewDatabase, run_folder: Path, worker_id: str
) -> AsyncIterator[tuple[ServiceProcess, Pool, str]]:
    """A service that runs no turns, and its database: they run beside it, with tools of the test."""
    async with new_database("approvals") as dsn, await open_pool(dsn, size_max=10) as pool:
        environ = {
            "TURNLEDGER_DATABASE_URL": dsn,
            "TURNLEDGER_RUNNERS": "0",
            "TURNLEDGER_LOG_LEVEL": "warning",
        }
        with serving(run_folder / f"panel-approvals-{worker_id}", environ=environ) as service:
            service.wait_until_ready()
            yield service, pool, dsn


@pytest.fixture(scope="module")
async def desk(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser that has the panel's files of that service already."""
    context = await browser.new_context(**DESK)
    yield context
    await context.close()


@pytest.fixture
async def waiting(desk: BrowserContext, idle: tuple[ServiceProcess, Pool, str]) -> AsyncIterator[Waiting]:
    """A person in a session whose turn waits for them."""
    service, pool, dsn = idle
    people: list[Person] = []
    bells: list[asyncio.Task[None]] = []

    async def make(*lines: Line) -> tuple[Person, Stage]:
        scene = await stage(pool, AGENT, CALL, *lines)
        # As between processes: nobody has to look by the clock.
        bells.append(asyncio.create_task(Doorbell(scene.world.hub, dsn).keep()))
        world = scene.world
        key = (await world.store.access.create_key(world.organization_id, name="panel")).secret
        people.append(await person_in(desk, service.address, key, world))
        await people[0].open(scene.session_id)
        await people[0].say("Please refund order A-17.")
        return people[0], scene

    yield make
    await people[0].leave()
    for bell in bells:
        bell.cancel()
    await asyncio.gather(*bells, return_exceptions=True)
    assert [person.unforgiven for person in people] == [[]]


def question(person: Person) -> Locator:
    """What the person is asked."""
    return person.page.get_by_role("region", name="Approval of refund_order")


async def test_a_call_is_approved_with_its_arguments_in_sight(waiting: Waiting) -> None:
    person, scene = await waiting(Line(text="The refund is on its way."))
    async with scene.running():
        await expect(question(person)).to_contain_text("A-17")
        await expect(question(person)).to_contain_text("12.5")
        await expect(question(person)).to_contain_text("must not be made twice")
        await expect(person.turn(1)).to_contain_text("Let me ask a colleague.")
        assert scene.tools.made == []
        assert await faults(person) == []

        await question(person).get_by_role("button", name="Approve").click()

        await expect(person.turn(1)).to_contain_text("The refund is on its way.")
    assert [made.arguments for made in scene.tools.made] == [{"order": "A-17", "amount": 12.5}]
    await expect(question(person)).to_have_count(0)
    await expect(person.turn(1).locator(".decided")).to_contain_text("refund_order approved")
    await expect(person.turn(1).get_by_role("list", name="Tool calls")).to_contain_text("refund_order")

    await person.turn(1).get_by_role("list", name="Tool calls").get_by_role("button").click()
    await person.button("Arguments and result").click()
    await expect(person.page.get_by_label("Arguments", exact=True)).to_contain_text('"order": "A-17"')
    await expect(person.page.get_by_label("Result")).to_contain_text("12.5")

    await person.act(1, "Run again")
    await expect(person.preview).to_contain_text("1 tool call cannot be undone: refund_order.")


async def test_a_call_is_denied_with_a_note_for_the_model_always(waiting: Waiting) -> None:
    person, scene = await waiting(Line(text="I am afraid that I cannot."))
    async with scene.running():
        await question(person).get_by_label("Note").fill("Too dear.")
        await question(person).get_by_label("Always, for this tool in this organization").check()

        await question(person).get_by_role("button", name="Deny").click()

        await expect(person.turn(1)).to_contain_text("I am afraid that I cannot.")
    assert scene.tools.made == []
    await expect(person.turn(1).locator(".decided")).to_contain_text("refund_order denied: “Too dear.”")
    rules = await person.call("GET", "/approval-rules")
    assert [(rule["tool"], rule["action"]) for rule in rules["items"]] == [("refund_order", "deny")]


async def test_what_waits_anywhere_is_listed_and_decided_where_it_was_asked(waiting: Waiting) -> None:
    person, scene = await waiting(Line(text="The refund is on its way."))
    link = person.page.get_by_role("navigation").get_by_role("link", name="Approvals")
    async with scene.running():
        await expect(link).to_have_text("Approvals1")
        await expect(person.page.get_by_role("img", name="waits for an approval")).to_be_visible()
        await person.page.get_by_role("link", name="New session").last.click()
        await link.click()
        item = person.page.get_by_role("article", name="refund_order in Helper")
        await expect(item).to_contain_text("A-17")
        await expect(item).to_contain_text("must not be made twice")
        assert await faults(person) == []

        await item.get_by_role("link", name="Decide on refund_order in Helper").click()

        await expect(question(person)).to_be_focused()
        await expect(question(person)).to_be_in_viewport(ratio=1)
        await question(person).get_by_role("button", name="Approve").click()
        await expect(person.turn(1)).to_contain_text("The refund is on its way.")
    assert len(scene.tools.made) == 1
    await link.click()
    await person.sees("Nothing waits for a decision")
    await expect(link).to_have_text("Approvals")


async def test_what_others_are_asked_meanwhile_appears_in_the_list(waiting: Waiting) -> None:
    person, scene = await waiting()
    async with scene.running():
        await expect(question(person)).to_be_visible()
        await person.page.get_by_role("navigation").get_by_role("link", name="Approvals").click()
        listed = person.page.get_by_role("list", name="Open approvals, newest first").get_by_role("article")
        await expect(listed).to_have_count(1)
        other = (await scene.world.session(name="Another one")).session.id
        scene.model.lines.append(CALL)
        await scene.world.append(other, None, "Refund that one, too.")
        await expect_open(person, 2)

        await person.page.evaluate("() => dispatchEvent(new Event('focus'))")

        await expect(listed).to_have_count(2)
        await expect(listed.first).to_contain_text("Another one")
        await expect(person.page.locator("[aria-live=polite]")).to_have_text(
            "A tool call waits for a decision."
        )


async def test_who_decides_second_is_told_and_nothing_happens_twice(waiting: Waiting) -> None:
    person, scene = await waiting(Line(text="The refund is on its way."))
    person.forgiven += ["409", "ERR_INTERNET_DISCONNECTED", "ERR_NETWORK_CHANGED"]
    async with scene.running():
        await expect(question(person)).to_be_visible()
        async with person.hearing_nothing():
            (open_one,) = (await person.call("GET", "/approvals?state=open"))["items"]
            approve = {"decision": "approved", "arguments_digest": open_one["arguments_digest"]}
            await person.call("POST", f"/approvals/{open_one['id']}/decision", approve)

            await question(person).get_by_role("button", name="Deny").click()

            await expect(person.page.get_by_role("alert")).to_contain_text("Somebody else has decided this")
        await expect(person.turn(1)).to_contain_text("The refund is on its way.")
    await expect(question(person)).to_have_count(0)
    await expect(person.turn(1).locator(".decided")).to_contain_text("refund_order approved")
    assert len(scene.tools.made) == 1


async def expect_open(person: Person, count: int) -> None:
    """Wait until so many approvals are open."""
    while len((await person.call("GET", "/approvals?state=open"))["items"]) < count:
        await asyncio.sleep(0.02)


async def test_a_waiting_turn_can_be_stopped_but_not_by_a_key_in_passing(waiting: Waiting) -> None:
    person, scene = await waiting()
    async with scene.running():
        await expect(question(person)).to_be_visible()
        await person.composer.press("Escape")
        await person.page.get_by_role("link", name="Approvals").click()
        await person.page.get_by_role("link", name="Decide on").click()
        await expect(question(person)).to_be_focused()

        await person.button("Stop").click()

        await expect(person.turn(1)).to_have_attribute("data-state", "cancelled")
    await expect(person.turn(1).locator(".decided")).to_contain_text("not decided before the turn ended")
