"""What somebody sees who has just started the service, and knows nothing of it yet."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from playwright.async_api import expect

from tests.e2e.services import serving
from tests.panel.person import Person


async def test_the_printed_address_opens_the_panel_with_an_agent_to_talk_to(
    new_person: Callable[..., Awaitable[Person]], run_folder: Path, worker_id: str
) -> None:
    folder = run_folder / f"panel-first-visit-{worker_id}"
    with serving(folder) as service:
        await asyncio.to_thread(service.wait_until_ready)
        printed = next(word for word in service.output.split() if "/#key=" in word)
        person = await new_person(address=service.address)

        await person.page.goto(printed)

        await expect(person.page.locator("#agent")).to_contain_text("Demo on scripted:demo")
        await person.button("Start").click()
        await expect(person.turn(1)).to_contain_text("Tell me something about you")
        await person.ask("My name is Ada.", turn=2)
        await expect(person.turn(2)).to_contain_text("Noted: your name is Ada.")
        await expect(person.page.locator(".cost-chip")).not_to_have_text("$0.00")
        assert "key=" not in person.page.url
        await person.page.goto("about:blank")
    shutil.rmtree(folder, ignore_errors=True)
