"""Talking to an agent: start, tokens as they come, stop, try again, Markdown, long conversations."""

import asyncio
import re
from statistics import median

import pytest
from playwright.async_api import Route, expect

from db.pool import Pool
from tests.factories import World
from tests.panel.agents import add_agent
from tests.panel.long_session import long_session
from tests.panel.person import Person
from tests.providers.server import FakeProvider, Plan


async def test_a_person_starts_a_session_with_an_agent_a_version_and_context(
    person: Person, world: World
) -> None:
    await person.arrive()
    await person.page.locator("#agent").select_option(label="Helper")
    await person.page.locator("#version").select_option("1")
    await person.page.locator("#name").fill("First try")
    await person.button("Add a field").click()
    await person.page.get_by_label("Name of field 1").fill("customer")
    await person.page.get_by_label("Value of field 1").fill("Ada")
    await person.button("Start").click()

    await person.sees("Tell me something about you")
    session = await person.session(person.page.url.rpartition("/")[2])
    assert session["context"] == {"customer": "Ada"}
    assert (session["name"], session["agent"]["version"]) == ("First try", 1)


async def test_what_the_agent_speaks_of_is_asked_for(person: Person, world: World) -> None:
    await add_agent(
        world,
        "Reception",
        model="scripted:echo",
        greeting="Hello {{customer.name | there}}, this is {{clinic}}.",
    )
    await person.arrive()
    await person.page.locator("#agent").select_option(label="Reception")

    await expect(person.page.get_by_label("Name of field 1")).to_have_value("customer.name")
    await person.page.get_by_label("Value of field 1").fill("Ada")
    await person.page.get_by_label("Value of field 2").fill("the clinic")
    await person.button("Write it as JSON").click()
    await expect(person.page.get_by_label("Context as JSON")).to_have_value(
        '{\n  "customer": {\n    "name": "Ada"\n  },\n  "clinic": "the clinic"\n}'
    )
    await person.button("Start").click()

    await person.sees("Hello Ada, this is the clinic.")


async def test_the_key_leaves_the_address_and_stays_in_the_tab(person: Person) -> None:
    await person.arrive()

    assert "key=" not in person.page.url
    assert await person.page.evaluate("() => sessionStorage.length") == 1
    await person.page.reload()
    await person.page.get_by_role("heading", name="New session").wait_for()


async def test_without_a_key_the_panel_asks_for_one(person: Person) -> None:
    await person.page.goto(person.address)
    await person.page.get_by_label("Address or API key").fill("nonsense")
    await person.button("Enter").click()
    await person.sees("There is no key in that.")

    await person.page.get_by_label("Address or API key").fill(f"{person.address}/#key={person.key}")
    await person.button("Enter").click()

    await person.page.get_by_role("heading", name="New session").wait_for()


async def test_a_key_that_is_not_known_is_told(person: Person) -> None:
    person.forgiven.append("401")
    await person.page.goto(f"{person.address}/#key=tl_unknown")

    await person.sees("The API key is not known or was revoked.")


async def test_tokens_appear_while_the_turn_is_running(
    person: Person, world: World, provider: FakeProvider
) -> None:
    await add_agent(world, "Talker", speaker="Talker")
    provider.plans.append(Plan(text="The first words " + "and more words " * 12 + "come.", delay_ms=60))
    await person.start(agent="Talker")

    await person.say("Tell me something.")

    live = person.turn(1).locator(".reply.live")
    await expect(live).to_contain_text("The first words")
    seen_early = len(await live.inner_text())
    await expect(person.turn(1)).to_have_attribute("data-state", "completed")
    assert seen_early < len(await person.turn(1).locator(".reply").inner_text()) / 2
    await expect(person.turn(1).locator(".reply")).to_contain_text("come.")


async def test_escape_stops_the_turn_and_what_was_said_stays(
    person: Person, world: World, provider: FakeProvider
) -> None:
    await add_agent(world, "Talker")
    provider.plans.append(Plan(text="Words that were said before", stall_after=4))
    await person.start(agent="Talker")
    await person.say("Go on.")
    await expect(person.turn(1).locator(".reply.live")).to_contain_text("Words that were")

    await person.composer.press("Escape")

    await expect(person.turn(1)).to_have_attribute("data-state", "cancelled")
    await expect(person.turn(1).locator(".reply")).to_contain_text("Words that were")
    await person.sees("Stopped here; what was said stays.")


