"""Agents with tools of every effect, and the people around them: those who talk, and those who decide."""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

import httpx

from tests.chaos.clients import Clients, Conversation, Manners
from tests.chaos.history import Call

EFFECTS = {"look": "read", "set": "idempotent", "book": "idempotent", "send": "once", "pay": "once"}
"""The tools."""
ALWAYS_ASKS, RULES_DECIDE = "pay", "book"
"""Those that a person is asked about: without exception, and unless a decision was made for good."""
MADE_AGAIN = "set"
"""The one that a successor calls again without a word, so that its key alone makes one of the two."""
LABELS = ("go", "back")
"""The transitions: `go` leads on from the first node, `back` leads back to it."""

MANNERS = Manners(
    operations={"send": 90, "cancel": 3, "rewind": 1, "restore": 1, "rename": 6},
    plans={"": 1},
    any_revision=0,
    if_active=(*["reject"] * 12, "enqueue", "interrupt"),
)
"""No turn is tried again with the same words: each argument is asked for once, by one turn."""

_ASKED_FOR = (*EFFECTS, "set", "set", "send", "pay", "pay")
_LOOK_SECONDS = 0.2
_APPROVED, _FOR_GOOD, _PASSED_BY = 0.7, 0.02, 0.1


def definition(model: str, base_url: str) -> dict[str, Any]:
    """An agent of two nodes, each with all tools."""
    approvals = {ALWAYS_ASKS: "always", RULES_DECIDE: "policy"}
    tools = [
        {
            "name": name,
            "description": f"Does {name}.",
            "parameters": {
                "type": "object",
                "properties": {"id": {"type": "string"}},
                "required": ["id"],
                "additionalProperties": False,
            },
            "http": {
                "method": "POST",
                "url": f"{base_url}/{name}",
                "body": {"id": "{{arguments.id}}"},
            },
            "effect": effect,
            "approval": approvals.get(name, "never"),
            "timeout_seconds": 2,
        }
        for name, effect in EFFECTS.items()
    ]
    go, back = LABELS
    first = {
        "name": "start",
        "tools": list(EFFECTS),
        "transitions": [{"to": "later", "label": go, "condition": "Told to.", "says": "On we go."}],
        "extraction": [{"name": "mood"}],
    }
    later = {
        "name": "later",
        "tools": list(EFFECTS),
        "transitions": [{"to": "start", "label": back, "condition": "Told to."}],
    }
    return {
        "model": model,
        "instructions": "Do as you are told.",
        "limits": {"context_tokens": 512},
        "tools": tools,
        "nodes": [first, later],
    }


class ToolClients(Clients):
    """Clients who have the model ask for tools, each call with an argument of its own."""

    def _words(self, call: Call) -> str:
        chance, number, rounds = self._random, 0, []
        for _ in range(chance.choice((1, 1, 2, 3))):
            asked = []
            for _ in range(chance.choice((1, 1, 2, 3))):
                number += 1
                asked.append(f'{chance.choice(_ASKED_FOR)}:{{"id":"{call.id}.{number}"}}')
            if chance.random() < 0.3:
                asked.insert(chance.randint(0, len(asked)), f"{chance.choice(LABELS)}:{{}}")
            rounds.append(f"words={chance.choice((0, 2, 6))} calls={';'.join(asked)}")
        rounds.append(f"words={chance.randint(1, 8)}")
        return " ".join([call.id, *(f"[[delay_ms={chance.choice((5, 20))} {plan}]]" for plan in rounds)])


class Deciders(Clients):
    """Two people for each organization, who see the same questions and do not speak to each other."""

    async def decide(self, conversations: Iterable[Conversation]) -> None:
        """Decide until told to stop."""
        by_key = {conversation.key: conversation for conversation in conversations}
        async with self._http, asyncio.TaskGroup() as group:
            for conversation in by_key.values():
                for _ in range(2):
                    group.create_task(self._watch(conversation))

    async def _watch(self, conversation: Conversation) -> None:
        while not self._is_stopping:
            for approval in await self._open(conversation):
                if self._random.random() >= _PASSED_BY:
                    await self._decide(conversation, approval)
            await asyncio.sleep(self._random.uniform(0, _LOOK_SECONDS))

    async def _open(self, conversation: Conversation) -> list[dict[str, Any]]:
        with contextlib.suppress(httpx.TransportError):
            answer = await self._http.get(
                f"{self._address()}/v1/approvals?state=open",
                headers={"Authorization": f"Bearer {conversation.key}"},
            )
            self._judge(answer)
            if answer.is_success:
                found: list[dict[str, Any]] = answer.json()["items"]
                return found
        return []

    async def _decide(self, conversation: Conversation, approval: dict[str, Any]) -> None:
        chance = self._random
        is_approved = chance.random() < _APPROVED
        call = self._begin("decide", approval["session_id"], None)
        may_be_for_good = approval["tool"] == RULES_DECIDE and approval["reason"] != "outcome_unknown"
        body = {
            "decision": "approved" if is_approved else "denied",
            "arguments_digest": approval["arguments_digest"],
            "always": is_approved and may_be_for_good and chance.random() < _FOR_GOOD,
            "note": call.id,
        }
        await self._carry_out(conversation, call, "POST", f"/v1/approvals/{approval['id']}/decision", body)
