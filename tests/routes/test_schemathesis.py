"""schemathesis over the published schema, against the served application with a real database.

Nothing is answered with a 5xx, and every answer has a status, media type, header fields and body that the
schema promises. No runner runs, so turns stay pending.
"""

import asyncio
import contextlib
import copy
import json
import re
import secrets
import threading
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
import uvicorn
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from api.agents.policy import RuleAction
from api.routes.mounting import OPERATIONS
from api.store import StoredAnswer
from api.store.interactions import Capture
from db.pool import open_pool
from tests.factories import World, make_world, rendered
from tests.ledger import entries_of, paid_turn
from tests.routes import published
from tests.routes.service import make_app, make_state
from tests.scale import scaled

EXAMPLES_MAX = scaled(short=6, long=25)
"""Of each operation, with valid data and with data that is not."""

ROUNDS_MAX = 8
"""With valid data, until an operation has succeeded: few of its ids and states are right together."""

FIRST = [
    "putSecret",
    "previewRestore",
    "listDiscardedTurns",
    "cancelTurn",
    "retryTurn",
    "regenerateTurn",
    "restoreSession",
]
"""While there is what they need: a discarded future and an unfinished turn; and a secret."""

LAST = ["putBudget", "deleteBudget", "endSession", "deleteSession", "discardAgentDraft", "revokeApiKey"]
"""After these nothing else would succeed; a budget may well leave nothing for further turns."""

CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]

_SECONDS_MAX = 20