async def test_a_failed_turn_says_why_and_can_be_tried_again(
    person: Person, world: World, provider: FakeProvider
) -> None:
    await add_agent(world, "Talker")
    provider.plans.append(Plan(status=500, error_message="The provider is on fire."))
    await person.start(agent="Talker")
    await person.say("Hello?")
    await expect(person.turn(1)).to_have_attribute("data-state", "failed")
    await person.sees("This turn failed.")
    provider.plans.append(Plan(text="Now it works."))

    await person.button("Try again").click()

    await expect(person.turn(1)).to_have_attribute("data-state", "completed")
    await expect(person.turn(1).locator(".reply")).to_contain_text("Now it works.")


MARKDOWN = """# A heading

Some **bold**, *slanted* and `code`, a [link](https://example.org/x), a [trap](javascript:alert(1)).

<img src=x onerror="document.title='broken in'"><script>document.title='broken in'</script>

1. first
2. second
   - inner

| a | b |
|---|--:|
| 1 | 2 |

```python
print("hello")
```
"""


async def test_markdown_is_shown_and_raw_html_is_text(
    new_person: "object", world: World, provider: FakeProvider
) -> None:
    person: Person = await new_person(permissions=["clipboard-read", "clipboard-write"])  # type: ignore[operator]
    await add_agent(world, "Talker")
    provider.plans.append(Plan(text=MARKDOWN))
    await person.start(agent="Talker")

    await person.ask("Show me.", turn=1)

    reply = person.turn(1).locator(".prose")
    await expect(reply.get_by_role("heading", name="A heading")).to_be_visible()
    await expect(reply.locator("strong")).to_have_text("bold")
    await expect(reply.locator("ol > li")).to_have_count(2)
    await expect(reply.locator("td")).to_have_text(["1", "2"])
    await expect(reply.locator("a")).to_have_count(1)
    assert await reply.locator("a").get_attribute("rel") == "noopener noreferrer nofollow"
    await expect(reply.locator("img, script")).to_have_count(0)
    await expect(reply).to_contain_text("<script>document.title='broken in'</script>")
    assert "broken in" not in await person.page.title()

    await reply.get_by_role("button", name="Copy code").click()
    await expect(reply.get_by_role("button", name="Copied")).to_be_visible()
    assert await person.page.evaluate("() => navigator.clipboard.readText()") == 'print("hello")'


async def test_a_message_behind_a_running_turn_waits_for_it(
    person: Person, world: World, provider: FakeProvider
) -> None:
    await add_agent(world, "Talker")
    provider.plans.append(Plan(text="one two three four five six", delay_ms=400))
    provider.plans.append(Plan(text="The second answer."))
    await person.start(agent="Talker")
    await person.say("First.")
    await expect(person.turn(1).locator(".reply.live")).to_contain_text("one")

    await person.say("Second.")

    await person.sees("Waits for the turn before it.")
    await expect(person.turn(2).locator(".reply")).to_contain_text("The second answer.")


async def test_keys_write_lines_edit_the_last_and_walk_the_turns(person: Person) -> None:
    await person.start()
    await person.composer.press_sequentially("My name")
    await person.composer.press("Shift+Enter")
    await person.composer.press_sequentially("is Ada.")
    await expect(person.composer).to_have_value("My name\nis Ada.")
    await person.composer.press("Enter")
    await expect(person.turn(2)).to_have_attribute("data-state", "completed")

    edited = person.page.get_by_label("Other words for turn 2")
    await person.composer.press("ArrowUp")
    await expect(edited).to_be_focused()
    await person.page.keyboard.press("Escape")
    await expect(person.preview).to_have_count(0)
    await person.composer.press("ArrowUp")
    await expect(edited).to_be_focused()
    await edited.fill("My name is Grace.")
    await expect(person.preview.get_by_role("button", name="Run again")).to_be_enabled()
    await edited.press("Enter")
    await expect(person.turn(2).locator(".reply")).to_contain_text("your name is Grace")
    await person.page.keyboard.press("Alt+ArrowUp")
    await expect(person.turn(2)).to_be_focused()
    await person.page.keyboard.press("Alt+ArrowUp")
    await expect(person.turn(1)).to_be_focused()
    await person.page.keyboard.press("Alt+ArrowDown")
    await expect(person.turn(2)).to_be_focused()
    await person.page.keyboard.press("?")
    await expect(person.page.get_by_role("dialog")).to_contain_text("Keyboard shortcuts")
    await person.page.keyboard.press("Escape")
    await expect(person.page.get_by_role("dialog")).to_have_count(0)
    # The place that was left is taken up again before the next key.
    await expect(person.turn(2)).to_be_focused()
    await person.page.keyboard.press("?")
    await expect(person.page.get_by_role("dialog")).to_be_visible()
    # Keys in one breath: each finds what the one before it has left, though the page is not drawn in between.
    for _ in range(10):
        await asyncio.gather(person.page.keyboard.press("Escape"), person.page.keyboard.press("?"))
        await expect(person.page.get_by_role("dialog")).to_be_visible()
    await asyncio.gather(person.page.keyboard.press("Escape"), person.page.keyboard.press("/"))
    await expect(person.page.get_by_role("searchbox")).to_be_focused()


