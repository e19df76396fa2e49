"""Sessions over HTTP: opened, listed, read, changed, deleted."""

from api.agents.definition import Definition, Greeting
from db.pool import Pool
from tests.routes.service import serving


async def test_a_new_session_is_answered_whole_with_its_address_and_its_tag(pool: Pool) -> None:
    async with serving(
        pool, definition=Definition(model="scripted:echo", greeting="Hi.", speaker="Ada")
    ) as api:
        response = await api.call(
            "POST",
            "/v1/sessions",
            {
                "agent_id": api.world.agent.id,
                "name": "Trial",
                "context": {"b": 1, "a": 2},
                "metadata": {"k": [1]},
            },
            headers={b"Turnledger-On-Behalf-Of": "Zoë".encode()},
        )
        session = response.json()
        read = await api.call("GET", response.headers["location"])

    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/sessions/{session['id']}"
    assert response.headers["etag"] == read.headers["etag"] == '"2"'
    assert read.json() == session
    assert list(session["context"]) == ["b", "a"]
    assert (session["name"], session["metadata"], session["complete"]) == ("Trial", {"k": [1]}, True)
    [greeting] = session["turns"]
    assert (greeting["state"], greeting["replies"][0]["text"]) == ("completed", "Hi.")
    assert greeting["created_by"]["on_behalf_of"] == "Zoë"


async def test_a_fixed_greeting_sees_the_context(pool: Pool) -> None:
    definition = Definition(model="scripted:echo", greeting="Hello {{customer.name | there}}.")
    async with serving(pool, definition=definition) as api:
        known = await api.session(context={"customer": {"name": "Ada"}})
        unknown = await api.session()

    texts = [session["turns"][0]["replies"][0]["text"] for session in (known, unknown)]
    assert texts == ["Hello Ada.", "Hello there."]


async def test_a_greeting_of_which_nothing_is_left_leaves_the_first_word_to_the_user(pool: Pool) -> None:
    definition = Definition(model="scripted:echo", greeting="{{greeting}}")
    async with serving(pool, definition=definition) as api:
        session = await api.session()

    assert (session["turns"], session["active_turn_id"]) == ([], None)


async def test_a_context_that_makes_the_greeting_too_long_is_refused(pool: Pool) -> None:
    definition = Definition(model="scripted:echo", greeting="{{a}}{{a}}{{a}}")
    async with serving(pool, definition=definition) as api:
        refused = await api.call(
            "POST", "/v1/sessions", {"agent_id": api.world.agent.id, "context": {"a": "x" * 12_000}}
        )
        sessions = await api.get("/v1/sessions")

    assert refused.status_code == 422
    assert [(fault["pointer"], fault["code"]) for fault in refused.json()["errors"]] == [
        ("/context", "too-large")
    ]
    assert sessions["items"] == []


async def test_a_greeting_that_the_model_makes_is_a_pending_turn(pool: Pool) -> None:
    definition = Definition(model="scripted:echo", greeting=Greeting(generate=True))
    async with serving(pool, definition=definition) as api:
        session = await api.session()

    assert (session["revision"], session["turns"][0]["state"]) == (2, "pending")
    assert session["active_turn_id"] == session["turns"][0]["id"]


async def test_an_agent_that_there_is_not_is_not_found(pool: Pool) -> None:
    async with serving(pool) as api:
        missing = await api.call("POST", "/v1/sessions", {"agent_id": "agt_" + "0" * 32})
        older = await api.call("POST", "/v1/sessions", {"agent_id": api.world.agent.id, "agent_version": 7})

    assert (missing.status_code, older.status_code) == (404, 404)
    assert missing.content == older.content


