"""A person at the panel: does what people do, and sees what they see."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, ConsoleMessage, Locator, Page, Request, Route, expect

from tests.factories import World
from tests.routes.published import operation_of

_BLANK = "/panel/-/icon.svg"

WAIT_MS = 20_000
"""For anything to appear; the machine may be busy."""


class Person:
    """One tab of the panel, with a key of one organization."""

    def __init__(self, page: Page, address: str, key: str, world: World) -> None:
        self.page = page
        self.address = address
        self.key = key
        self.world = world
        self.faults: list[str] = []
        """What must not happen: errors on the console, requests to other hosts or past the public API."""
        self.forgiven: list[str] = []
        """Patterns of faults that a test brings about on purpose."""
        self.notes: dict[str, str] = {}
        """Ids that whoever prepared something wants to find again."""
        page.set_default_timeout(WAIT_MS)
        self._listeners: dict[Any, Callable[[Any], None]] = {
            "pageerror": lambda error: self.faults.append(f"error: {error}"),
            "console": self._hear,
            "request": self._look_at,
        }
        for event, listener in self._listeners.items():
            page.on(event, listener)

    def _hear(self, said: ConsoleMessage) -> None:
        # The page that the person before left behind looks for an icon; the panel has one of its own.
        if said.type in ("error", "warning") and not said.location["url"].endswith("/favicon.ico"):
            self.faults.append(said.text)

    def _look_at(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme in ("blob", "data", "about"):
            return
        if url.netloc != urlsplit(self.address).netloc:
            self.faults.append(f"request to another host: {request.url}")
        elif not _is_file(url.path) and operation_of(request.method, url.path) is None:
            self.faults.append(f"request that is not of the public API: {request.method} {url.path}")

    async def leave(self) -> None:
        """Leave the tab to the next person, with nothing that would tell them of this one."""
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)
        try:
            await self.page.unroute_all(behavior="ignoreErrors")
            await self.page.context.set_offline(False)
            # Another document: nothing of the panel goes on behind it.
            await self.page.goto(f"{self.address}{_BLANK}")
            await self.page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
        except BaseException:
            await self.page.close()
            raise

    @property
    def unforgiven(self) -> list[str]:
        """Faults that no test asked for."""
        return [
            fault for fault in self.faults if not any(re.search(pattern, fault) for pattern in self.forgiven)
        ]

    async def arrive(self, hash_path: str = "") -> None:
        """Open the printed address; then, if asked, a place in the panel."""
        await self.page.goto(f"{self.address}/#key={self.key}", wait_until="commit")
        await self.page.get_by_role("heading", name="New session").wait_for()
        if hash_path:
            await self.page.goto(f"{self.address}/{hash_path}")

    async def open(self, session_id: str) -> None:
        """Open a session by its address."""
        await self.arrive(f"#/sessions/{session_id}")
        await self.page.locator(".head").wait_for()
        await self.is_live()

    async def start(self, *, agent: str | None = None, name: str | None = None) -> str:
        """Begin a session through the form, and give its id."""
        await self.arrive()
        if agent is not None:
            await self.page.locator("#agent").select_option(label=agent)
        if name is not None:
            await self.page.locator("#name").fill(name)
        await self.page.get_by_role("button", name="Start").click()
        await self.composer.wait_for()
        await self.is_live()
        return self.page.url.rpartition("/")[2]

    async def is_live(self) -> None:
        """Wait until the stream of the session is followed."""
        state = self.page.locator(".link-state")
        await expect(state).to_have_attribute("data-state", "live")

    @property
    def composer(self) -> Locator:
        """Where messages are written."""
        return self.page.get_by_role("textbox", name="Your message")

    async def say(self, text: str) -> None:
        """Write and press Enter."""
        await self.composer.fill(text)
        await self.composer.press("Enter")

    async def ask(self, text: str, *, turn: int) -> None:
        """Say something and wait for the answer, which makes this turn (counted from 1)."""
        await self.say(text)
        await expect(self.turn(turn)).to_have_attribute("data-state", "completed")

    def turn(self, number: int) -> Locator:
        """A turn of the line, counted from 1."""
        return self.page.locator(f'[data-position="{number - 1}"] article')

    async def act(self, number: int, action: str) -> None:
        """Use one of the actions below a turn."""
        await self.turn(number).get_by_role("button", name=action, exact=True).click()

    @asynccontextmanager
    async def hearing_nothing(self) -> AsyncIterator[None]:
        """A network so slow that no news of the session arrives for the length of the block."""
        let_go = asyncio.Event()

        async def hold(route: Route) -> None:
            await let_go.wait()
            await route.continue_()

        # The stream is cut by a moment without network; what would follow it is held up.
        await self.page.route("**/events*", hold)
        await self.page.route("**/v1/sessions/*?since_revision=*", hold)
        await self.page.context.set_offline(True)
        await expect(self.page.get_by_text("You are offline.")).to_be_visible()
        await self.page.context.set_offline(False)
        try:
            yield
        finally:
            let_go.set()
            await self.page.unroute_all(behavior="wait")

    @property
    def preview(self) -> Locator:
        """What is about to happen."""
        return self.page.get_by_role("region", name="Preview")

    def button(self, name: str | re.Pattern[str]) -> Locator:
        """A button by its words."""
        return self.page.get_by_role("button", name=name, exact=isinstance(name, str))

    async def sees(self, text: str) -> None:
        """Wait until this stands somewhere on the page."""
        await expect(self.page.get_by_text(text).first).to_be_visible(timeout=WAIT_MS)

    async def menu(self, item: str) -> None:
        """Choose from the menu of the open session."""
        await self.page.locator(".head").get_by_role("button", name="Session actions").click()
        await self.page.get_by_role("menuitem", name=item).click()

    async def session(self, session_id: str) -> Mapping[str, Any]:
        """Read a session as the service has it."""
        answer = await self.page.request.get(
            f"{self.address}/v1/sessions/{session_id}", headers={"Authorization": f"Bearer {self.key}"}
        )
        document: Mapping[str, Any] = await answer.json()
        return document

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Do something behind the panel's back, as another program would."""
        answer = await self.page.request.fetch(
            f"{self.address}/v1{path}",
            method=method,
            data=body,
            headers={
                "Authorization": f"Bearer {self.key}",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )
        assert answer.ok, await answer.text()
        return await answer.json()


NewPerson = Callable[..., Any]
"""Opens a further tab; see the fixture."""


def _is_file(path: str) -> bool:
    return path == "/" or path.startswith("/panel/")


async def person_in(context: BrowserContext, address: str, key: str, world: World) -> Person:
    """Give a person a tab: the one that the person before has left, else a new one.

    A tab of its own costs the browser a process, three times the work of opening the panel.
    """
    page = context.pages[0] if context.pages else await context.new_page()
    return Person(page, address, key, world)