async def test_ten_thousand_turns_open_at_once_and_are_fetched_as_they_are_seen(
    person: Person, world: World, panel_pool: Pool
) -> None:
    session_id = await long_session(panel_pool, world, 10_000)
    await person.arrive()
    fetched: list[str] = []
    person.page.on("request", lambda request: "/turns?" in request.url and fetched.append(request.url))

    opened = await person.page.evaluate(OPEN_AND_TIME, session_id)

    assert opened < 2_000
    await expect(person.turn(10_000)).to_be_visible()
    assert await person.page.locator("article.turn").count() < 60
    assert fetched == []

    scroller = person.page.get_by_role("region", name="Conversation")
    await scroller.evaluate("(node) => { node.scrollTop = node.scrollHeight / 2 }")
    await expect(person.page.locator("article.turn:not(.unknown)").first).to_contain_text(
        re.compile("Answer [45]")
    )
    assert 1 <= len(fetched) <= 3
    await scroller.evaluate("(node) => { node.scrollTop = 0 }")
    await expect(person.turn(2)).to_contain_text("Question 2")
    await person.button("Newest").click()
    await expect(person.turn(10_000)).to_be_in_viewport()


@pytest.mark.parametrize("page_seconds", [0, 0.4])
async def test_scrolling_neither_jumps_nor_stutters(
    person: Person, world: World, panel_pool: Pool, page_seconds: float
) -> None:
    await person.open(await long_session(panel_pool, world, 1_000))
    await expect(person.turn(1_000)).to_be_visible()

    async def late(route: Route) -> None:
        # What is scrolled to is a guess for a while; it becomes known while it is looked at.
        await asyncio.sleep(page_seconds)
        await route.continue_()

    if page_seconds:
        await person.page.route("**/turns?*", late)
    seen = await person.page.evaluate(SCROLL_UP, 80)

    assert max(seen["jumps"]) <= 2
    assert len(seen["jumps"]) > 20
    assert max(seen["counts"]) < 60
    assert median(seen["frames"]) < 50


SCROLL_UP = """async (steps) => {
  const scroller = document.querySelector(".scroller");
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const topOf = (node) => node.getBoundingClientRect().top;
  const seen = { jumps: [], counts: [], frames: [] };
  for (let step = 0; step < steps; step += 1) {
    // Of what can be read: where nothing can yet, nothing is lost when it moves.
    const turns = [...document.querySelectorAll("article.turn:not(.unknown)")];
    const end = topOf(scroller) + scroller.clientHeight;
    const watched = turns.find((node) => topOf(node) > topOf(scroller) && topOf(node) < end);
    const before = [performance.now(), watched && topOf(watched)];
    scroller.scrollTop -= 240;
    await frame();
    seen.frames.push(performance.now() - before[0]);
    await frame();
    // What was looked at has moved as far as it was scrolled, whatever became known above it.
    if (watched) seen.jumps.push(Math.abs(topOf(watched) - before[1] - 240));
    seen.counts.push(document.querySelectorAll("article.turn").length);
  }
  return seen;
}"""


OPEN_AND_TIME = """async (id) => {
  const begun = performance.now();
  location.hash = `#/sessions/${id}`;
  while (document.querySelector('[data-position="9999"] .prose') === null) {
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }
  return performance.now() - begun;
}"""
