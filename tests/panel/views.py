"""Every main view of the panel, for who looks at them all: people with screenshots, and axe.

python -m tests.panel.views FOLDER    writes a picture of each, light and dark, wide and narrow
"""

import argparse
import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, expect

from api.agents.definition import (
    ApprovalMode,
    HttpCall,
    Node,
    Tool,
    ToolEffect,
    Transition,
    Variable,
    VariableType,
)
from db import embedded
from db.migrate import migrate, migrations_folder
from db.pool import open_pool
from tests.e2e.services import serving
from tests.factories import World, make_world
from tests.panel.agents import add_agent
from tests.panel.chromium import launched
from tests.panel.person import WAIT_MS, Person, person_in
from tests.providers.server import FakeProvider, Plan, PlannedCall

Show = Callable[[Person], Awaitable[None]]

_GO_BACK = """There are three ways, and none of them loses anything:

1. **Rewind** to the turn before it went wrong.
2. **Edit** what you said, and run it again.
3. Run the same words again, and see what else comes.

| way | what happens to the rest |
|---|---|
| rewind | stays on the line until you say something |
| edit, run again | becomes a discarded future |

From a program it looks like this:

```python
preview = session.preview_rewind(to=turn)
if preview.turn_count <= 3:
    session.rewind(to=turn, revision=preview.revision)
```

What you discard is kept, [shown beside the conversation](https://example.org/kept), and can be restored."""

_TALK = (
    ("How does one go back here?", _GO_BACK),
    ("And what does it cost?", "Going back costs nothing. Only what is run again is a call of its own."),
    ("Who pays for what I discard?", "You do: every paid call is in the ledger exactly once."),
)


async def prepared(person: Person, provider: FakeProvider) -> None:
    """Make what the views show: sessions, a conversation with discarded futures, one that has ended."""
    guide = await add_agent(
        person.world, "Guide", model="openai:gpt-4o-mini", speaker="Guide", instructions=_TOLD
    )
    for name in ("Refund for a broken lamp", "Opening hours on Sunday", "Small talk"):
        await person.call("POST", "/sessions", {"agent_id": guide, "name": name})
    ended = await person.call("POST", "/sessions", {"agent_id": guide, "name": "Solved yesterday"})
    await person.call("POST", f"/sessions/{ended['id']}/end", {"resolution": "solved"}, If_Match="*")
    failed = await person.call("POST", "/sessions", {"agent_id": guide, "name": "It fails"})
    provider.plans.append(Plan(status=503, error_message="The model is overloaded."))
    await person.call("POST", f"/sessions/{failed['id']}/messages", {"text": "Hello?"}, If_Match="*")
    main = await person.call("POST", "/sessions", {"agent_id": guide, "name": "How to go back"})
    path = f"/sessions/{main['id']}"

    async def say(call: str, text: str, answer: str) -> None:
        plan = Plan(text=answer, input_tokens=180 + 3 * len(text), delay_ms=len(text) % 7)
        provider.plans.append(plan)
        await person.call("POST", f"{path}/{call}", {"text": text}, If_Match="*")

    for text, answer in _TALK:
        await say("messages", text, answer)
    turns = (await person.call("GET", f"{path}/turns"))["items"]
    await say(
        f"turns/{turns[2]['id']}/regenerate", "Who pays for it?", "Whoever ran it. Nothing is billed twice."
    )
    await say("messages", "Good.", "Then go on, and take back whatever you like.")
    await say(
        f"turns/{turns[1]['id']}/regenerate",
        "And what does it cost, roughly?",
        "Going back costs nothing. Only what you run again is a call, and it is priced like any other.",
    )
    await say("messages", "Show me.", "The amount stands below each turn, and all of it under *Cost*.")
    operations = await add_agent(
        person.world, "Operations", model="openai:gpt-4o-mini", speaker="Operations", tools=(_REFUND,)
    )
    asking = await person.call("POST", "/sessions", {"agent_id": operations, "name": "Refund order A-17"})
    ask = {"text": "The lamp of order A-17 arrived broken. Please refund it."}
    provider.plans.append(Plan(text="I am sorry to hear that. A refund needs a colleague.", calls=(_CALL,)))
    await person.call("POST", f"/sessions/{asking['id']}/messages", ask, If_Match="*")
    clinic = await add_agent(
        person.world, "Clinic", model="openai:gpt-4o-mini", speaker="Clinic", nodes=_NODES
    )
    booking = await person.call("POST", "/sessions", {"agent_id": clinic, "name": "A day at the clinic"})
    provider.plans += _BOOKING
    coming = {"text": "I am Ada, 36, and would like to come."}
    await person.call("POST", f"/sessions/{booking['id']}/messages", coming, If_Match="*")
    person.notes = {
        "asking": asking["id"],
        "booking": booking["id"],
        "main": main["id"],
        "ended": ended["id"],
        "failed": failed["id"],
    }
    await person.arrive()


async def _at(person: Person, hash_path: str) -> None:
    # Puts away what the view before has left open.
    await person.page.keyboard.press("Escape")
    await person.page.goto(f"{person.address}/{hash_path}")
    await expect(
        person.page.locator(".link-state, .ended, .compare-grid, .empty.page, .start").first
    ).to_be_visible()


