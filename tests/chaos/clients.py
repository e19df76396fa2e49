"""Clients that misbehave as people do: several to a session, impatient, and never giving up a lost answer.

A client reads the session, does something to it at the revision that it saw, and sends the same call with the
same key again while it has no answer. What was refused it reads anew.
"""

import asyncio
import itertools
import random
import time
from typing import Any

import httpx
import msgspec

from tests.chaos.history import Call, History, Outcome

_TRIES_SECONDS_MAX = 40
_TIMEOUT_SECONDS = 4.5
_TURNS_MAX = 20
"""A conversation of this length is ended, and a new one begun."""


class Manners(msgspec.Struct, frozen=True, kw_only=True):
    """What clients like to do, as weights, and what they ask of the provider."""

    operations: dict[str, int]
    plans: dict[str, int]
    """Directives for the provider (see `tests.providers.server.Plan`), with weights."""
    any_revision: float = 0.05
    """Share of messages that are sent with `If-Match: *`."""
    if_active: tuple[str, ...] = ("reject", "enqueue", "interrupt")
    repeats: float = 0.1
    """Share of acknowledged calls that are sent once more, to compare the answers."""


EVERYTHING = Manners(
    operations={
        "send": 50,
        "regenerate": 9,
        "retry": 20,
        "rewind": 7,
        "restore": 6,
        "cancel": 9,
        "rename": 6,
        "end": 1,
    },
    plans={
        "words=4 delay_ms=5": 40,
        "words=12 delay_ms=10": 25,
        "words=60 delay_ms=40": 8,
        "words=6 status=500": 2,
        "words=6 status=429 retry_after=0": 2,
        "words=9 cut_after=4": 3,
        "words=9 stall_after=3": 2,
        "words=9 error_after=5": 2,
        "words=5 usage=none": 2,
    },
)


class Conversation:
    """One session and what the clients that share it know in common: its id, and no more."""

    def __init__(self, key: str, agent_id: str) -> None:
        self.key = key
        """API key of its organization."""
        self.agent_id = agent_id
        self.session_id: str | None = None
        self.lock = asyncio.Lock()


