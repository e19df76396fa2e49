"""Streams over several processes on one database: cut anywhere, gone on with anywhere, nothing twice."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.services import ServiceProcess, serving
from tests.event_streams import Received, following, names, text_of
from tests.providers.server import FakeProvider, Plan

_RESUMES = 210
_READERS = 6
_SECONDS_MAX = 90
_END_SECONDS_MAX = 1
_LONG_LEASE_SECONDS = 60
FAST = {
    "TURNLEDGER_LEASE_SECONDS": "2",
    "TURNLEDGER_HEARTBEAT_SECONDS": "0.5",
    "TURNLEDGER_POLL_INTERVAL_MS": "100",
}


@contextlib.asynccontextmanager
async def calling(service: ServiceProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service with the local key."""
    headers = {"Authorization": f"Bearer {service.access.key}"}
    async with httpx.AsyncClient(base_url=f"{service.address}/v1", headers=headers, timeout=30) as client:
        yield client


async def open_session(client: httpx.AsyncClient, model: str) -> Any:
    agent = {"name": "Talker", "definition": {"model": model}}
    agent_id = (await client.post("/agents", json=agent)).json()["agent_id"]
    return (await client.post("/sessions", json={"agent_id": agent_id})).json()


async def say(client: httpx.AsyncClient, session: Any, text: str) -> str:
    answer = await client.post(
        f"/sessions/{session['id']}/messages",
        json={"text": text},
        headers={"Prefer": "respond-async", "If-Match": "*"},
    )
    assert answer.status_code == 202, answer.text
    turn_id: str = answer.json()["turn_id"]
    return turn_id


class Wanderer:
    """A reader that is cut off again and again, and goes on at whichever server is there."""

    def __init__(self, session_id: str, key: str, addresses: list[str], seed: int) -> None:
        self.received: list[Received] = []
        self.resume_count = 0
        self._path = f"/v1/sessions/{session_id}/events"
        self._authorization = {"Authorization": f"Bearer {key}"}
        self._addresses = addresses
        self._chance = random.Random(seed)

    async def read(self, *, until_revision: int) -> None:
        """Read up to this revision."""
        async with httpx.AsyncClient(timeout=10, headers=self._authorization) as client:
            while not self._has(until_revision):
                with contextlib.suppress(httpx.TransportError):
                    await self._read_a_little(client, until_revision)
                self.resume_count += 1

    def _has(self, revision: int) -> bool:
        return any(one.data.get("revision", 0) >= revision for one in self.received)

    async def _read_a_little(self, client: httpx.AsyncClient, until_revision: int) -> None:
        given = {"Last-Event-ID": self.received[-1].id} if self.received else {}
        address = self._chance.choice(self._addresses)
        async with following(client, f"{address}{self._path}?after=0", headers=given) as stream:
            for _ in range(self._chance.randint(1, 4)):
                received = await stream.next()
                if received is None:
                    return
                self.received.append(received)
                if self._has(until_revision):
                    return


@pytest.mark.parametrize("doorbell", ["on", "off"])
async def test_streams_cut_at_random_over_processes_that_come_and_go_lose_and_repeat_nothing(
    data_dir: Path, doorbell: str
) -> None:
    chance = random.Random(7)
    async with FakeProvider() as provider, asyncio.timeout(_SECONDS_MAX):
        environ = {
            **FAST,
            "TURNLEDGER_DOORBELL": doorbell,
            "TURNLEDGER_MODEL_PROVIDERS": f"fake={provider.base_url}/v1",
            "TURNLEDGER_DELTA_FLUSH_MS": "20",
        }
        with contextlib.ExitStack() as stack:
            a = stack.enter_context(serving(data_dir, "--runners", "0", environ=environ))
            await asyncio.to_thread(a.wait_until_ready)
            b = stack.enter_context(serving(data_dir, "--runners", "0", environ=environ))
            worker = stack.enter_context(serving(data_dir, environ=environ, command="worker"))
            await asyncio.to_thread(b.wait_until_ready)
            await asyncio.to_thread(worker.wait_until_it_works)
            async with calling(b) as client:
                session = await open_session(client, "fake:any")
                addresses = [a.address, b.address]
                readers = [
                    Wanderer(session["id"], b.access.key, addresses, chance.randint(0, 10**6))
                    for _ in range(_READERS)
                ]
                reading: list[asyncio.Task[None]] = []
                revision, turn_ids = session["revision"], []
                for number in range(3):
                    revision += 2
                    reading += [
                        asyncio.create_task(reader.read(until_revision=revision)) for reader in readers
                    ]
                    turn_ids.append(await say(client, session, "[[words=100 delay_ms=20]]"))
                    if number == 0:
                        a.signal(signal.SIGKILL)
                        await asyncio.to_thread(a.process.wait)
                        a = stack.enter_context(serving(data_dir, "--runners", "0", environ=environ))
                        await asyncio.to_thread(a.wait_until_ready)
                        addresses[0] = a.address
                    if number == 1:
                        # The turn is taken over by another worker, and begun anew.
                        while not text_of(readers[0].received, turn_ids[-1]):
                            await asyncio.sleep(0.01)
                        worker.signal(signal.SIGKILL)
                        stack.enter_context(serving(data_dir, environ=environ, command="worker"))
                    await asyncio.gather(*reading)
                document = (await client.get(f"/sessions/{session['id']}")).json()

    said = {turn["id"]: turn["replies"][0]["text"] for turn in document["turns"]}
    for reader in readers:
        durable = [one.data["revision"] for one in reader.received if "revision" in one.data]
        assert durable == list(range(1, revision + 1))
        ids = [one.id for one in reader.received]
        assert len(ids) == len(set(ids)), "nothing twice"
        for turn_id in turn_ids:
            assert text_of(reader.received, turn_id) == said[turn_id]
    assert sum(reader.resume_count for reader in readers) >= _RESUMES
    assert "turn.restarted" in names(readers[0].received)


