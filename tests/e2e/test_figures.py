"""Service and worker as real processes tell their figures and their health, each its own."""

import socket
from pathlib import Path

import httpx

from tests.e2e.services import serving


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def test_service_and_worker_tell_their_figures(data_dir: Path) -> None:
    port = free_port()
    figures = {"TURNLEDGER_METRICS_PORT": str(port), "TURNLEDGER_METRICS_TOKEN": "let-me-see"}
    token = {"Authorization": "Bearer let-me-see"}
    with serving(data_dir, "--runners", "0") as service:
        service.wait_until_ready()
        with serving(data_dir, environ=figures, command="worker") as worker:
            worker.wait_until_it_works()
            with service.client() as client:
                agent_id = client.get("/agents").json()["items"][0]["id"]
                session = client.post("/sessions", json={"agent_id": agent_id}).json()
                answered = client.post(
                    f"/sessions/{session['id']}/messages",
                    json={"text": "Hello", "expected_revision": session["revision"]},
                )
            of_service = httpx.get(f"{service.address}/metrics").text
            refused = httpx.get(f"http://127.0.0.1:{port}/metrics")
            of_worker = httpx.get(f"http://127.0.0.1:{port}/metrics", headers=token).text
            probes = [httpx.get(f"http://127.0.0.1:{port}/health/{probe}") for probe in ("live", "ready")]
            elsewhere = httpx.get(f"http://127.0.0.1:{port}/v1/sessions")

            assert worker.stop() == 0, worker.output

    assert answered.status_code == 200
    assert refused.status_code == 401
    assert [probe.status_code for probe in probes] == [200, 200]
    assert probes[1].json()["checks"] == {"database": True, "writable": True, "migrations": True}
    assert elsewhere.status_code == 404, "a worker serves nothing else"
    assert 'turnledger_run_seconds_count{outcome="completed"} 1.0' in of_worker
    assert "turnledger_run_seconds_count" not in of_service
    assert 'turnledger_pool_connections{state="max"} 16.0' in of_service
