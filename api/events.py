"""The hub: wakes whoever waits after a commit, in this process and by way of the doorbell in others.

A hint only; the database decides.

A listener holds one flag and no queue, so a slow one costs nothing: it finds the flag raised, reads the
state from the database and lowers it. A lost wake-up costs a poll interval and nothing else.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import msgspec

ANY_RUNNER = "runners"
"""Where runners listen for turns that wait for one."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What the listeners of this process are told."""

    session_id: UUID
    is_commit: bool = True
    """The revision has moved; else a running turn has said something."""
    is_claimable: bool = False
    """A turn of the session may wait for a runner now."""


class Listener:
    """One who waits for a sign."""

    def __init__(self, *, hears_deltas: bool) -> None:
        self._sign = asyncio.Event()
        self.hears_deltas = hears_deltas

    def raise_sign(self) -> None:
        """Wake the listener, now or when it next waits."""
        self._sign.set()

    async def wait(self, *, seconds_max: float) -> bool:
        """Wait for the sign and lower it; False when the time passed without one."""
        try:
            async with asyncio.timeout(seconds_max):
                await self._sign.wait()
        except TimeoutError:
            return False
        self._sign.clear()
        return True


class Hub:
    """Passes notices of commits to the listeners of this process."""

    def __init__(self) -> None:
        self._listeners: dict[UUID | str, set[Listener]] = {}
        self._pass_on: Callable[[Notice], None] | None = None
        self.hears_others = False
        """Other processes' notices arrive at present, so that who listens may look rarely by the clock."""

    @contextmanager
    def listening(self, to: UUID | str, *, hears_deltas: bool = False) -> Iterator[Listener]:
        """Listen to the commits of one session (and to what its turns say), or for `ANY_RUNNER`.

        Whatever is told from here on raises the sign.
        """
        listener = Listener(hears_deltas=hears_deltas)
        group = self._listeners.setdefault(to, set())
        group.add(listener)
        try:
            yield listener
        finally:
            group.discard(listener)
            if not group:
                self._listeners.pop(to, None)

    def pass_on_to(self, pass_on: Callable[[Notice], None] | None) -> None:
        """Hand what this process tells to one who carries it to others; None stops that."""
        self._pass_on = pass_on

    def tell(self, notice: Notice) -> None:
        """Raise the sign of everyone whom it may concern, here and elsewhere."""
        self.hear(notice)
        if self._pass_on is not None:
            self._pass_on(notice)

    def hear(self, notice: Notice) -> None:
        """Raise the sign of everyone in this process whom it may concern."""
        for listener in self._listeners.get(notice.session_id, ()):
            if notice.is_commit or listener.hears_deltas:
                listener.raise_sign()
        if notice.is_claimable:
            for listener in self._listeners.get(ANY_RUNNER, ()):
                listener.raise_sign()

    def wake_all(self) -> None:
        """Raise every sign: nobody knows what was missed, or the process stops."""
        for group in self._listeners.values():
            for listener in group:
                listener.raise_sign()
