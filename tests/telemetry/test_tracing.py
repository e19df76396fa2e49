"""Spans reach an OTLP/HTTP receiver, tell what was done, and hold no word of it."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from api.app.observing import observe
from api.session.document import TurnState
from api.telemetry.tracing import sending_spans, span
from db.pool import Pool
from tests.routes.service import make_app, make_state
from tests.runner.conversing import Line
from tests.store.test_erasure import CANARY, set_up, talked

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Receiver:
    """What spans are sent to: takes OTLP over HTTP and keeps it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def spans(self) -> list[Span]:
        """All that came."""
        found: list[Span] = []
        for body in self.bodies:
            request = ExportTraceServiceRequest()
            request.ParseFromString(body)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    found += scope.spans
        return found


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    with made.running():
        yield made


def attributes(one: Span) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in one.attributes}


async def test_a_conversation_is_traced_without_a_word_of_it(pool: Pool, receiver: Receiver) -> None:
    with sending_spans(receiver.endpoint):
        scene = await set_up(pool)
        async with scene.running():
            turn_id = await talked(scene)
            scene.model.goes_on.set()  # type: ignore[attr-defined]
            await scene.until(turn_id)

    spans = receiver.spans()
    assert CANARY.encode() not in b"".join(receiver.bodies)
    by_kind: dict[str, list[Span]] = {}
    for one in spans:
        by_kind.setdefault(attributes(one).get("gen_ai.operation.name", ""), []).append(one)
    turns, calls, tools = by_kind["invoke_agent"], by_kind["chat"], by_kind["execute_tool"]
    assert {one.name for one in calls} == {"chat one"}
    assert {one.name for one in tools} == {"execute_tool look", "execute_tool pay"}
    turn_spans = {one.span_id for one in turns}
    assert all(one.parent_span_id in turn_spans for one in (*calls, *tools))
    told = attributes(calls[0])
    assert told["gen_ai.provider.name"] == "lines"
    assert told["gen_ai.request.model"] == told["gen_ai.response.model"] == "one"
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (100, 10)
    assert told["gen_ai.conversation.id"] == scene.session_id
    assert {attributes(one)["turnledger.run.outcome"] for one in turns} == {"completed", "awaiting_approval"}


async def test_a_request_is_traced_under_the_callers_trace(pool: Pool, receiver: Receiver) -> None:
    with sending_spans(receiver.endpoint):
        scene = await set_up(pool)
        key = await scene.world.store.access.create_key(scene.world.organization_id, name="t")
        transport = httpx.ASGITransport(app=observe(make_app(make_state(scene.world))))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            await client.get(
                f"/v1/sessions/{scene.session_id}?q={CANARY}",
                headers={"Authorization": f"Bearer {key.secret}", "traceparent": PARENT},
            )

    (one,) = receiver.spans()
    told = attributes(one)
    assert one.trace_id.hex() == PARENT.split("-")[1]
    assert one.parent_span_id.hex() == PARENT.split("-")[2]
    assert (told["turnledger.operation"], told["http.response.status_code"]) == ("getSession", 422)
    assert told["turnledger.session.id"] == scene.session_id
    assert CANARY.encode() not in receiver.bodies[0]
    assert key.secret.encode() not in receiver.bodies[0]


async def test_what_fails_is_told_by_its_code_alone(pool: Pool, receiver: Receiver) -> None:
    with sending_spans(receiver.endpoint):
        scene = await set_up(pool)
        scene.model.lines = []
        async with scene.running():
            turn = await scene.ask(f"{CANARY} hello")
        with pytest.raises(ValueError, match=CANARY), span("odd", {}):
            raise ValueError(CANARY)

    failed = {
        attributes(one).get("error.type")
        for one in receiver.spans()
        if one.status.code == Status.STATUS_CODE_ERROR
    }
    assert turn.state is TurnState.FAILED
    assert failed == {"internal_error" if turn.error is None else turn.error.code, "ValueError"}
    assert CANARY.encode() not in b"".join(receiver.bodies)


async def test_a_receiver_that_is_away_disturbs_nothing(pool: Pool, receiver: Receiver) -> None:
    scene = await set_up(pool)
    scene.model.goes_on.set()  # type: ignore[attr-defined]
    scene.model.lines = [Line(text="Hello."), Line(text="Unsaid.")]

    async with asyncio.timeout(20):
        with sending_spans("http://127.0.0.1:9"):
            async with scene.running():
                turn = await scene.ask()

    assert turn.state is TurnState.COMPLETED


def test_nothing_of_it_is_imported_unless_it_is_configured() -> None:
    program = (
        "import sys\n"
        "from api.telemetry.tracing import sending_spans, span\n"
        "with sending_spans(None), span('odd', {}) as one:\n"
        "    one.set({'a': 1})\n"
        "    one.fail('b')\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )

    told = subprocess.check_output([sys.executable, "-c", program], text=True)

    assert told.strip() == "[]"
