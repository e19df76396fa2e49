"""An agent of several nodes: ways out, what is learned on the way, and the end."""

from api.agents.definition import Definition, Limits, Node, Transition, Variable, VariableType
from api.session.document import SessionState, TurnState
from db.pool import Pool
from tests.runner.conversing import Line, asks, stage

CLINIC = Definition(
    model="lines:one",
    instructions="You work for {{clinic | the clinic}}.",
    nodes=(
        Node(
            name="start",
            instructions="Find out what they want.",
            transitions=(
                Transition(
                    to="booking", label="book", condition="They want to come.", says="One moment, {{name}}."
                ),
                Transition(to="bye", label="leave", condition="They want nothing."),
            ),
            extraction=(
                Variable(name="name", description="Their first name."),
                Variable(name="age", type=VariableType.INTEGER),
                Variable(name="mood", values=("good", "bad")),
            ),
        ),
        Node(
            name="booking",
            instructions="Book a day for {{name}}.",
            transitions=(Transition(to="bye", label="done", condition="A day is booked."),),
        ),
        Node(name="bye", instructions="Say goodbye.", end=True, resolution="booked"),
    ),
)

LEARNED = Line(text='{"name": "Ada", "age": 36.0, "mood": null}')


async def test_a_transition_learns_speaks_and_goes_on_in_the_next_node(pool: Pool) -> None:
    scene = await stage(
        pool, CLINIC, asks(("book", {})), LEARNED, Line(text="Which day?"), context={"clinic": "St Anne"}
    )

    async with scene.running():
        turn = await scene.ask("I am Ada, 36, and want to come.")

    speak, extract, go_on = scene.model.requests
    assert speak.instructions == "You work for St Anne.\n\nFind out what they want."
    assert [spec.name for spec in speak.tools] == ["book", "leave"]
    assert extract.answer_schema is not None
    assert extract.tools == ()
    assert go_on.instructions == "You work for St Anne.\n\nBook a day for Ada."
    assert [spec.name for spec in go_on.tools] == ["done"]
    assert turn.replies[0].text == "One moment, Ada.\n\nWhich day?"
    assert (turn.node, turn.variables) == ("booking", {"name": "Ada", "age": 36})
    session = (await scene.world.store.reading.since(scene.world.caller, scene.session_id, 0)).session
    assert (session.node, session.variables) == ("booking", {"name": "Ada", "age": 36})


async def test_an_extraction_is_a_priced_call_of_its_own(pool: Pool) -> None:
    scene = await stage(pool, CLINIC, asks(("book", {})), LEARNED, Line(text="Which day?"))

    async with scene.running():
        await scene.ask()

    entries, _ = await scene.world.store.reading.usage_entries(
        scene.world.caller, after=0, session_id=None, limit=10
    )
    assert [entry.purpose for entry in entries] == ["reply", "extraction", "reply"]


async def test_an_extraction_that_fails_leaves_the_variables_and_is_noted(pool: Pool) -> None:
    scene = await stage(pool, CLINIC, asks(("book", {})), Line(text="No idea."), Line(text="Which day?"))

    async with scene.running():
        turn = await scene.ask()

    assert (turn.node, turn.variables) == ("booking", {})
    assert [notice.code for notice in turn.notices] == ["extraction_failed"]


async def test_an_end_node_gives_one_more_answer_and_ends_the_session(pool: Pool) -> None:
    scene = await stage(
        pool, CLINIC, asks(("book", {})), LEARNED, asks(("done", {})), Line(text="Goodbye, Ada.")
    )

    async with scene.running():
        turn = await scene.ask()

    session = (await scene.world.store.reading.since(scene.world.caller, scene.session_id, 0)).session
    assert turn.replies[0].text.endswith("Goodbye, Ada.")
    assert scene.model.requests[-1].tools == ()
    assert (session.state, session.resolution) == (SessionState.ENDED, "booked")
    events = await pool.fetchval("SELECT effects::text FROM events ORDER BY revision DESC LIMIT 1")
    assert events.index("turn.completed") < events.index("session.ended")


async def test_only_the_first_of_two_transitions_is_taken(pool: Pool) -> None:
    scene = await stage(pool, CLINIC, asks(("book", {}), ("leave", {})), LEARNED, Line(text="Which day?"))

    async with scene.running():
        turn = await scene.ask()

    assert turn.node == "booking"
    assert "not" in scene.model.requests[-1].messages[-1].text


async def test_the_hops_of_a_turn_are_limited(pool: Pool) -> None:
    ping = Node(name="start", transitions=(Transition(to="pong", label="ping", condition="Always."),))
    pong = Node(name="pong", transitions=(Transition(to="start", label="pong", condition="Always."),))
    agent = Definition(model="lines:one", nodes=(ping, pong), limits=Limits(hops=2))
    scene = await stage(pool, agent, asks(("ping", {})), asks(("pong", {})), Line(text="Dizzy."))

    async with scene.running():
        turn = await scene.ask()

    assert [len(request.tools) for request in scene.model.requests] == [1, 1, 0]
    assert [notice.code for notice in turn.notices] == ["hop_limit"]


async def test_node_and_variables_follow_the_branch(pool: Pool) -> None:
    scene = await stage(
        pool,
        CLINIC,
        Line(text="Hello."),
        asks(("book", {})),
        LEARNED,
        Line(text="Which day?"),
        Line(text="Again?"),
    )

    async with scene.running():
        first = await scene.ask("Hi")
        await scene.ask("I am Ada.")
        await scene.rewind(first.id)
        turn = await scene.ask("Never mind.")

    assert turn.state is TurnState.COMPLETED
    assert scene.model.requests[-1].instructions == ("You work for the clinic.\n\nFind out what they want.")
    session = (await scene.world.store.reading.since(scene.world.caller, scene.session_id, 0)).session
    assert (session.node, session.variables) == ("start", {})
