"""Everybody can use it: axe finds nothing serious in any view, light or dark; keys lead everywhere."""

import itertools
import operator
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import expect

from tests.panel.axe import faults
from tests.panel.person import Person
from tests.panel.views import VIEWS, prepared
from tests.providers.server import FakeProvider

WIDE = {"width": 1360, "height": 860}
NARROW = {"width": 390, "height": 844}
TOO_WIDE = """() => {
  const scrolled = ".scroller, .aside-page, .compare-scroll, .waiting-scroll, .sessions, .start, dialog";
  const places = [document.documentElement, ...document.querySelectorAll(scrolled)];
  return places.filter((node) => node.scrollWidth > node.clientWidth).map((node) => node.className || "page");
}"""


@pytest.mark.parametrize(("scheme", "viewport"), [("light", WIDE), ("dark", NARROW)])
async def test_every_view_fits_its_screen_and_axe_finds_nothing_serious_in_it(
    new_person: Callable[..., Awaitable[Person]],
    provider: FakeProvider,
    scheme: str,
    viewport: dict[str, int],
) -> None:
    person = await new_person(color_scheme=scheme, reduced_motion="reduce", viewport=viewport)
    person.forgiven += ["404", "412", "ERR_INTERNET_DISCONNECTED", "ERR_NETWORK_CHANGED"]
    await prepared(person, provider)

    found = {}
    for name, show in VIEWS.items():
        await show(person)
        serious = await faults(person)
        too_wide = await person.page.evaluate(TOO_WIDE)
        if serious or too_wide:
            found[name] = (serious, too_wide)

    assert found == {}


async def test_the_theme_is_chosen_and_remembered(person: Person) -> None:
    await person.arrive()
    light = await person.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    await person.button("Panel menu").click()
    await person.page.get_by_role("menuitem", name="Preferences").click()
    await person.page.get_by_label("Dark").check()
    await person.page.keyboard.press("Escape")
    await person.page.reload()

    dark = await person.page.evaluate("() => getComputedStyle(document.body).backgroundColor")

    assert dark != light


STOP = """() => {
  const { activeElement: node } = document;
  const landmark = node.closest("nav, main, aside")?.tagName.toLowerCase() ?? "none";
  return [landmark, node.labels?.[0]?.innerText ?? node.getAttribute("aria-label") ?? node.innerText];
}"""


async def test_focus_goes_through_the_page_in_its_order(person: Person) -> None:
    await person.start(name="In order")
    await person.button("Skip to the conversation").focus()
    stops: list[tuple[str, str]] = []
    while len(stops) < 60:
        await person.page.keyboard.press("Tab")
        landmark, words = await person.page.evaluate(STOP)
        if landmark == "none":
            break
        stops.append((landmark, words.split("\n")[0]))

    def within(wanted: str) -> list[str]:
        return [words for landmark, words in stops if landmark == wanted]

    assert [landmark for landmark, _ in itertools.groupby(stops, key=operator.itemgetter(0))] == [
        "nav",
        "main",
        "aside",
    ]
    assert within("nav") == [
        "Turnledger, new session",
        "Panel menu",
        "New session",
        "Approvals",
        "Search by the beginning of the name, or by id",
        "Filters",
        "In order",
        "Actions on In order",
    ]
    assert within("main") == [
        "In order",
        "Cost of this session: $0.00",
        "Hide the side panel",
        "Session actions",
        "Conversation",
        "Run again",
        "Rewind to the start",
        "Copy text",
        "Fork a new session from here",
        "Inspect this turn",
        "Your message",
    ]
    assert within("aside") == ["Futures", "Hide the side panel", "Nothing discarded yet"]


async def test_the_skip_link_leads_past_the_list(person: Person) -> None:
    await person.start()
    await person.button("Skip to the conversation").focus()
    await person.page.keyboard.press("Enter")

    await person.page.keyboard.press("Tab")

    assert (await person.page.evaluate(STOP))[0] == "main"


async def test_a_menu_is_used_with_the_keyboard_and_gives_the_focus_back(person: Person) -> None:
    await person.start(name="By keyboard")
    actions = person.page.locator(".head").get_by_role("button", name="Session actions")
    await actions.focus()
    await person.page.keyboard.press("Enter")
    await expect(person.page.get_by_role("menuitem", name="Rename")).to_be_focused()
    await person.page.keyboard.press("ArrowDown")
    await expect(person.page.get_by_role("menuitem", name="Export as Markdown")).to_be_focused()
    await person.page.keyboard.press("Escape")

    await expect(actions).to_be_focused()
    await expect(person.page.get_by_role("menu")).to_have_count(0)


async def test_a_closed_dialog_gives_the_focus_back_but_takes_it_from_nobody(person: Person) -> None:
    await person.start(name="In and out")
    title = person.page.get_by_role("heading", name="In and out").get_by_role("button")
    search = person.page.get_by_role("searchbox")
    await title.click()
    await person.page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await expect(title).to_be_focused()

    await title.click()
    await person.page.get_by_role("dialog").evaluate(
        "(dialog) => dialog.addEventListener('close', () => document.getElementById('search').focus())"
    )
    await person.page.keyboard.press("Escape")

    await expect(person.page.get_by_role("dialog")).to_have_count(0)
    await expect(search).to_be_focused(timeout=100)


async def test_replies_are_announced(person: Person) -> None:
    await person.start()

    await person.ask("My name is Ada.", turn=2)

    await expect(person.page.locator("[aria-live=polite]")).to_have_text("Reply: Noted: your name is Ada.")