async def test_a_caller_that_has_the_revision_gets_304(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()
        path = f"/v1/sessions/{session['id']}"

        same = await api.call("GET", path, headers={"If-None-Match": '"1"'})
        other = await api.call("GET", path, headers={"If-None-Match": '"2", W/"3"'})
        weak = await api.call("HEAD", path, headers={"If-None-Match": 'W/"1"'})

    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", '"1"')
    assert weak.status_code == 304
    assert other.status_code == 200


async def test_a_session_is_read_in_part(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.conversation(3)
        path = f"/v1/sessions/{session['id']}"

        none = await api.get(f"{path}?last_turns=0")
        last = await api.get(f"{path}?last_turns=2")
        since = await api.get(f"{path}?since_revision=5")
        same = await api.get(f"{path}?since_revision=7")

    assert [turn["position"] for turn in session["turns"]] == [0, 1, 2]
    assert (none["turns"], none["complete"]) == ([], False)
    assert [turn["position"] for turn in last["turns"]] == [1, 2]
    assert ([turn["position"] for turn in since["turns"]], since["line_from"]) == ([2], 2)
    assert (since["since_revision"], since["more"], since["turn_id"]) == (5, False, None)
    assert (same["turns"], same["line_from"]) == ([], None)


async def test_the_live_view_has_totals_and_no_tag(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()

        response = await api.call(
            "GET", f"/v1/sessions/{session['id']}?include=live", headers={"If-None-Match": '"1"'}
        )

    assert response.status_code == 200
    assert "etag" not in response.headers
    assert response.json()["live"]["usage"]["cost"] == "0"


async def test_sessions_are_listed_newest_first_page_by_page(pool: Pool) -> None:
    async with serving(pool) as api:
        ids = [(await api.session(name=f"Trial {number}"))["id"] for number in range(5)]

        pages: list[list[str]] = []
        token: str | None = ""
        while token is not None:
            page = await api.get(f"/v1/sessions?limit=2{token and '&page_token='}{token}")
            pages.append([session["id"] for session in page["items"]])
            token = page["next_page_token"]

    assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]


async def test_a_list_of_sessions_is_narrowed(pool: Pool) -> None:
    async with serving(pool) as api:
        kept = await api.session(name="Trial A")
        ended = await api.session(name="Other")
        await api.post(f"/v1/sessions/{ended['id']}/end", {"expected_revision": 1})

        async def listed(query: str) -> list[str]:
            return [session["id"] for session in (await api.get(f"/v1/sessions?{query}"))["items"]]

        assert await listed("state=open") == [kept["id"]]
        assert await listed("state=ended") == [ended["id"]]
        assert await listed("q=trial") == [kept["id"]]
        assert await listed(f"q={ended['id']}") == [ended["id"]]
        assert await listed("q=%25") == []
        assert await listed(f"agent_id={api.world.agent.id}") == [ended["id"], kept["id"]]
        assert await listed("agent_id=agt_none") == []
        assert await listed("active_since=2026-01-01T00:00:00Z") == [ended["id"], kept["id"]]
        assert await listed("active_since=2999-01-01T00:00:00%2B02:00") == []


async def test_a_page_token_belongs_to_its_list(pool: Pool) -> None:
    async with serving(pool) as api:
        await api.session()
        await api.session()
        token = (await api.get("/v1/sessions?limit=1"))["next_page_token"]

        filtered = await api.call("GET", f"/v1/sessions?state=open&page_token={token}")
        cut = await api.call("GET", f"/v1/sessions?page_token={token[:-2]}")
        agents = await api.call("GET", f"/v1/agents?page_token={token}")

    assert [response.status_code for response in (filtered, cut, agents)] == [400, 400, 400]
    assert cut.json()["code"] == "malformed-page-token"


async def test_name_and_metadata_are_patched(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session(name="Trial", metadata={"a": 1, "b": {"c": 2, "d": 3}})
        path = f"/v1/sessions/{session['id']}"

        patched = await api.call(
            "PATCH",
            path,
            content=b'{"metadata": {"a": null, "b": {"c": 9}}}',
            headers={"If-Match": '"1"', "Content-Type": "application/merge-patch+json; charset=utf-8"},
        )
        unnamed = await api.call("PATCH", path, {"name": None, "expected_revision": 2})
        emptied = await api.call("PATCH", path, {"metadata": None, "expected_revision": 3})

    assert patched.status_code == 200, patched.text
    assert (patched.json()["metadata"], patched.json()["name"]) == ({"b": {"c": 9, "d": 3}}, "Trial")
    assert patched.headers["etag"] == '"2"'
    assert (unnamed.json()["name"], unnamed.json()["metadata"]) == (None, {"b": {"c": 9, "d": 3}})
    assert emptied.json()["metadata"] == {}


async def test_metadata_that_a_patch_makes_too_large_is_refused(pool: Pool) -> None:
    async with serving(pool, metadata_bytes_max=100) as api:
        session = await api.session(metadata={"a": "x" * 60})

        response = await api.call(
            "PATCH", f"/v1/sessions/{session['id']}", {"metadata": {"b": "y" * 60}, "expected_revision": 1}
        )

        assert response.status_code == 422
        assert [fault["pointer"] for fault in response.json()["errors"]] == ["/metadata"]
        assert await api.get(f"/v1/sessions/{session['id']}") == session


async def test_a_deleted_session_is_gone_for_every_call_and_for_repetitions(pool: Pool) -> None:
    async with serving(pool) as api:
        key = {"Idempotency-Key": "create"}
        body = {"agent_id": api.world.agent.id}
        session = (await api.call("POST", "/v1/sessions", body, headers=key)).json()
        path = f"/v1/sessions/{session['id']}"
        appended = await api.append(session)

        unsaid = await api.call("DELETE", path)
        stale = await api.call("DELETE", path, headers={"If-Match": '"1"'})
        deleted = await api.call("DELETE", path, headers={"If-Match": '"2"'})
        gone = [
            await api.call("GET", path),
            await api.call("DELETE", path, headers={"If-Match": '"2"'}),
            await api.call("POST", f"{path}/messages", {"text": "Hello", "expected_revision": 1}),
            await api.call("GET", f"{path}/turns/{appended['turn_id']}"),
            await api.call("POST", "/v1/sessions", body, headers=key),
        ]

    assert (unsaid.status_code, stale.status_code) == (428, 412)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert [response.status_code for response in gone] == [404] * len(gone)
    assert len({response.content for response in gone}) == 1
