"""The scripts that call tools, think aloud and answer with JSON."""

import asyncio
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from api.models.base import FinishReason, Message
from api.models.scripted import MODELS, ScriptedClient
from api.models.tokens import estimate_call_tokens, estimate_text_tokens
from tests.models.asking import BOOK, LOOKUP, LOOSE, MONDAY, PERSON, answered, asked, user
from tests.models.calls import Heard, call


async def play(*messages: Message | str, model: str = "tools", **fields: Any) -> Heard:
    """Call with a conversation; bare text is the user's."""
    said = tuple(user(message) if isinstance(message, str) else message for message in messages)
    return await call(ScriptedClient(), model=model, messages=said, **{"tools": (LOOKUP, BOOK), **fields})


def test_the_page_of_the_scripts_names_every_script() -> None:
    page = (Path(__file__).parents[2] / "docs" / "scripted-models.md").read_text()

    assert [name for name in MODELS if f"`scripted:{name}`" not in page] == []


async def test_the_script_of_the_page_is_played_as_it_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "scripted-models.md").read_text()
    script = page.split("```")[1]

    first = await play(script)
    second = await play(script, asked("lookup", "lookup"), answered("rain"), answered("sun", 2))

    assert first.text == "I look it up."
    assert [name for name, _ in first.calls] == ["lookup", "lookup"]
    assert second.calls == [("go_to_booking", "")]


async def test_the_tool_named_in_the_message_is_called_with_the_arguments_behind_it() -> None:
    heard = await play(f"Please!\ncall lookup {MONDAY}")

    assert heard.calls == [("lookup", MONDAY)]
    assert heard.text == ""
    assert heard.finished is not None
    assert heard.finished.finish_reason is FinishReason.TOOL_CALLS
    assert heard.finished.usage is not None
    assert heard.finished.usage.output_tokens == estimate_call_tokens(heard.asked[0])


async def test_several_lines_are_several_calls_with_words_before() -> None:
    heard = await play(f"say One moment.\ncall lookup {MONDAY}\ncall lookup {{?\ngo booking")

    assert heard.text == "One moment."
    assert heard.calls == [("lookup", MONDAY), ("lookup", "{?"), ("go_to_booking", "")]
    assert [made.id for made in heard.asked] == ["call_1", "call_2", "call_3"]


async def test_results_are_told_once_they_are_there() -> None:
    heard = await play(
        f"call lookup {MONDAY}\ncall lookup {{}}",
        asked("lookup", "lookup"),
        answered("rain"),
        answered("sun", 2),
    )

    assert heard.calls == []
    assert heard.text == "lookup answered: rain\nlookup answered: sun"


async def test_what_stands_behind_then_is_for_the_next_call() -> None:
    script = f"call lookup {MONDAY}\nthen\ngo booking\nthen\nsay All done."
    first_answered = (asked("lookup"), answered("rain"))
    both_answered = (*first_answered, asked("go_to_booking", first_id=2), answered("there", 2))

    second = await play(script, *first_answered)
    third = await play(script, *both_answered)

    assert second.calls == [("go_to_booking", "")]
    assert second.asked[0].id == "call_2"
    assert third.text == "All done."


async def test_a_step_to_repeat_is_repeated_as_long_as_tools_are_offered() -> None:
    script = "call lookup {}\nrepeat"
    so_far = tuple(
        message
        for number in range(1, 6)
        for message in (asked("lookup", first_id=number), answered("rain", number))
    )

    again = await play(script, *so_far)
    last = await play(script, *so_far, tools=())

    assert again.calls == [("lookup", "{}")]
    assert again.asked[0].id == "call_6"
    assert last.calls == []
    assert last.text.startswith("lookup answered: rain")


async def test_a_tool_that_is_not_offered_is_named_with_those_that_are() -> None:
    heard = await play("call cook {}")

    assert heard.calls == []
    assert heard.text == "I have no tool cook here, but lookup, go_to_booking."


async def test_only_what_the_user_said_last_is_played() -> None:
    heard = await play(
        f"call lookup {MONDAY}", asked("lookup"), answered("rain"), user("My name is Ada. Please call me Ada")
    )

    assert heard.calls == []
    assert heard.text == "Noted: your name is Ada."


@pytest.mark.parametrize("model", ["demo", "slow", "tools", "reason"])
async def test_asked_for_a_schema_every_talking_script_gives_a_document(model: str) -> None:
    heard = await play("My name is Ada and my age is 36.", model=model, answer_schema=PERSON)

    assert json.loads(heard.text) == {"name": "Ada", "age": 36}