async def test_cancel_at_another_server_keeps_exactly_the_words_that_were_shown(data_dir: Path) -> None:
    with serving(data_dir) as a, serving(data_dir) as b:
        for service in (a, b):
            await asyncio.to_thread(service.wait_until_ready)
        async with calling(a) as at_a, calling(b) as at_b:
            session = await open_session(at_a, "scripted:slow")
            async with following(
                at_a,
                f"/sessions/{session['id']}/messages",
                method="POST",
                body={"text": "Tell me a lot, and then some more.", "expected_revision": 1},
            ) as stream:
                received = await stream.until("turn.delta")
                turn_id = received[-1].data["turn_id"]
                received += await stream.until("turn.delta")
                began = time.monotonic()
                cancelled = await at_b.post(f"/sessions/{session['id']}/turns/{turn_id}/cancel", json={})
                received += await stream.rest()
                seconds = time.monotonic() - began

    [turn] = cancelled.json()["turns"]
    assert names(received)[-2:] == ["turn.cancelled", "end"]
    assert turn["replies"][0]["text"] == text_of(received)
    assert turn["replies"][0]["truncated"]
    assert seconds < _END_SECONDS_MAX, "the doorbell was heard"


async def test_a_service_that_stops_ends_its_streams_at_once(data_dir: Path) -> None:
    with serving(data_dir) as service:
        await asyncio.to_thread(service.wait_until_ready)
        async with calling(service) as client:
            session = await open_session(client, "scripted:demo")
            async with following(client, f"/sessions/{session['id']}/events?after=0") as stream:
                await stream.until("session.created")
                began = time.monotonic()
                service.signal(signal.SIGTERM)
                assert await stream.rest() == []
                seconds = time.monotonic() - began

        assert await asyncio.to_thread(service.wait) == 0
    assert seconds < _END_SECONDS_MAX


async def test_a_worker_answers_what_a_service_without_runners_takes_and_drains_when_it_is_stopped(
    data_dir: Path,
) -> None:
    with serving(data_dir, "--runners", "0") as service:
        await asyncio.to_thread(service.wait_until_ready)
        with serving(data_dir, command="worker") as worker:
            await asyncio.to_thread(worker.wait_until_it_works)
            async with calling(service) as client:
                session = await open_session(client, "scripted:slow")
                turn_id = await say(client, session, "My name is Ada.")
                async with following(client, f"/sessions/{session['id']}/events?after=1") as stream:
                    received = await stream.until("turn.delta")
                    worker.signal(signal.SIGTERM)
                    received += await stream.until("turn.completed")

            assert await asyncio.to_thread(worker.wait) == 0
            assert "worker stopped" in worker.output
            assert "Traceback" not in worker.output
    assert text_of(received, turn_id) == "Noted: your name is Ada."


@pytest.mark.parametrize("command", ["serve", "worker"])
async def test_a_turn_that_does_not_end_in_time_is_handed_back_and_goes_on_elsewhere(
    data_dir: Path, command: str
) -> None:
    async with FakeProvider() as provider, asyncio.timeout(_SECONDS_MAX):
        provider.plans.extend([Plan(stall_after=1), Plan(text="Here I am.")])
        environ = {
            "TURNLEDGER_MODEL_PROVIDERS": f"fake={provider.base_url}/v1",
            "TURNLEDGER_SHUTDOWN_GRACE_SECONDS": "1",
            "TURNLEDGER_LEASE_SECONDS": str(_LONG_LEASE_SECONDS),
        }
        with (
            serving(data_dir, "--runners", "0", environ=environ) as service,
            serving(data_dir, environ=environ, command=command) as first,
        ):
            await asyncio.to_thread(service.wait_until_ready)
            await asyncio.to_thread(
                first.wait_until_ready if command == "serve" else first.wait_until_it_works
            )
            async with calling(service) as client:
                session = await open_session(client, "fake:any")
                turn_id = await say(client, session, "Are you there?")
                async with following(client, f"/sessions/{session['id']}/events?after=1") as stream:
                    received = await stream.until("turn.delta")
                    began = time.monotonic()
                    first.signal(signal.SIGTERM)
                    assert await asyncio.to_thread(first.wait) == 0
                    with serving(data_dir, environ=environ, command="worker"):
                        received += await stream.until("turn.completed")
                    seconds = time.monotonic() - began
                entries = (await client.get("/usage/entries")).json()["items"]

    assert seconds < _LONG_LEASE_SECONDS, "nobody waited for the lease to end"
    assert "turn.restarted" in names(received)
    assert text_of(received, turn_id) == "Here I am."
    assert [(entry["outcome"], entry["attempt"]) for entry in entries] == [("failed", 1), ("completed", 1)]


def test_a_worker_without_runners_is_refused(data_dir: Path) -> None:
    with serving(data_dir, "--runners", "0", command="worker") as worker:
        assert worker.wait() == 1
        assert "--runners" in worker.output