async def _main(person: Person) -> None:
    await _at(person, f"#/sessions/{person.notes['main']}")
    await expect(person.turn(3)).to_be_visible()
    if await person.page.get_by_role("complementary").count():
        await person.page.get_by_role("tab", name="Futures").evaluate("(tab) => tab.click()")


async def _start(person: Person) -> None:
    await _at(person, "#/")


async def _preview(person: Person) -> None:
    await _main(person)
    await person.act(1, "Rewind to here")
    await expect(person.preview).to_contain_text("out of effect")


async def _edit(person: Person) -> None:
    await person.page.keyboard.press("Escape")
    await person.act(2, "Edit")
    await expect(person.preview).to_contain_text("kept as a discarded future")


async def _rewound(person: Person) -> None:
    await person.page.keyboard.press("Escape")
    await person.act(1, "Rewind to here")
    await person.preview.get_by_role("button", name="Rewind").click()
    await person.sees("2 turns are out of effect.")


async def _undone(person: Person) -> None:
    await person.button("Undo").click()
    await expect(person.page.get_by_text("are out of effect.")).to_have_count(0)


async def _compare(person: Person) -> None:
    await _at(person, f"#/sessions/{person.notes['main']}/compare/2")
    await expect(person.page.get_by_role("region", name="Turn 2 in both")).to_be_visible()


async def _cost(person: Person) -> None:
    await _main(person)
    await person.page.locator(".cost-chip").click()
    await expect(person.page.locator(".fates > div")).to_have_count(4)
    await expect(person.page.locator("figure.chart")).to_be_visible()


async def _turn(person: Person) -> None:
    await _main(person)
    await person.act(2, "Inspect this turn")
    await expect(person.page.get_by_role("heading", name="Turn 2")).to_be_visible()


async def _nodes(person: Person) -> None:
    await _at(person, f"#/sessions/{person.notes['booking']}")
    await person.act(1, "Inspect this turn")
    await expect(person.page.get_by_role("table", name="Node and variables")).to_contain_text("36")


async def _approval(person: Person) -> None:
    await _at(person, f"#/sessions/{person.notes['asking']}")
    question = person.page.get_by_role("region", name="Approval of refund_order")
    await expect(question).to_be_visible()
    await question.get_by_role("button", name="Deny").scroll_into_view_if_needed()


async def _waiting(person: Person) -> None:
    await person.page.goto(f"{person.address}/#/approvals")
    listed = person.page.get_by_role("list", name="Open approvals, newest first")
    await expect(listed.get_by_role("article").first).to_contain_text("Refund order A-17")


async def _conflict(person: Person) -> None:
    await _main(person)
    await person.is_live()
    async with person.hearing_nothing():
        main = person.notes["main"]
        rename = {"name": "How to go back, and forth"}
        await person.call("PATCH", f"/sessions/{main}", rename, If_Match="*", Turnledger_On_Behalf_Of="Grace")
        document = await person.session(main)
        turn = document["turns"][-1]["id"]
        await person.call(
            "POST", f"/sessions/{main}/rewind", {"turn_id": turn}, If_Match="*", Turnledger_On_Behalf_Of="Ada"
        )
        await person.say("Could you show me an example?")
        await person.sees("Your message was not sent")


async def _offline(person: Person) -> None:
    await person.button("Write on first").click()
    await person.page.context.set_offline(True)
    await person.sees("You are offline.")
    await person.say("Could you show me an example?")
    await person.sees("Your message has no answer yet.")


async def _online(person: Person) -> None:
    await person.button("Back to the draft").click()
    await person.page.context.set_offline(False)
    await person.is_live()
    await person.composer.fill("")


async def _ended(person: Person) -> None:
    await _at(person, f"#/sessions/{person.notes['ended']}")
    await person.sees("This session has ended: solved.")


async def _failed(person: Person) -> None:
    await _at(person, f"#/sessions/{person.notes['failed']}")
    await person.sees("This turn failed.")


async def _missing(person: Person) -> None:
    await _at(person, "#/sessions/ses_gone")
    await person.sees("There is no such session")


async def _delete(person: Person) -> None:
    await _main(person)
    await person.menu("Delete")
    await expect(person.page.get_by_role("dialog")).to_be_visible()


async def _menu(person: Person) -> None:
    await person.page.keyboard.press("Escape")
    await expect(person.page.get_by_role("dialog")).to_have_count(0)
    await person.page.locator(".head").get_by_role("button", name="Session actions").click()


async def _shortcuts(person: Person) -> None:
    await person.page.keyboard.press("Escape")
    await person.page.evaluate("() => document.activeElement.blur()")
    await person.page.keyboard.press("?")
    await expect(person.page.get_by_role("dialog")).to_be_visible()


