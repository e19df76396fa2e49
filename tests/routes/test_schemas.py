"""What callers get, made from the structs of the core; and definitions on the wire."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from api.agents import definition as agents
from api.routes.errors import Invalid
from api.routes.schemas import definitions
from api.routes.schemas.agents import CreateAgent, accept
from api.routes.schemas.definitions import Definition, Greeting, definition_view
from api.routes.schemas.sessions import (
    TurnView,
    discarded_future_view,
    event_view,
    session_delta,
    session_summary,
    session_view,
    turn_view,
)
from api.routes.validation import decode_body
from api.session.document import (
    Actor,
    AgentRef,
    DiscardedFuture,
    Effect,
    Event,
    EventType,
    Reply,
    Session,
    SessionState,
    Turn,
    TurnState,
    Usage,
    UserMessage,
)
from api.store.base import Delta, Reading

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def make_turn(position: int = 0, **more: Any) -> Turn:
    return Turn(
        id=f"trn_{position}",
        branch=0,
        position=position,
        state=TurnState.COMPLETED,
        revision=3,
        created_at=NOW,
        **more,
    )


def make_session(**more: Any) -> Session:
    return Session(
        id="ses_1",
        revision=9,
        state=SessionState.OPEN,
        agent=AgentRef(id="agt_1", version=3),
        created_at=NOW,
        updated_at=NOW,
        **more,
    )


def on_the_wire(view: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(view))


def test_a_session_is_shown_as_one_document() -> None:
    turn = make_turn(
        finished_at=NOW,
        user_message=UserMessage(text="Hi"),
        replies=(Reply(speaker="Ada", text="Hello.", created_at=NOW),),
        node="start",
        variables={"mood": "good"},
        usage=Usage(input_tokens=812, output_tokens=96, cost=Decimal("0.001204")),
    )
    future = DiscardedFuture(
        ordinal=1,
        branch=0,
        branch_point=1,
        line_count=3,
        discarded_at=NOW,
        discarded_by=Actor(key_id="key_1"),
    )
    session = make_session(cursor=1, turn_count=1, discarded_count=1, variables={"mood": "good"})

    shown = on_the_wire(
        session_view(
            Reading(
                session=session,
                context=msgspec.Raw(b'{"a":1}'),
                metadata=msgspec.Raw(b"{}"),
                turns=(turn,),
                discarded_futures=(future,),
                is_complete=True,
            )
        )
    )

    assert shown == {
        "id": "ses_1",
        "revision": 9,
        "state": "open",
        "format": 1,
        "agent": {"id": "agt_1", "version": 3},
        "name": None,
        "context": {"a": 1},
        "metadata": {},
        "variables": {"mood": "good"},
        "node": "start",
        "cursor": 1,
        "turn_count": 1,
        "active_turn_id": None,
        "discarded_count": 1,
        "simulator": {"enabled": False},
        "resolution": None,
        "forked_from": None,
        "created_at": "2026-01-02T03:04:05Z",
        "updated_at": "2026-01-02T03:04:05Z",
        "ended_at": None,
        "turns": [
            {
                "id": "trn_0",
                "position": 0,
                "state": "completed",
                "created_at": "2026-01-02T03:04:05Z",
                "created_by": {},
                "finished_at": "2026-01-02T03:04:05Z",
                "revision": 3,
                "user_message": {"text": "Hi"},
                "replies": [
                    {
                        "speaker": "Ada",
                        "text": "Hello.",
                        "created_at": "2026-01-02T03:04:05Z",
                        "truncated": False,
                    }
                ],
                "node": "start",
                "variables": {"mood": "good"},
                "steps": [],
                "approvals": [],
                "notices": [],
                "error": None,
                "usage": {
                    "input_tokens": 812,
                    "cached_tokens": 0,
                    "cache_write_tokens": 0,
                    "output_tokens": 96,
                    "reasoning_tokens": 0,
                    "cost": "0.001204",
                    "currency": "USD",
                    "unknown_count": 0,
                },
                "copied_from": None,
            }
        ],
        "discarded_futures": [
            {
                "ordinal": 1,
                "branch_point": 1,
                "discarded_at": "2026-01-02T03:04:05Z",
                "discarded_by": {"key_id": "key_1"},
                "turn_count": 2,
            }
        ],
        "complete": True,
    }


def test_a_delta_shows_what_has_changed_and_which_turn_the_call_made() -> None:
    delta = Delta(
        session=make_session(cursor=5, turn_count=5),
        context=msgspec.Raw(b"{}"),
        metadata=msgspec.Raw(b"{}"),
        line_from=3,
        turns=(make_turn(3),),
        more=True,
    )

    shown = on_the_wire(session_delta(delta, since_revision=7, turn_id="trn_3"))

    assert (shown["more"], shown["line_from"], shown["since_revision"], shown["turn_id"]) == (
        True,
        3,
        7,
        "trn_3",
    )
    assert [turn["position"] for turn in shown["turns"]] == [3]


def test_context_goes_out_as_it_came_in() -> None:
    delta = Delta(
        session=make_session(),
        context=msgspec.Raw(b'{"b": 1.0, "a": 1e2}'),
        metadata=msgspec.Raw(b"{}"),
        line_from=None,
        turns=(),
        more=False,
    )

    assert b'"context":{"b": 1.0, "a": 1e2}' in msgspec.json.encode(session_delta(delta, since_revision=1))


def test_views_leave_out_only_what_is_ours() -> None:
    assert set(Turn.__struct_fields__) - set(TurnView.__struct_fields__) == {"branch", "format"}
    assert turn_view(make_turn()).id == "trn_0"


def test_an_event_is_shown_without_what_only_the_store_needs() -> None:
    effect = Effect(type=EventType.TURN_CREATED, turn_id="trn_1")
    event = Event(
        revision=2,
        type=EventType.TURN_CREATED,
        at=NOW,
        actor=Actor(process="system"),
        effects=(effect,),
        line_from=0,
    )

    assert on_the_wire(event_view(event)) == {
        "revision": 2,
        "type": "turn.created",
        "at": "2026-01-02T03:04:05Z",
        "actor": {"process": "system"},
        "effects": [{"type": "turn.created", "turn_id": "trn_1"}],
    }


def test_a_session_in_a_list_is_short() -> None:
    shown = on_the_wire(session_summary(make_session(name="Trial", variables={"mood": "good"})))

    assert shown["name"] == "Trial"
    assert not {"variables", "context", "metadata", "turns"} & shown.keys()


def test_a_future_counts_its_own_turns() -> None:
    future = DiscardedFuture(
        ordinal=2, branch=1, branch_point=4, line_count=9, discarded_at=NOW, discarded_by=Actor()
    )

    assert discarded_future_view(future).turn_count == 5


def test_the_wire_and_the_judge_know_the_same_definition() -> None:
    for wire in vars(definitions).values():
        if not (isinstance(wire, type) and wire.__module__ == definitions.__name__):
            continue
        judged = getattr(agents, wire.__name__)
        assert wire.__struct_fields__ == judged.__struct_fields__
        assert [field.required for field in msgspec.structs.fields(wire)] == [
            field.required for field in msgspec.structs.fields(judged)
        ]


@pytest.mark.parametrize(
    "definition",
    [
        {"model": "scripted:demo"},
        {
            "model": "openai:gpt-5-mini",
            "instructions": "Be kind.",
            "greeting": "Hello.",
            "speaker": "Ada",
            "temperature": 1,
        },
        {
            "model": "scripted:demo",
            "greeting": {"generate": True},
            "limits": {"output_tokens": 50, "turn_seconds": 1.5},
        },
    ],
)
def test_a_definition_is_taken_and_shown_as_it_was(definition: dict[str, Any]) -> None:
    raw = msgspec.json.encode({"name": "Ada", "definition": definition})

    accepted = accept(decode_body(raw, CreateAgent, content_type="application/json").definition)

    assert accepted == agents.parse(definition)
    assert on_the_wire(definition_view(accepted)) == definition


def test_all_faults_of_a_definition_are_told_at_once() -> None:
    definition = {
        "model": "gpt",
        "greeting": 5,
        "speaker": "",
        "limits": {"output_tokens": 0, "tokens": 1},
        "temperature": 9,
    }
    raw = msgspec.json.encode({"definition": definition})

    with pytest.raises(Invalid) as refused:
        decode_body(raw, CreateAgent, content_type="application/json")

    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [
        ("/definition/greeting", "wrong-type"),
        ("/definition/limits/output_tokens", "out-of-range"),
        ("/definition/limits/tokens", "unknown-field"),
        ("/definition/model", "malformed"),
        ("/definition/speaker", "blank"),
        ("/definition/temperature", "out-of-range"),
        ("/name", "missing"),
    ]


def test_what_the_schema_cannot_say_of_a_definition_is_found_by_its_judge() -> None:
    definition = Definition(
        model="scripted:demo", instructions="é" * 20_000, speaker="A\nB", greeting=Greeting(generate=False)
    )

    with pytest.raises(Invalid) as refused:
        accept(definition)

    assert {(fault.pointer, fault.code) for fault in refused.value.faults} == {
        ("/definition/instructions", "too-long"),
        ("/definition/speaker", "malformed"),
        ("/definition/greeting/generate", "wrong-type"),
    }