class Clients:
    """All clients of a run, on one event loop and with one clock."""

    def __init__(
        self, addresses: list[str], history: History, manners: Manners, *, seed: int, prefix: str = "c"
    ) -> None:
        self._addresses = addresses
        self._history = history
        self._manners = manners
        self._random = random.Random(seed)
        self._numbers = itertools.count(1)
        self._prefix = prefix
        self._is_stopping = False
        self._http = httpx.AsyncClient(
            timeout=_TIMEOUT_SECONDS, limits=httpx.Limits(max_connections=400, max_keepalive_connections=100)
        )

    async def run(self, conversations: list[Conversation], *, clients_each: int) -> None:
        """Talk until told to stop; then let every call come to its end."""
        async with self._http, asyncio.TaskGroup() as group:
            for conversation in conversations:
                for _ in range(clients_each):
                    group.create_task(self._live(conversation))

    def stop(self) -> None:
        """Begin nothing new."""
        self._is_stopping = True

    async def _live(self, conversation: Conversation) -> None:
        while not self._is_stopping:
            session_id = await self._session(conversation)
            view = None if session_id is None else await self._look(conversation, session_id)
            if view is None:
                await asyncio.sleep(self._random.uniform(0.05, 0.3))
                continue
            if view["state"] == "ended":
                async with conversation.lock:
                    if conversation.session_id == session_id:
                        conversation.session_id = None
                continue
            await self._act(conversation, view)
            await asyncio.sleep(self._random.uniform(0, 0.05))

    async def _session(self, conversation: Conversation) -> str | None:
        async with conversation.lock:
            if conversation.session_id is None:
                call = self._begin("create", "", None)
                body = {"agent_id": conversation.agent_id, "metadata": {}}
                answer = await self._carry_out(conversation, call, "POST", "/v1/sessions", body)
                if answer is not None:
                    call.session_id, call.revision = answer["id"], 1
                    conversation.session_id = answer["id"]
            return conversation.session_id

    async def _look(self, conversation: Conversation, session_id: str) -> dict[str, Any] | None:
        began_at = time.monotonic()
        try:
            answer = await self._http.get(
                f"{self._address()}/v1/sessions/{session_id}?last_turns=12",
                headers={"Authorization": f"Bearer {conversation.key}"},
            )
        except httpx.TransportError:
            return None
        if answer.status_code != 200:
            self._judge(answer)
            if answer.status_code == 404:
                self._history.complain("an acknowledged session is gone", session_id)
            return None
        view: dict[str, Any] = answer.json()
        self._history.saw(view, began_at=began_at, ended_at=time.monotonic())
        return view

    async def _act(self, conversation: Conversation, view: dict[str, Any]) -> None:
        chance, turns = self._random, view["turns"]
        in_effect = [turn for turn in turns if turn["position"] < view["cursor"]]
        operation = chance.choices(
            list(self._manners.operations), weights=list(self._manners.operations.values())
        )[0]
        if view["turn_count"] >= _TURNS_MAX and operation == "send":
            operation = "end"
        path, expected = f"/v1/sessions/{view['id']}", view["revision"]
        match operation:
            case "rename":
                call = self._begin(operation, view["id"], expected)
                await self._carry_out(
                    conversation, call, "PATCH", path, {"name": call.id, "metadata": {call.id: expected}}
                )
            case "rewind" if in_effect:
                to: dict[str, Any] = {"turn_id": chance.choice(turns[:-1] or turns)["id"]}
                if chance.random() < 0.1:
                    to = {"to": "start"}
                call = self._begin(operation, view["id"], expected)
                await self._carry_out(conversation, call, "POST", f"{path}/rewind", to)
            case "restore" if view["discarded_futures"]:
                ordinal = chance.choice(view["discarded_futures"])["ordinal"]
                call = self._begin(operation, view["id"], expected)
                await self._carry_out(conversation, call, "POST", f"{path}/restore", {"ordinal": ordinal})
            case "cancel" if view["active_turn_id"] is not None:
                call = self._begin(operation, view["id"], None)
                call.turn_id = view["active_turn_id"]
                await self._carry_out(conversation, call, "POST", f"{path}/turns/{call.turn_id}/cancel", {})
            case "retry" if in_effect and in_effect[-1]["state"] in ("failed", "cancelled"):
                call = self._begin(operation, view["id"], expected)
                await self._carry_out(
                    conversation, call, "POST", f"{path}/turns/{in_effect[-1]['id']}/retry", {}
                )
            case "regenerate" if in_effect:
                call = self._begin(operation, view["id"], expected)
                body: dict[str, Any] = {}
                if chance.random() < 0.5:
                    call.text = self._words(call)
                    body = {"text": call.text}
                turn_id = chance.choice(in_effect[-3:])["id"]
                await self._carry_out(conversation, call, "POST", f"{path}/turns/{turn_id}/regenerate", body)
            case "end" if view["turn_count"] >= _TURNS_MAX // 2:
                call = self._begin(operation, view["id"], expected)
                await self._carry_out(conversation, call, "POST", f"{path}/end", {"resolution": call.id})
            case _:
                is_any = chance.random() < self._manners.any_revision
                call = self._begin("send", view["id"], None if is_any else expected)
                call.text = self._words(call)
                body = {"text": call.text, "if_active": chance.choice(self._manners.if_active)}
                await self._carry_out(conversation, call, "POST", f"{path}/messages", body)

    def _begin(self, operation: str, session_id: str, expected: int | None) -> Call:
        call = Call(
            id=f"{self._prefix}{next(self._numbers)}",
            session_id=session_id,
            operation=operation,
            expected=expected,
            began_at=time.monotonic(),
        )
        self._history.calls[call.id] = call
        return call

    def _words(self, call: Call) -> str:
        plans = self._manners.plans
        plan = self._random.choices(list(plans), weights=list(plans.values()))[0]
        return f"{call.id} [[{plan}]]"

    async def _carry_out(
        self, conversation: Conversation, call: Call, method: str, path: str, body: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Send a call until its answer is known; answers what was acknowledged."""
        headers = {
            "Authorization": f"Bearer {conversation.key}",
            "Content-Type": "application/json",
            "Turnledger-On-Behalf-Of": call.id,
        }
        if method == "POST":
            headers["Idempotency-Key"] = call.id
        if call.expected is not None and self._random.random() < 0.5:
            body = body | {"expected_revision": call.expected}
        elif call.expected is not None:
            headers["If-Match"] = f'"{call.expected}"'
        elif call.operation == "send":
            headers["If-Match"] = "*"
        if call.operation in ("send", "regenerate", "retry"):
            headers["Prefer"] = "respond-async" if self._random.random() < 0.5 else "wait=3"
        deadline = call.began_at + _TRIES_SECONDS_MAX
        while time.monotonic() < deadline:
            call.sent_count += 1
            answer = await self._send(method, path, headers, body)
            if answer is None:
                await asyncio.sleep(self._random.uniform(0.05, 0.3))
                continue
            call.status = answer.status_code
            if answer.is_success:
                return await self._acknowledged(call, answer, method, path, headers, body)
            # An earlier sending may have had its effect, unless the key or the revision speaks for both.
            is_certain = call.sent_count == 1 or (
                method == "POST" and (call.expected is not None or call.operation == "cancel")
            )
            call.outcome = Outcome.REFUSED if is_certain else Outcome.UNKNOWN
            call.ended_at = time.monotonic() if is_certain else None
            return None
        return None

    async def _send(
        self, method: str, path: str, headers: dict[str, str], body: dict[str, Any]
    ) -> httpx.Response | None:
        """Send once; None when the same may have to be sent again."""
        try:
            answer = await self._http.request(
                method, f"{self._address()}{path}", headers=headers, content=msgspec.json.encode(body)
            )
        except httpx.TransportError:
            return None
        self._judge(answer)
        if answer.status_code >= 500 or b'"request-in-flight"' in answer.content:
            return None
        return answer

    async def _acknowledged(
        self,
        call: Call,
        answer: httpx.Response,
        method: str,
        path: str,
        headers: dict[str, str],
        body: dict[str, Any],
    ) -> dict[str, Any]:
        call.outcome, call.ended_at = Outcome.ACKNOWLEDGED, time.monotonic()
        told: dict[str, Any] = answer.json()
        if "since_revision" in told:
            call.revision = told["since_revision"] + 1
            call.turn_id = told["turn_id"] or call.turn_id
        self._history.saw(told, began_at=call.began_at, ended_at=call.ended_at)
        if method == "POST" and self._random.random() < self._manners.repeats:
            again = await self._send(method, path, headers, body)
            if again is not None:
                self._compare(call, answer, again)
        return told

    def _compare(self, call: Call, first: httpx.Response, again: httpx.Response) -> None:
        """A repetition gets the first answer; where a turn was made, it joins the turn."""
        if call.operation in ("send", "regenerate", "retry"):
            is_same = again.is_success and again.json()["turn_id"] == call.turn_id
        elif call.operation == "cancel" and "Idempotency-Replayed" not in again.headers:
            is_same = again.is_success  # what was cancelled already stores no answer
        else:
            is_same = (again.status_code, again.content) == (first.status_code, first.content)
        if not is_same:
            self._history.complain("a repetition was answered otherwise", f"{call.id}: {again.text[:300]}")

    def _judge(self, answer: httpx.Response) -> None:
        is_cut_off = answer.status_code == 500 and "problem" not in answer.headers.get("content-type", "")
        if is_cut_off:
            return  # by the server below the service, which was told to stop and has run out of time
        if not answer.is_success and answer.status_code not in (404, 409, 412, 503):
            self._history.complain(
                f"answered {answer.status_code}", f"{answer.request.url.path}: {answer.text[:300]}"
            )

    def _address(self) -> str:
        return self._random.choice(self._addresses)
