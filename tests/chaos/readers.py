"""Readers of streams that are cut off all the time, at whatever server they come back to.

A reader follows one session from its first revision on and keeps what a person would see. It leaves after a
few events, or is cut off in the middle of one, and goes on from the id of the last whole event that it had.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec

from tests.chaos.clients import Conversation
from tests.chaos.history import History, StreamedTurn

_SECONDS_MAX = 4
"""Silence after which a reader believes that its stream is dead."""


class Screen:
    """What a reader of one session has seen, from its first revision on."""

    def __init__(self, session_id: str, history: History) -> None:
        self.session_id = session_id
        self.last_event_id = "0.0.0"
        self.is_over = False
        self._history = history
        self._revision = 0
        self._texts: dict[str, dict[str, str]] = {}
        """By turn and step."""

    def take(self, block: str) -> None:
        """Take one whole event."""
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and line[0] != ":")
        if "data" in fields:
            self._show(fields["event"], msgspec.json.decode(fields["data"]))
        # Only now: an event that was not taken whole comes again.
        self.last_event_id = fields.get("id", self.last_event_id)

    def _show(self, kind: str, data: dict[str, Any]) -> None:
        match kind:
            case "end":
                self.is_over = True
            case "resync":
                self._complain("a reader was told to begin anew", f"{data} behind {self._revision}")
            case "turn.restarted":
                self._texts.get(data["turn_id"], {}).pop(data["step_id"], None)
            case "turn.delta":
                steps = self._texts.setdefault(data["turn_id"], {})
                before = steps.get(data["step_id"], "")
                if data["offset"] != len(before):
                    self._complain("a stream has a gap or a repetition", f"{data} behind {len(before)}")
                steps[data["step_id"]] = before + data["text"]
            case _:
                if data["revision"] != self._revision + 1:
                    self._complain("a stream has a gap or a repetition", f"{data} behind {self._revision}")
                self._revision = data["revision"]
                for effect in data["effects"]:
                    self._end(effect["type"], effect.get("turn_id"))

    def _end(self, kind: str, turn_id: str | None) -> None:
        _, _, state = kind.partition(".")
        if turn_id is None or state not in ("completed", "failed", "cancelled"):
            return
        text = "".join(self._texts.pop(turn_id, {}).values())
        self._history.streamed.append(StreamedTurn(turn_id=turn_id, state=state, text=text))

    def _complain(self, kind: str, detail: str) -> None:
        self._history.complain(kind, f"{self.session_id}: {detail}")


class Readers:
    """One reader for each conversation."""

    def __init__(self, addresses: list[str], history: History, *, seed: int) -> None:
        self._addresses = addresses
        self._history = history
        self._random = random.Random(seed)
        self._is_stopping = False
        self._http = httpx.AsyncClient(
            timeout=_SECONDS_MAX,
            limits=httpx.Limits(max_connections=400, max_keepalive_connections=0),
        )

    async def run(self, conversations: list[Conversation]) -> None:
        """Follow until told to stop."""
        async with self._http, asyncio.TaskGroup() as group:
            for conversation in conversations:
                group.create_task(self._follow(conversation))

    def stop(self) -> None:
        """Come back no more."""
        self._is_stopping = True

    async def _follow(self, conversation: Conversation) -> None:
        screen: Screen | None = None
        while not self._is_stopping:
            if screen is None and conversation.session_id is not None:
                screen = Screen(conversation.session_id, self._history)
            if screen is not None:
                with contextlib.suppress(httpx.TransportError):
                    await self._read_some(conversation.key, screen)
                if screen.is_over:
                    screen = None
            await asyncio.sleep(self._random.uniform(0, 0.3))

    async def _read_some(self, key: str, screen: Screen) -> None:
        patience = self._random.randint(1, 15)
        headers = {
            "Authorization": f"Bearer {key}",
            "Accept": "text/event-stream",
            "Last-Event-ID": screen.last_event_id,
        }
        address = self._random.choice(self._addresses)
        path = f"/v1/sessions/{screen.session_id}/events"
        async with self._http.stream("GET", f"{address}{path}", headers=headers) as answer:
            if not answer.is_success:
                return
            self._history.resume_count += screen.last_event_id != "0.0.0"
            async with contextlib.aclosing(_blocks(answer)) as blocks:
                async for block in blocks:
                    screen.take(block)
                    patience -= 1
                    if patience == 0 or screen.is_over or self._is_stopping:
                        return


async def _blocks(answer: httpx.Response) -> AsyncIterator[str]:
    """The whole events of a stream; what is cut off in the middle is none."""
    kept = b""
    async for data in answer.aiter_raw():
        *blocks, kept = (kept + data).split(b"\n\n")
        for block in blocks:
            yield block.decode()
