"""One turn in detail."""

import json
import re

from playwright.async_api import expect

from tests.panel.person import Person


async def test_a_turn_shows_its_steps_timing_usage_events_and_node(person: Person) -> None:
    await person.start()
    await person.ask("My name is Ada.", turn=2)

    await person.act(2, "Inspect this turn")

    inspector = person.page.get_by_role("tabpanel", name="Turn")
    await expect(inspector).to_contain_text("60 in (0 cached), 6 out (0 reasoning)")
    await expect(inspector).to_contain_text("$0.00027")
    await expect(inspector).to_contain_text("scripted:demo")
    await expect(inspector.locator(".timing i")).to_have_count(1)
    await expect(inspector).to_contain_text(re.compile("Node *start"))
    events = inspector.locator(".events li")
    await expect(events).to_have_count(2)
    await expect(events).to_contain_text(["added a turn", "A turn was answered"])


async def test_a_turn_is_copied_as_curl_without_the_key(new_person: "object") -> None:
    person: Person = await new_person(permissions=["clipboard-read", "clipboard-write"])  # type: ignore[operator]
    session_id = await person.start()
    await person.ask("It's me.", turn=2)
    await person.act(2, "Inspect this turn")

    await person.button("Copy as curl").click()

    await expect(person.button("Copied")).to_be_visible()
    copied = await person.page.evaluate("() => navigator.clipboard.readText()")
    assert copied.startswith(f"curl -sS -X POST '{person.address}/v1/sessions/{session_id}/messages'")
    assert person.key not in copied
    assert json.dumps({"text": "It's me."}, separators=(",", ":")).replace("'", "'\\''") in copied
