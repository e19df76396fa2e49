"""Rate limits of keys, over several processes that share nothing but the database."""

import asyncio
import math
import re
from datetime import timedelta
from typing import Any

import pytest

from api.routes import rate_limits
from api.routes.errors import RateLimited
from api.routes.rate_limits import LOTS, RateLimits
from api.stopping import stopped
from api.store import Caller
from api.store.base import KeyLimits, utc_now
from db.pool import Pool
from tests.factories import World, completing, make_world
from tests.ledger import call, claimed
from tests.routes.service import Api, make_app, make_state, serving, turns_running


async def caller_with(world: World, **limits: int) -> Caller:
    key = await world.store.access.create_key(
        world.organization_id, name="limited", limits=KeyLimits(**limits)
    )
    caller = await world.store.access.caller_of(key.secret)
    assert caller is not None
    return caller


async def let_through(rates: RateLimits, caller: Caller, count: int) -> int:
    """How many of so many calls are let through."""
    done = 0
    for _ in range(count):
        try:
            await rates.take_request(caller)
        except RateLimited:
            continue
        done += 1
    return done


async def minutes_of(pool: Pool) -> int:
    async with pool.acquire() as conn:
        found = await conn.fetchval(
            "SELECT extract(epoch FROM date_trunc('minute', clock_timestamp()))::int8"
        )
    return int(found) // 60


async def test_processes_together_let_through_what_the_limit_says(pool: Pool) -> None:
    world = await make_world(pool)
    caller = await caller_with(world, requests_per_minute_max=120)
    processes = [RateLimits(world.store.key_limits) for _ in range(4)]

    first = await minutes_of(pool)
    done = await asyncio.gather(*(let_through(rates, caller, 25) for rates in processes for _ in range(4)))
    minutes = await minutes_of(pool) - first + 1

    # One that is done before the minute is used up keeps what it has left of its last lot.
    kept_max = len(processes) * (math.ceil(120 / LOTS) - 1)
    assert 120 - kept_max <= sum(done) <= 120 * minutes


async def test_a_lot_is_asked_for_and_not_each_call(pool: Pool) -> None:
    world = await make_world(pool)
    asked = 0

    class Counting:
        async def grant(self, *args: Any, **options: Any) -> Any:
            nonlocal asked
            asked += 1
            return await world.store.key_limits.grant(*args, **options)

    rates = RateLimits(Counting())  # type: ignore[arg-type]  # all that requests need
    unlimited = await caller_with(world)

    assert await let_through(rates, unlimited, 100) == 100
    assert asked == 0
    first = await minutes_of(pool)
    done = await let_through(rates, await caller_with(world, requests_per_minute_max=1_000), 2_000)
    minutes = await minutes_of(pool) - first + 1
    assert done >= 1_000
    assert asked <= (LOTS + 1) * minutes


async def test_the_next_minute_begins_anew_and_a_lot_does_not_outlive_its_minute(pool: Pool) -> None:
    world = await make_world(pool)
    caller = await caller_with(world, requests_per_minute_max=100)
    now = [0.0]
    rates = RateLimits(world.store.key_limits, clock=lambda: now[0])
    assert await let_through(rates, caller, 1) == 1
    async with pool.acquire() as conn:
        await conn.execute("UPDATE key_minutes SET minute = minute - interval '1 minute', granted = 100")

    now[0] = 60.0
    fields = await rates.take_request(caller)
    async with pool.acquire() as conn:
        granted = await conn.fetchval("SELECT granted FROM key_minutes")

    assert fields["RateLimit"].startswith('"requests";r=99;')
    assert granted == 2


async def test_a_clock_that_was_set_back_gives_nothing_out_twice(pool: Pool) -> None:
    world = await make_world(pool)
    caller = await caller_with(world, requests_per_minute_max=10)
    await let_through(RateLimits(world.store.key_limits), caller, 10)
    async with pool.acquire() as conn:
        await conn.execute("UPDATE key_minutes SET minute = minute + interval '3 minutes', granted = 10")

    assert await let_through(RateLimits(world.store.key_limits), caller, 5) == 0


