"""The service as a real process: it starts, survives, stops, and shares its data folder."""

import os
import signal
import socket
import stat
import time
from pathlib import Path

import httpx
import pytest

from api.app.local_access import local_file
from tests.e2e.services import serving

GRACE_SECONDS = 10


def test_the_first_start_answers_and_prints_how_it_is_reached(data_dir: Path) -> None:
    with serving(data_dir) as service:
        ready = service.wait_until_ready()

        assert ready.status_code == 200
        assert f"{service.address}/#key={service.access.key}" in service.output
        assert stat.S_IMODE(local_file(data_dir).stat().st_mode) == 0o600
        with service.client() as client:
            (agent,) = client.get("/agents").json()["items"]
        assert agent["name"] == "Demo on scripted:demo"


def test_sigterm_ends_it_with_code_0_and_takes_postgres_along(data_dir: Path) -> None:
    with serving(data_dir) as service:
        service.wait_until_ready()
        began = time.monotonic()

        code = service.stop()

        assert code == 0, service.output
        assert time.monotonic() - began < GRACE_SECONDS
        assert "service stopped" in service.output
        assert "Traceback" not in service.output
        assert not (data_dir / "cluster" / "postmaster.pid").exists()


def test_ctrl_c_ends_it_with_code_0(data_dir: Path) -> None:
    with serving(data_dir) as service:
        service.wait_until_ready()

        service.signal(signal.SIGINT)

        assert service.wait() == 0, service.output


def test_a_signal_during_the_start_ends_it_cleanly(data_dir: Path) -> None:
    with serving(data_dir) as service:
        while not (data_dir / "users.lock").exists():
            assert service.process.poll() is None, service.output
            time.sleep(0.005)

        assert service.stop() == 0, service.output
        assert "Traceback" not in service.output


def test_after_kill_9_the_next_start_has_all_that_was_acknowledged(data_dir: Path) -> None:
    with serving(data_dir) as killed:
        killed.wait_until_ready()
        with killed.client() as client:
            agent_id = client.get("/agents").json()["items"][0]["id"]
            session = client.post("/sessions", json={"agent_id": agent_id, "name": "kept"}).json()
        key = killed.access.key
        killed.signal(signal.SIGKILL)
        killed.wait()

    with serving(data_dir) as restarted:
        restarted.wait_until_ready()

        assert restarted.access.key == key
        with restarted.client() as client:
            kept = client.get(f"/sessions/{session['id']}").json()
        assert (kept["name"], kept["revision"]) == ("kept", session["revision"])
        assert restarted.stop() == 0


def test_two_services_can_start_at_once_on_one_data_folder(data_dir: Path) -> None:
    with serving(data_dir) as first, serving(data_dir) as second:
        assert first.wait_until_ready().status_code == 200
        assert second.wait_until_ready().status_code == 200
        with first.client() as of_first, second.client() as of_second:
            assert of_first.get("/agents").json() == of_second.get("/agents").json()

        assert first.stop() == 0
        assert httpx.get(f"{second.address}/health/ready").status_code == 200
        assert second.stop() == 0


def test_a_turn_that_is_being_answered_is_finished_before_the_end(data_dir: Path) -> None:
    with serving(data_dir) as service:
        service.wait_until_ready()
        with service.client() as client:
            agent = {"name": "Slow", "definition": {"model": "scripted:slow"}}
            agent_id = client.post("/agents", json=agent).json()["agent_id"]
            session = client.post("/sessions", json={"agent_id": agent_id}).json()
            client.post(
                f"/sessions/{session['id']}/messages",
                json={"text": "My name is Ada.", "expected_revision": session["revision"]},
                headers={"Prefer": "respond-async"},
            ).raise_for_status()

            assert service.stop() == 0

    with serving(data_dir) as restarted:
        restarted.wait_until_ready()
        with restarted.client() as client:
            deadline = time.monotonic() + GRACE_SECONDS
            while (document := client.get(f"/sessions/{session['id']}").json())["active_turn_id"]:
                assert time.monotonic() < deadline, document
                time.sleep(0.05)
        (turn,) = document["turns"]
        assert (turn["state"], turn["replies"][0]["text"]) == ("completed", "Noted: your name is Ada.")


def test_another_host_name_is_refused_on_a_loopback_address(data_dir: Path) -> None:
    with serving(data_dir) as service:
        service.wait_until_ready()

        answer = httpx.get(f"{service.address}/health/live", headers={"Host": "evil.example"})

        assert answer.status_code == 421


def test_a_port_that_is_taken_is_told_before_anything_is_started(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving(data_dir, "--port", str(port)) as service:
            assert service.wait() == 1

            assert f"port {port}" in service.output
            assert "Traceback" not in service.output
            assert not data_dir.exists()


def test_with_an_external_database_nothing_is_made_and_no_key_is_printed(
    data_dir: Path, database_url: str
) -> None:
    with serving(data_dir, environ={"TURNLEDGER_DATABASE_URL": database_url}) as service:
        assert service.wait_until_ready().status_code == 200

        assert "key" not in service.output
        assert not data_dir.exists()
        assert service.stop() == 0


@pytest.mark.parametrize("runners", ["0", "2"])
def test_the_number_of_runners_is_a_flag(data_dir: Path, database_url: str, runners: str) -> None:
    environ = {"TURNLEDGER_DATABASE_URL": database_url}
    with serving(data_dir, "--runners", runners, environ=environ) as service:
        assert service.wait_until_ready().status_code == 200


def test_the_service_leaves_no_process_behind(data_dir: Path) -> None:
    with serving(data_dir) as service:
        service.wait_until_ready()
        postgres = int((data_dir / "cluster" / "postmaster.pid").read_text().split()[0])

        service.stop()

        with pytest.raises(ProcessLookupError):
            os.kill(postgres, 0)
