"""Rewind, restore, fork, end, and what their previews say before."""

from db.pool import Pool
from tests.routes.service import serving


async def test_a_rewind_moves_the_cursor_and_keeps_the_turns(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.conversation(3)
        path = f"/v1/sessions/{session['id']}"

        response = await api.call(
            "POST", f"{path}/rewind", {"turn_id": session["turns"][0]["id"]}, headers={"If-Match": '"7"'}
        )
        forward = await api.post(
            f"{path}/rewind", {"turn_id": session["turns"][1]["id"], "expected_revision": 8}
        )
        start = await api.post(f"{path}/rewind", {"to": "start", "expected_revision": 9})

    assert response.status_code == 200
    assert response.headers["etag"] == '"8"'
    rewound = response.json()
    assert (rewound["cursor"], rewound["turn_count"], rewound["since_revision"]) == (1, 3, 7)
    assert (rewound["line_from"], rewound["turns"], rewound["turn_id"]) == (None, [], None)
    assert (forward["cursor"], start["cursor"]) == (2, 0)


async def test_what_a_new_turn_displaces_is_kept_shown_and_restored(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.conversation(3)
        path = f"/v1/sessions/{session['id']}"
        await api.post(f"{path}/rewind", {"turn_id": session["turns"][0]["id"], "expected_revision": 7})
        appended = await api.append({"id": session["id"], "revision": 8}, "Another way")
        await api.world.answer("So be it.")

        futures = await api.get(f"{path}/discarded-futures")
        kept = await api.get(f"{path}/discarded-futures/1/turns?limit=1")
        rest = await api.get(f"{path}/discarded-futures/1/turns?from=2")
        preview = await api.get(f"{path}/restore-preview?ordinal=1")
        restored = await api.post(f"{path}/restore", {"ordinal": 1, "expected_revision": 10})
        again = await api.call("POST", f"{path}/restore", {"ordinal": 1, "expected_revision": 11})

    assert (appended["turn_count"], appended["line_from"]) == (2, 1)
    [future] = futures["items"]
    assert (future["ordinal"], future["branch_point"], future["turn_count"]) == (1, 1, 2)
    assert [turn["id"] for turn in kept["items"]] == [session["turns"][1]["id"]]
    assert [turn["id"] for turn in rest["items"]] == [session["turns"][2]["id"]]
    assert (kept["turn_count"], kept["revision"]) == (3, 10)
    assert (preview["revision"], preview["turn_count"], preview["reply_count"]) == (10, 1, 1)
    assert preview["cursor"] == 3
    assert restored["turns"] == session["turns"][1:]
    assert restored["cursor"] == 3
    assert (again.status_code, again.json()["code"]) == (409, "unknown-future")


async def test_the_whole_document_is_answered_to_who_prefers_it(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.conversation(3)
        path = f"/v1/sessions/{session['id']}"
        await api.post(f"{path}/rewind", {"turn_id": session["turns"][0]["id"], "expected_revision": 7})
        await api.append({"id": session["id"], "revision": 8})
        await api.world.answer()
        whole = {"Prefer": "return=representation"}
        revision = 10

        for command, body in (
            ("rewind", {"to": "start"}),
            ("restore", {"ordinal": 1}),
            ("restore", {"ordinal": 2}),
            ("end", {"resolution": "solved"}),
        ):
            response = await api.call(
                "POST",
                f"{path}/{command}",
                {**body, "expected_revision": revision},
                headers={**whole, "Idempotency-Key": str(revision)},
            )
            revision += 1

            assert response.headers["preference-applied"] == "return=representation"
            assert response.headers["etag"] == f'"{revision}"'
            assert response.json() == await api.get(path)


async def test_a_patch_is_answered_whole_to_who_prefers_it(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.conversation(2)
        path = f"/v1/sessions/{session['id']}"

        response = await api.call(
            "PATCH", path, {"name": "New"}, headers={"If-Match": "*", "Prefer": "return=representation"}
        )

        assert response.json() == await api.get(path)


async def test_previews_change_nothing_and_say_what_would_go(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.conversation(3)
        path = f"/v1/sessions/{session['id']}"
        second = session["turns"][1]["id"]
        appended = await api.append(session)

        to_turn = await api.get(f"{path}/rewind-preview?turn_id={second}")
        to_start = await api.get(f"{path}/rewind-preview?to=start")
        regenerate = await api.get(f"{path}/turns/{second}/regenerate-preview")
        after = await api.get(path)

    assert (to_turn["turn_count"], to_turn["reply_count"], to_turn["cursor"]) == (2, 1, 2)
    assert to_turn["cancelled_turn_id"] == appended["turn_id"]
    assert (to_start["turn_count"], to_start["cursor"]) == (4, 0)
    assert (regenerate["turn_count"], regenerate["cursor"], regenerate["revision"]) == (3, 2, 8)
    assert (regenerate["usage"]["cost"], regenerate["tool_calls"], regenerate["memory_count"]) == ("0", [], 0)
    assert after["revision"] == 8


async def test_a_fork_begins_with_copies(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.conversation(3)
        path = f"/v1/sessions/{session['id']}"
        second = session["turns"][1]["id"]

        response = await api.call("POST", f"{path}/fork", {"turn_id": second})
        stale = await api.call("POST", f"{path}/fork", {"turn_id": second, "expected_revision": 3})
        forked = response.json()

        assert (response.status_code, response.headers["location"]) == (201, f"/v1/sessions/{forked['id']}")
        assert [turn["copied_from"] for turn in forked["turns"]] == [t["id"] for t in session["turns"][:2]]
        assert (forked["forked_from"], forked["complete"]) == (second, True)
        assert await api.get(f"/v1/sessions/{forked['id']}") == forked
        assert await api.get(path) == session
        assert stale.status_code == 409


async def test_an_end_says_how_and_refuses_what_comes_after(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()
        path = f"/v1/sessions/{session['id']}"

        ended = await api.post(f"{path}/end", {"resolution": "solved", "expected_revision": 1})
        late = await api.call("POST", f"{path}/messages", {"text": "Hello", "expected_revision": 2})

    assert (ended["state"], ended["resolution"]) == ("ended", "solved")
    assert ended["ended_at"] is not None
    assert (late.status_code, late.json()["code"]) == (409, "session-ended")
    assert late.json()["session_id"] == session["id"]


async def test_turns_and_events_are_read_page_by_page(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.conversation(3)
        path = f"/v1/sessions/{session['id']}"

        first = await api.get(f"{path}/turns?limit=2")
        rest = await api.get(f"{path}/turns?from=2&limit=2")
        beyond = await api.get(f"{path}/turns?from=2147483647")
        one = await api.get(f"{path}/turns/{session['turns'][2]['id']}")
        events, after, revision = [], 0, 1
        while after < revision:
            page = await api.get(f"{path}/events?after={after}&limit=3")
            events += page["items"]
            after, revision = page["next"], page["revision"]

    assert [turn["position"] for turn in first["items"] + rest["items"]] == [0, 1, 2]
    assert (first["turn_count"], beyond["items"]) == (3, [])
    assert one == session["turns"][2] | {"before": {"node": "start", "variables": {}}}
    assert [event["revision"] for event in events] == list(range(1, 8))
    assert events[0]["type"] == "session.created"
    assert events[1]["effects"] == [{"type": "turn.created", "turn_id": session["turns"][0]["id"]}]