async def test_a_call_is_told_what_is_left_and_refused_when_nothing_is(pool: Pool) -> None:
    async with serving(pool) as owner:
        key = await owner.post(
            "/v1/api-keys",
            {"name": "x", "scopes": ["sessions:read"], "requests_per_minute_max": 3},
            status=201,
        )
        api = Api(owner.world, owner.app, key["secret"])
        answers = [await api.call("GET", "/v1/sessions") for _ in range(9)]
        unlimited = await owner.call("GET", "/v1/sessions")
        await api.close()

    good = [answer for answer in answers if answer.status_code == 200]
    bad = [answer for answer in answers if answer.status_code == 429]
    assert len(good) in (3, 6)
    assert len(good) + len(bad) == 9
    assert good[0].headers["ratelimit-policy"] == '"requests";q=3;w=60'
    assert re.fullmatch(r'"requests";r=2;t=\d+', good[0].headers["ratelimit"])
    assert bad[0].json()["code"] == "rate-limited"
    assert bad[0].json()["violated_policies"] == ["requests"]
    assert bad[0].json()["limit"] == 3
    assert 1 <= int(bad[0].headers["retry-after"]) <= 60
    assert re.fullmatch(r'"requests";r=0;t=\d+', bad[0].headers["ratelimit"])
    assert "ratelimit" not in unlimited.headers


async def test_streams_are_counted_over_processes_and_given_back(pool: Pool) -> None:
    world = await make_world(pool)
    caller = await caller_with(world, streams_max=3)
    one, two = RateLimits(world.store.key_limits), RateLimits(world.store.key_limits)

    held = [await one.take_stream(caller), await one.take_stream(caller), await two.take_stream(caller)]
    for rates in (one, two):
        with pytest.raises(RateLimited):
            await rates.take_stream(caller)
    held[0]()
    held[0]()
    await one.settled()
    again = await two.take_stream(caller)
    with pytest.raises(RateLimited):
        await one.take_stream(caller)
    for give_back in (*held, again):
        give_back()
    await one.settled()
    await two.settled()
    async with pool.acquire() as conn:
        left = await conn.fetchval("SELECT sum(stream_count) FROM key_streams")

    assert left == 0


async def test_a_burst_over_processes_takes_no_more_streams_than_there_are(pool: Pool) -> None:
    world = await make_world(pool)
    caller = await caller_with(world, streams_max=5)
    processes = [RateLimits(world.store.key_limits) for _ in range(4)]

    async def take(rates: RateLimits) -> bool:
        try:
            await rates.take_stream(caller)
        except RateLimited:
            return False
        return True

    taken = await asyncio.gather(*(take(rates) for rates in processes for _ in range(5)))

    assert sum(taken) == 5


async def test_streams_of_a_process_that_died_count_until_they_expire(pool: Pool) -> None:
    world = await make_world(pool)
    caller = await caller_with(world, streams_max=1)
    dead, alive = RateLimits(world.store.key_limits), RateLimits(world.store.key_limits)
    await dead.take_stream(caller)

    with pytest.raises(RateLimited):
        await alive.take_stream(caller)
    async with pool.acquire() as conn:
        await conn.execute("UPDATE key_streams SET expires_at = clock_timestamp()")
    await alive.take_stream(caller)

    async with pool.acquire() as conn:
        assert await conn.fetchval("SELECT count(*) FROM key_streams") == 1


async def test_a_process_that_lives_keeps_its_streams_beyond_their_time(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "_PROLONG_SECONDS", 0.02)
    world = await make_world(pool)
    caller = await caller_with(world, streams_max=1)
    holding, other = RateLimits(world.store.key_limits), RateLimits(world.store.key_limits)
    await holding.take_stream(caller)
    await pool.execute("UPDATE key_streams SET expires_at = clock_timestamp() + interval '1 second'")

    prolonging = asyncio.create_task(holding.prolong_forever())
    async with asyncio.timeout(10):
        while not await pool.fetchval(
            "SELECT bool_and(expires_at > clock_timestamp() + interval '10 seconds') FROM key_streams"
        ):
            await asyncio.sleep(0.02)
    await stopped(prolonging)

    with pytest.raises(RateLimited):
        await other.take_stream(caller)