async def _preferences(person: Person) -> None:
    await person.page.keyboard.press("Escape")
    await expect(person.page.get_by_role("dialog")).to_have_count(0)
    # On a narrow screen the menu is in a drawer.
    await person.page.locator(".brand button").evaluate("(menu) => menu.click()")
    await person.page.locator(".brand [role=menuitem]").first.evaluate("(item) => item.click()")
    await expect(person.page.get_by_role("dialog", name="Preferences")).to_be_visible()


async def _filters(person: Person) -> None:
    await person.page.keyboard.press("Escape")
    await expect(person.page.get_by_role("dialog")).to_have_count(0)
    drawer = person.button("Sessions")
    if await drawer.is_visible():
        await drawer.click()
    await person.button("Filters").click()
    await expect(person.page.locator("#filters")).to_be_visible()


async def _signed_out(person: Person) -> None:
    await person.page.evaluate("() => sessionStorage.clear()")
    await person.page.goto(f"{person.address}/#/")
    await person.page.reload()
    await expect(person.page.get_by_label("Address or API key")).to_be_visible()


VIEWS: dict[str, Show] = {
    "start": _start,
    "conversation": _main,
    "rewind": _preview,
    "edit": _edit,
    "rewound": _rewound,
    "undone": _undone,
    "compare": _compare,
    "cost": _cost,
    "turn": _turn,
    "nodes": _nodes,
    "approval": _approval,
    "approvals": _waiting,
    "conflict": _conflict,
    "offline": _offline,
    "online": _online,
    "failed": _failed,
    "ended": _ended,
    "missing": _missing,
    "delete": _delete,
    "menu": _menu,
    "shortcuts": _shortcuts,
    "preferences": _preferences,
    "filters": _filters,
    "sign-in": _signed_out,
}
"""In this order: some begin where the one before ended. The last takes the key away."""

_CALL = PlannedCall(
    name="refund_order", arguments='{"order": "A-17", "amount": 12.5, "reason": "The lamp arrived broken."}'
)
_REFUND = Tool(
    name="refund_order",
    description="Pays money back.",
    parameters={"type": "object"},
    http=HttpCall(method="POST", url="https://shop.example/refunds", body={"order": "{{arguments.order}}"}),
    effect=ToolEffect.ONCE,
    approval=ApprovalMode.ALWAYS,
)

_NODES = (
    Node(
        name="start",
        instructions="Find out who they are and what they want.",
        transitions=(Transition(to="booking", label="book", condition="They want to come."),),
        extraction=(Variable(name="name"), Variable(name="age", type=VariableType.INTEGER)),
    ),
    Node(name="booking", instructions="Find a day for {{name}}."),
)
_BOOKING = (
    Plan(text="Gladly. One moment, please.", calls=(PlannedCall(name="book"),)),
    Plan(text='{"name": "Ada", "age": 36}'),
    Plan(text="Which day suits you, Ada?"),
)

_TOLD = "You are a guide to this panel. Answer in a few words, and show what you mean."

_SIZES: dict[str, dict[str, Any]] = {
    "wide": {"viewport": {"width": 1440, "height": 900}},
    "narrow": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "device_scale_factor": 2},
}


async def write_pictures(folder: Path) -> None:
    """Write a picture of every view into a folder that is there."""
    async with _stage() as (browser, address, world, key, provider):
        for scheme in ("light", "dark"):
            for size, options in _SIZES.items():
                if (scheme, size) == ("dark", "narrow"):
                    continue
                context = await browser.new_context(color_scheme=scheme, reduced_motion="reduce", **options)
                person = await person_in(context, address, key, world)
                await prepared(person, provider)
                for name, show in VIEWS.items():
                    await show(person)
                    await person.page.screenshot(path=folder / f"{name}-{size}-{scheme}.png")
                await context.close()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder that every account can enter, for the length of the block."""
    folder = Path(tempfile.mkdtemp(prefix="turnledger-views-"))
    try:
        folder.chmod(0o711)
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.asynccontextmanager
async def _stage() -> AsyncIterator[tuple[Browser, str, World, str, FakeProvider]]:
    with _folder() as data:
        async with (
            embedded.running(data / "postgres", durable=False, guarded=True) as dsn,
            launched() as browser,
            FakeProvider() as provider,
        ):
            await migrate(dsn, migrations_folder())
            async with await open_pool(dsn, size_max=4) as pool:
                world = await make_world(pool)
                key = (await world.store.access.create_key(world.organization_id, name="views")).secret
                environ = {
                    "TURNLEDGER_DATABASE_URL": dsn,
                    "TURNLEDGER_MODEL_RETRIES_MAX": "0",
                    "OPENAI_API_KEY": "none-is-needed",
                    "OPENAI_BASE_URL": f"{provider.base_url}/v1",
                }
                with serving(data / "service", environ=environ) as service:
                    await asyncio.to_thread(service.wait_until_ready)
                    yield browser, service.address, world, key, provider


def main() -> None:
    """Read where to, and write."""
    parser = argparse.ArgumentParser(description="Pictures of every main view of the panel.")
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=WAIT_MS)
    asyncio.run(write_pictures(folder))
    print(f"{len(list(folder.glob('*.png')))} pictures in {folder}")


if __name__ == "__main__":
    main()