class Served:
    """The application on a port of its own, in a thread of its own."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._is_up = threading.Event()
        self._server: uvicorn.Server | None = None
        self.address = ""
        self.secret = ""
        self.installation_secret = ""
        self.schema: Any = None

    @contextlib.contextmanager
    def running(self) -> Iterator["Served"]:
        """Serve for the length of the block."""
        thread = threading.Thread(target=asyncio.run, args=(self._serve(),))
        thread.start()
        try:
            assert self._is_up.wait(_SECONDS_MAX), "the application did not come up"
            yield self
        finally:
            if self._server is not None:
                self._server.should_exit = True
            thread.join(_SECONDS_MAX)
            assert not thread.is_alive()

    async def _serve(self) -> None:
        async with await open_pool(self._dsn, size_max=4) as pool:
            world = await make_world(pool)
            file = await session_file(world)
            session = (await world.conversation(3)).session
            await world.store.sessions.rewind(
                world.caller, session.id, turn_id=None, expected=7, idempotency=None, render=rendered
            )
            await paid_turn(world, session.id)
            asked = await world.ask((await world.session()).session.id, 2, arguments_digest="digest")
            await world.append(session.id, 10)
            await world.store.agents.save_draft(
                world.caller, world.agent.id, definition={"model": "scripted:echo"}, expected=0
            )
            document = await world.store.reading.document(world.caller, session.id)
            captured = await world.store.interactions.capture(
                world.caller,
                Capture(prompt="Hello", model="m", session_id=session.id),
                idempotency=None,
                render=lambda name, _: StoredAnswer(status=201, headers={}, body=name.encode()),
            )
            assert isinstance(captured, StoredAnswer)
            key = await world.store.access.create_key(world.organization_id, name="t")
            self.secret = key.secret
            operator = await world.store.access.create_installation_key(name="t")
            self.installation_secret = operator.secret
            self.schema = with_known_ids(
                interaction_id=captured.body.decode(),
                session_id=session.id,
                turn_ids=[turn.id for turn in document.turns],
                agent_id=world.agent.id,
                entry_id=(await entries_of(world))[0].id,
                approval_ids=[approval.id for approval in asked],
                rule_id=await made_rule(world),
                organization_id=world.organization_id,
                file=file,
                key_id=(await world.store.access.create_key(world.organization_id, name="other")).id,
            )
            app: Any = make_app(make_state(world, wait_seconds_default=0, wait_seconds_max=0))
            config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none")
            self._server = server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            self.address = f"http://127.0.0.1:{port}"
            self._is_up.set()
            await serving


async def session_file(world: World) -> Any:
    """A session that has left: only its file is there."""
    moved = (await world.conversation(1)).session
    pieces: list[bytes] = []
    await world.store.exporting.export(world.caller, moved.id, pieces.append)
    text = b"".join(pieces).decode()
    # Under ids of its own, by which it is not here.
    for wire_id in sorted(set(re.findall(r"\b(?:ses|trn|stp|run|apv)_[0-9a-f]{32}\b", text))):
        text = text.replace(wire_id, f"{wire_id[:-8]}{secrets.token_hex(4)}")
    return json.loads(text)


async def made_rule(world: World) -> str:
    """A rule to read and to revoke."""
    answer = await world.store.approval_rules.create(
        world.caller,
        tool="refund",
        action=RuleAction.ASK,
        arguments_schema=None,
        cost_max=None,
        idempotency=None,
        render=lambda record: StoredAnswer(status=201, headers={}, body=record.id.encode()),
    )
    assert isinstance(answer, StoredAnswer)
    return answer.body.decode()


def with_known_ids(
    *,
    session_id: str,
    turn_ids: list[str],
    agent_id: str,
    approval_ids: list[str],
    rule_id: str,
    interaction_id: str,
    key_id: str,
    entry_id: str,
    organization_id: str,
    file: Any,
) -> Any:
    """The published schema, with requests narrowed to things that are there and to any revision.

    Otherwise nearly every call would be answered with 404 or 412. What is promised of answers stays as it is.
    """
    schema = copy.deepcopy(published.document())
    known: dict[str, list[Any]] = {
        "session_id": [session_id],
        "turn_id": turn_ids,
        "agent_id": [agent_id],
        "entry_id": [entry_id],
        "tz": ["UTC", "Europe/Berlin"],
        "time_zone": ["UTC", "Europe/Berlin"],
        "approval_id": approval_ids,
        "arguments_digest": ["digest"],
        "rule_id": [rule_id],
        "secret_name": ["crm", "erp"],
        "interaction_id": [interaction_id],
        "key_id": [key_id],
        "organization_id": [organization_id],
        "organization": [organization_id],
        "ordinal": [1, 2],
        "version": [1, 2],
        "If-Match": ["*"],
        # Parts that are never more than their whole.
        "cached_tokens": [0],
        "cache_write_tokens": [0],
        "reasoning_tokens": [0],
    }
    for path in schema["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in known:
                    parameter["schema"] = {"enum": known[parameter["name"]]}
                    parameter["required"] |= parameter["name"] == "If-Match"
    for operation in OPERATIONS:
        if operation.body is not None:
            properties = schema["components"]["schemas"][operation.body.__name__]["properties"]
            for name in known.keys() & properties.keys():
                properties[name] = {"enum": known[name]}
            if "expected_revision" in properties:
                properties["expected_revision"] = {"const": None}
    content = schema["paths"]["/v1/sessions/import"]["post"]["requestBody"]["content"]
    content["application/json"]["schema"] = {"enum": [file]}
    return schema


def ask(served: Served, cases: Any, *, seed: int) -> set[int]:
    """Send what schemathesis makes up, and hold every answer against the schema; tell the statuses seen."""
    seen = set()

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=EXAMPLES_MAX,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(case=cases)
    def send(case: Any) -> None:
        # Left bare in a path, either would end it, and another operation would be asked.
        hypothesis.assume(not set("?#") & set("".join(map(str, (case.path_parameters or {}).values()))))
        of_installation = case.operation.definition.raw["security"] == [{"apiKey": ["installation"]}]
        secret = served.installation_secret if of_installation else served.secret
        response = case.call(headers={"Authorization": f"Bearer {secret}"})
        seen.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    # There may be nothing about an operation that can be wrong.
    with contextlib.suppress(hypothesis.errors.Unsatisfiable):
        send()
    return seen


def place(operation: Any) -> int:
    """When an operation is asked, so that each finds what it needs."""
    name = operation.definition.raw["operationId"]
    if name in FIRST:
        return FIRST.index(name) - len(FIRST)
    return LAST.index(name) + 1 if name in LAST else 0


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_one_that_the_schema_promises(database_url: str, mode: GenerationMode) -> None:
    with Served(database_url).running() as served:
        schema: Any = schemathesis.openapi.from_dict(served.schema)
        schema.config.update(base_url=served.address)
        statuses: dict[str, set[int]] = {}

        operations = [result.ok() for result in schema.get_all_operations()]
        for operation in sorted(operations, key=place):
            cases = operation.as_strategy(generation_mode=mode)
            seen: set[int] = set()
            for number in range(ROUNDS_MAX if mode is GenerationMode.POSITIVE else 1):
                seen |= ask(served, cases, seed=number)
                if any(code < 300 for code in seen):
                    break
            statuses[operation.label] = seen

    assert len(statuses) == len(OPERATIONS)
    if mode is GenerationMode.POSITIVE:
        assert [name for name, seen in statuses.items() if not any(code < 300 for code in seen)] == []
