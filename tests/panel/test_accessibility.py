"""Everybody can use it: axe finds nothing serious in any view, light or dark; keys lead everywhere."""

from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import expect

from tests.panel.axe import faults
from tests.panel.person import Person
from tests.panel.views import VIEWS, prepared
from tests.providers.server import FakeProvider


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious_in_any_view(
    new_person: Callable[..., Awaitable[Person]], provider: FakeProvider, scheme: str
) -> None:
    person = await new_person(color_scheme=scheme, reduced_motion="reduce")
    person.forgiven += ["404", "412", "ERR_INTERNET_DISCONNECTED", "ERR_NETWORK_CHANGED"]
    await prepared(person, provider)

    found = {}
    for name, show in VIEWS.items():
        await show(person)
        if serious := await faults(person):
            found[name] = serious

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


async def test_focus_goes_through_the_page_in_its_order(person: Person) -> None:
    await person.start(name="In order")
    await person.button("Skip to the conversation").focus()
    order = []
    for _ in range(6):
        await person.page.keyboard.press("Tab")
        order.append(
            await person.page.evaluate(
                "() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText"
            )
        )

    assert order == [
        "Turnledger, new session",
        "Panel menu",
        "New session",
        "Search by the beginning of the name, or by id",
        "Filters",
        order[5],
    ]
    assert order[5].startswith("In order")


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


async def test_replies_are_announced(person: Person) -> None:
    await person.start()

    await person.ask("My name is Ada.", turn=2)

    await expect(person.page.locator("[aria-live=polite]")).to_have_text("Reply: Noted: your name is Ada.")
