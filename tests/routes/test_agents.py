"""Agents over HTTP."""

from db.pool import Pool
from tests.agents.recipes import NODES, changed
from tests.routes.service import serving

DEFINITION = {
    "model": "scripted:echo",
    "instructions": "Be brief.",
    "greeting": "Hello.",
    "speaker": "Ada",
    "limits": {"output_tokens": 100},
}


async def test_an_agent_is_made_and_its_versions_are_published(pool: Pool) -> None:
    async with serving(pool) as api:
        made = await api.call("POST", "/v1/agents", {"name": "Guide", "definition": DEFINITION})
        agent_id = made.json()["agent_id"]
        second = await api.call(
            "POST",
            f"/v1/agents/{agent_id}/versions",
            {"definition": {"model": "scripted:demo"}},
            headers={"Turnledger-On-Behalf-Of": "ada"},
        )
        agent = await api.get(f"/v1/agents/{agent_id}")
        first_version = await api.get(made.headers["location"])
        page = await api.get(f"/v1/agents/{agent_id}/versions?limit=1")
        rest = await api.get(f"/v1/agents/{agent_id}/versions?limit=1&page_token={page['next_page_token']}")

    assert made.status_code == second.status_code == 201
    assert first_version == made.json()
    assert first_version["definition"] == DEFINITION
    assert second.headers["location"] == f"/v1/agents/{agent_id}/versions/2"
    assert second.json()["published_by"]["on_behalf_of"] == "ada"
    assert (agent["name"], agent["latest_version"]) == ("Guide", 2)
    assert [version["version"] for version in page["items"] + rest["items"]] == [2, 1]
    assert rest["next_page_token"] is None


async def test_a_session_keeps_the_version_that_it_began_with(pool: Pool) -> None:
    async with serving(pool) as api:
        agent_id = api.world.agent.id
        before = await api.session()
        await api.post(f"/v1/agents/{agent_id}/versions", {"definition": DEFINITION}, status=201)

        newest = await api.session()
        older = await api.session(agent_version=1)

    assert [session["agent"]["version"] for session in (before, newest, older)] == [1, 2, 1]
    assert newest["turns"][0]["replies"][0]["speaker"] == "Ada"


async def test_agents_are_listed_newest_first(pool: Pool) -> None:
    async with serving(pool) as api:
        for name in ("A", "B"):
            await api.post("/v1/agents", {"name": name, "definition": DEFINITION}, status=201)

        page = await api.get("/v1/agents?limit=2")
        rest = await api.get(f"/v1/agents?limit=2&page_token={page['next_page_token']}")

    assert [agent["name"] for agent in page["items"] + rest["items"]] == ["B", "A", "Helper"]


async def test_what_is_no_version_is_not_there(pool: Pool) -> None:
    async with serving(pool) as api:
        path = f"/v1/agents/{api.world.agent.id}/versions"
        answers = [
            await api.call("GET", f"{path}/{version}")
            for version in ("2", "0", "-1", "x", "1.0", "%D9%A1", "2147483648", "9" * 30)
        ]

    assert [answer.status_code for answer in answers] == [404] * len(answers)


async def test_every_fault_of_a_definition_is_named(pool: Pool) -> None:
    async with serving(pool) as api:
        response = await api.call(
            "POST",
            "/v1/agents",
            {
                "name": " ",
                "definition": {"model": "nothing", "temperature": 9, "greeting": {"generate": False}},
            },
        )

    pointers = {fault["pointer"] for fault in response.json()["errors"]}
    assert response.status_code == 422
    assert {"/name", "/definition/model", "/definition/temperature"} <= pointers
    assert any(pointer.startswith("/definition/greeting") for pointer in pointers)


async def test_a_definition_with_nodes_and_tools_is_published_and_shown_as_it_was(pool: Pool) -> None:
    async with serving(pool) as api:
        made = await api.post("/v1/agents", {"name": "Clinic", "definition": NODES}, status=201)
        read = await api.get(f"/v1/agents/{made['agent_id']}/versions/1")

    assert read["definition"] == NODES


async def test_faults_of_the_schema_and_of_the_judge_are_told_together_in_words(pool: Pool) -> None:
    recipe = changed("/nodes/1/transitions/0/to", "nowhere")
    recipe["nodes"][2]["end"] = "yes"
    async with serving(pool) as api:
        refused = await api.call("POST", "/v1/agents", {"definition": recipe})

    told = {fault["pointer"]: fault for fault in refused.json()["errors"]}
    assert refused.status_code == 422
    assert told.keys() == {"/name", "/definition/nodes/1/transitions/0/to", "/definition/nodes/2/end"}
    fault = told["/definition/nodes/1/transitions/0/to"]
    assert fault["message"] == "Node `booking`, transition `back`, `to`: There is no node of this name."
    assert fault["code"] == "unknown-name"


async def test_a_definition_is_judged_without_being_written(pool: Pool) -> None:
    async with serving(pool) as api:
        good = await api.post("/v1/agents/validate", {"definition": NODES})
        bad = await api.post("/v1/agents/validate", {"definition": changed("/nodes/2/name", "start")})
        agents = await api.get("/v1/agents")

    assert good == {"faults": []}
    assert [(fault["pointer"], fault["code"]) for fault in bad["faults"]] == [
        ("/nodes/2/name", "duplicate"),
        ("/nodes/0/transitions/1/to", "unknown-name"),
    ]
    assert len(agents["items"]) == 1


async def test_two_versions_are_compared(pool: Pool) -> None:
    async with serving(pool) as api:
        path = f"/v1/agents/{api.world.agent.id}/versions"
        await api.post(path, {"definition": NODES}, status=201)
        await api.post(path, {"definition": changed("/nodes/1/instructions", "Look.")}, status=201)

        there = await api.get(f"{path}/2/diff?to=3")
        back = await api.get(f"{path}/3/diff?to=2")
        same = await api.get(f"{path}/2/diff?to=2")
        first = await api.get(f"{path}/1/diff?to=2")
        missing = await api.call("GET", f"{path}/2/diff?to=4")

    change = {"pointer": "/nodes/booking/instructions", "before": "Find a slot.", "after": "Look."}
    assert (there["version"], there["to"], there["changes"]) == (2, 3, [change])
    assert back["changes"] == [{**change, "before": "Look.", "after": "Find a slot."}]
    assert same["changes"] == []
    assert {"pointer": "/greeting", "after": NODES["greeting"]} in first["changes"]
    assert missing.status_code == 404
