"""The examples of docs/agents, carried out: a real service, real tools, a model that needs no account."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.services import ROOT, ServiceProcess, serving
from tests.e2e.tool_server import ToolServer, tool_server

RUNBOOKS = {
    "runbooks": {"command": sys.executable, "args": [str(Path(__file__).with_name("runbooks_server.py"))]}
}


@pytest.fixture(scope="module")
def tools() -> Iterator[ToolServer]:
    with tool_server() as server:
        yield server


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tools: ToolServer) -> Iterator[ServiceProcess]:
    environ = {
        "TURNLEDGER_MCP_SERVERS": json.dumps(RUNBOOKS),
        "TURNLEDGER_TOOL_HOSTS_ALLOWED": tools.address,
    }
    with serving(tmp_path_factory.mktemp("agents") / "data", environ=environ) as started:
        started.wait_until_ready()
        yield started


@pytest.fixture
def api(service: ServiceProcess) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


class Conversation:
    """A session with an example, whose model follows what the user's message says."""

    def __init__(self, api: httpx.Client, name: str, context: dict[str, Any]) -> None:
        definition = json.loads((ROOT / "docs/agents" / f"{name}.json").read_text())
        definition["model"] = "scripted:tools"
        agent = done(api.post("/agents", json={"name": name, "definition": definition}))
        self.api = api
        self.session = done(api.post("/sessions", json={"agent_id": agent["agent_id"], "context": context}))
        self.path = f"/sessions/{self.session['id']}"
        if (greeting := self.session["active_turn_id"]) is not None:
            final(api, f"{self.path}/turns/{greeting}")

    def say(self, *lines: str) -> dict[str, Any]:
        """Send a message and give the turn as the answer shows it."""
        self.session = done(self.api.get(self.path))
        body = {"text": "\n".join(lines), "expected_revision": self.session["revision"]}
        answer = done(self.api.post(f"{self.path}/messages", json=body))
        self.session = done(self.api.get(self.path))
        turn: dict[str, Any] = answer["turns"][-1]
        return turn

    def decide(self, decision: str, **more: Any) -> dict[str, Any]:
        """Decide about the one open approval and give the turn when it is final."""
        [approval] = done(
            self.api.get("/approvals", params={"session_id": self.session["id"], "state": "open"})
        )["items"]
        body = {"decision": decision, "arguments_digest": approval["arguments_digest"], **more}
        done(self.api.post(f"/approvals/{approval['id']}/decision", json=body))
        return final(self.api, f"{self.path}/turns/{approval['turn_id']}")


def done(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()


def final(api: httpx.Client, path: str) -> dict[str, Any]:
    """Follow the session until the turn is final, and give it."""
    session_path = path.partition("/turns/")[0]
    with api.stream("GET", f"{session_path}/events", headers={"Accept": "text/event-stream"}) as events:
        for _ in events.iter_lines():
            turn: dict[str, Any] = done(api.get(path))
            if turn["state"] not in ("pending", "awaiting_approval"):
                return turn
    raise AssertionError("the stream ended before the turn")


def test_the_helper_greets_and_answers(api: httpx.Client) -> None:
    helper = Conversation(api, "helper", {"customer": {"name": "Ada"}})

    turn = helper.say("My colour is red.")

    assert helper.session["turns"][0]["replies"][0]["text"] == "Hello Ada. What can I help you with?"
    assert turn["replies"][0]["speaker"] == "Ada"
    assert "red" in turn["replies"][0]["text"]


def test_the_clinic_takes_a_patient_from_the_greeting_to_a_booked_appointment(
    api: httpx.Client, tools: ToolServer
) -> None:
    done(api.put("/secrets/clinic_token", json={"value": "canary-of-the-clinic"}))
    clinic = Conversation(
        api, "clinic", {"clinic": {"api_url": f"http://{tools.address}", "name": "St Anne"}}
    )

    begun = clinic.say("I need an appointment.", "go begin_intake")
    known = clinic.say(
        "My patient name is Grace and my reason is a sore knee.", "go go_to_booking", "then", "say Which day?"
    )
    offered = clinic.say('call find_slots {"day": "2026-12-01"}')
    booked = clinic.say('call book_slot {"slot_id": "slot-9"}', "then", "go finish")

    assert begun["node"] == "intake"
    assert begun["replies"][0]["text"].startswith("Happy to help with that.")
    assert known["node"] == "booking"
    [looked] = tools.calls("GET", "/slots?")
    assert looked.headers["authorization"] == "Bearer canary-of-the-clinic"
    assert "slot-9" in offered["replies"][0]["text"]
    assert "internal" not in offered["replies"][0]["text"]
    [put] = tools.calls("PUT", "/slots/slot-9/booking")
    assert put.body["patient"]["name"] == "Grace", "the variable was extracted on the way"
    assert put.headers["idempotency-key"].startswith("trn_")
    assert (clinic.session["state"], clinic.session["node"]) == ("ended", "booked")
    assert clinic.session["resolution"] == "appointment booked"
    assert booked["replies"][0]["text"]


def test_operations_look_ask_before_they_act_and_report(api: httpx.Client, tools: ToolServer) -> None:
    done(api.put("/secrets/operations_token", json={"value": "canary-of-operations"}))
    context = {"service": {"name": "shop", "api_url": f"http://{tools.address}"}, "operator": {"name": "Lin"}}
    operations = Conversation(api, "operations", context)

    looked = operations.say("call service_state", 'call search_runbooks {"words": "errors"}')
    waiting = operations.say(
        "go begin_to_act",
        "then",
        'call restart_service {"reason": "too many errors"}',
        "then",
        "say Restarted.",
    )
    before = len(tools.calls("POST", "/restarts"))
    restarted = operations.decide("approved", note="Go on.")
    operations.say('call set_replicas {"count": 3}')
    denied = operations.decide("denied", note="Two are enough.")
    reported = operations.say(
        "go write_report", "then", 'answer {"problem": "errors", "actions": ["restart"], "is_well": true}'
    )

    assert "One page speaks of errors" in looked["replies"][0]["text"]
    assert waiting["state"] == "awaiting_approval"
    assert before == 0
    assert len(tools.calls("POST", "/restarts")) == 1
    assert restarted["replies"][0]["text"].endswith("Restarted.")
    assert tools.calls("PUT", "/replicas") == []
    assert "Two are enough." in denied["replies"][0]["text"]
    assert operations.session["state"] == "ended"
    assert json.loads(reported["replies"][0]["text"].split("\n\n")[-1]) == {
        "problem": "errors",
        "actions": ["restart"],
        "is_well": True,
    }


def test_no_secret_is_in_the_logs_or_the_database_in_the_clear(
    service: ServiceProcess, api: httpx.Client, tools: ToolServer
) -> None:
    assert "canary-of" not in service.output
    for path in ("/secrets", "/approvals?limit=100", "/sessions?limit=100"):
        assert "canary-of" not in api.get(path).text


def test_the_examples_pass_the_command_line(tmp_path: Path) -> None:
    for path in sorted((ROOT / "docs/agents").glob("*.json")):
        outcome = subprocess.run(
            [sys.executable, "-m", "api", "agents", "validate", str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert outcome.returncode == 0, outcome.stderr