async def test_what_the_user_did_not_tell_is_null_where_it_may_be() -> None:
    urgency = {"type": ["string", "null"], "enum": ["low", "high", None]}
    variables = {
        "name": {"type": ["string", "null"]},
        "town": {"type": ["string", "null"]},
        "age": {"type": ["integer", "null"]},
        "urgency": urgency,
        "priority": urgency,
        "member": {"type": ["boolean", "null"]},
        "rank": {"enum": ["first", "second"]},
    }
    schema = {"type": "object", "properties": variables, "required": list(variables)}

    heard = await play(
        "My name is Ada. My age is 36. My urgency is High. My rank is 2.", answer_schema=schema
    )

    document = json.loads(heard.text)
    jsonschema.validate(document, schema)
    assert document == {
        "name": "Ada",
        "town": None,
        "age": 36,
        "urgency": "high",
        "priority": None,
        "member": None,
        "rank": "first",
    }


async def test_calls_come_before_the_document() -> None:
    script = f"call lookup {MONDAY}"

    first = await play(script, answer_schema=PERSON)
    second = await play(script, asked("lookup"), answered("rain"), answer_schema=PERSON)

    assert first.calls == [("lookup", MONDAY)]
    jsonschema.validate(json.loads(second.text), PERSON)


async def test_told_to_misfit_it_does_so_once_or_always() -> None:
    said = Message(role="assistant", text="{}")

    once = await play("misfit", answer_schema=PERSON)
    after_once = await play("misfit", said, "That does not fit.", answer_schema=PERSON)
    always = await play("misfit always", said, "That does not fit.", answer_schema=PERSON)

    assert json.loads(once.text) == json.loads(always.text) == "misfit"
    jsonschema.validate(json.loads(after_once.text), PERSON)


async def test_an_answer_that_is_written_down_is_given_as_it_is() -> None:
    heard = await play('answer {"name": 7}', answer_schema=PERSON)

    assert heard.text == '{"name": 7}'


async def test_reason_thinks_aloud_unless_it_is_told_not_to() -> None:
    heard = await play("Hello", model="reason", tools=())
    silent = await play("Hello", model="reason", tools=(), reasoning="off")

    assert heard.text == silent.text
    assert silent.reasoning == ""
    assert heard.finished is not None
    assert heard.finished.usage is not None
    assert heard.finished.usage.reasoning_tokens == estimate_text_tokens(heard.reasoning) > 0
    assert (
        heard.finished.usage.output_tokens
        == estimate_text_tokens(heard.text) + heard.finished.usage.reasoning_tokens
    )


async def test_a_reply_cut_by_the_output_limit_asks_for_nothing() -> None:
    heard = await play("say one two three four five\ncall lookup {}", output_tokens_max=2)

    assert heard.calls == []
    assert heard.finished is not None
    assert heard.finished.finish_reason is FinishReason.LENGTH


_NESTED: dict[str, Any] = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "label": {"type": "string"},
                "inner": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["label"],
        }
    },
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    "schema",
    [
        PERSON,
        LOOSE,
        {"type": "string"},
        {"type": "string", "minLength": 30, "maxLength": 30},
        {"type": "string", "format": "date"},
        {"type": ["integer", "null"], "minimum": 3},
        {"type": "integer", "exclusiveMinimum": 4, "multipleOf": 4},
        {"type": "number", "maximum": -2},
        {"type": "integer", "exclusiveMaximum": 1},
        {"type": "number", "exclusiveMaximum": 0.5},
        {"type": "number", "minimum": 0.2, "maximum": 0.3},
        {"type": "boolean"},
        {"type": "null"},
        {"enum": ["a", 2, None]},
        {"const": {"a": 1}},
        {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        {"oneOf": [{"type": "boolean"}, {"type": "string"}]},
        {"type": "array", "items": {"enum": ["x"]}, "minItems": 3},
        {"type": "array"},
        {"type": "object"},
        {"type": "object", "required": ["free"], "properties": {}},
        {"allOf": [PERSON | {"additionalProperties": True}, {"required": ["town"]}]},
        _NESTED,
    ],
    ids=str,
)
async def test_a_document_fits_its_schema_and_a_misfit_does_not(schema: dict[str, Any]) -> None:
    fitting = await play("Hello", answer_schema=schema)
    misfit = await play("misfit", answer_schema=schema)

    jsonschema.validate(json.loads(fitting.text), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(misfit.text), schema)


@pytest.mark.parametrize("schema", [{}, {"properties": {"when": {"type": "string", "format": "date-time"}}}])
async def test_where_every_type_fits_the_misfit_is_no_json(schema: dict[str, Any]) -> None:
    fitting = await play("Hello", answer_schema=schema)
    misfit = await play("misfit", answer_schema=schema)

    jsonschema.validate(json.loads(fitting.text), schema)
    with pytest.raises(json.JSONDecodeError):
        json.loads(misfit.text)


@pytest.mark.parametrize("line", ["call lookup {", "say ", "answer ", "go ", "misfit ", "then\n", " "])
async def test_playing_a_very_long_message_takes_no_time_to_speak_of(line: str) -> None:
    async with asyncio.timeout(5):
        heard = await play(line * (32_000 // len(line)), answer_schema=PERSON)

    assert heard.error is None