async def test_a_call_that_is_answered_without_a_stream_holds_none(pool: Pool) -> None:
    async with serving(pool) as owner:
        key = await owner.post(
            "/v1/api-keys", {"name": "x", "scopes": ["sessions:read"], "streams_max": 1}, status=201
        )
        state = make_state(owner.world)
        api = Api(owner.world, make_app(state), key["secret"])
        session = await owner.session()
        await owner.post(f"/v1/sessions/{session['id']}/end", {"expected_revision": 1})
        stream = {"Accept": "text/event-stream"}
        path = "/v1/sessions/{}/events"

        seen = []
        for session_id in (session["id"], "ses_" + "0" * 32, session["id"]):
            answer = await api._client.get(path.format(session_id) + "?after=0", headers=stream)
            await state.rates.settled()
            seen.append(answer.status_code)
        give_back = await state.rates.take_stream(
            await owner.world.store.access.caller_of(key["secret"])  # type: ignore[arg-type]
        )
        refused = await api.call("GET", path.format(session["id"]), headers=stream)
        give_back()
        await state.rates.settled()
        await api.close()

    assert seen == [200, 404, 200]
    assert (refused.status_code, refused.json()["violated_policies"]) == (429, ["streams"])


async def test_a_key_that_has_used_its_tokens_begins_no_turn_in_this_minute(pool: Pool) -> None:
    async with serving(pool) as owner, turns_running(owner.world):
        fields = {"name": "x", "scopes": ["sessions:read", "sessions:write"], "tokens_per_minute_max": 1}
        key = await owner.post("/v1/api-keys", fields, status=201)
        api = Api(owner.world, owner.app, key["secret"])
        session = await api.session()
        path = f"/v1/sessions/{session['id']}"
        first = await api.call("POST", f"{path}/messages", {"text": "Hello", "expected_revision": 1})
        async with pool.acquire() as conn:
            used = await conn.fetchval("SELECT sum(input_tokens + output_tokens) FROM usage_entries")
        any_revision = {"If-Match": "*"}
        for _ in range(2):
            # A minute that has just begun lets one more turn through.
            refused = await api.call("POST", f"{path}/messages", {"text": "Again"}, headers=any_revision)
            if refused.status_code == 429:
                break
        read = await api.call("GET", path)
        others = await owner.call("POST", f"{path}/messages", {"text": "Hi"}, headers=any_revision)
        await api.close()

    assert (first.status_code, used > 0) == (200, True)
    assert (refused.status_code, refused.json()["violated_policies"]) == (429, ["tokens"])
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert (read.status_code, others.status_code) == (200, 200)


async def test_tokens_count_in_the_minute_in_which_they_were_used(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(pool) as owner:
        fields = {"name": "x", "scopes": ["sessions:read", "sessions:write"], "tokens_per_minute_max": 10}
        key = await owner.post("/v1/api-keys", fields, status=201)
        api = Api(owner.world, owner.app, key["secret"])
        session = await api.session()
        statuses = []
        # A minute that has just begun lets one more turn through: the last but one of these, or the last.
        for minutes_ago in (1, 1, 0, 0, 0):
            ago = timedelta(minutes=minutes_ago)
            monkeypatch.setattr(owner.world.store.running, "_clock", lambda ago=ago: utc_now() - ago)
            answer = await api.call(
                "POST",
                f"/v1/sessions/{session['id']}/messages",
                {"text": "Hello"},
                headers={"If-Match": "*", "Prefer": "respond-async"},
            )
            statuses.append(answer.status_code)
            if answer.status_code == 202:
                claim = await claimed(owner.world)
                await call(owner.world, claim)  # ten tokens
                await owner.world.store.running.publish(claim, completing(claim, "Hi."))
        await api.close()

    assert statuses[:3] == [202, 202, 202], "those of the minute before hinder nobody"
    assert 429 in statuses[3:]
