"""The order of roles that every provider accepts."""

from hypothesis import given, settings
from hypothesis import strategies as st

from api.models.base import Message
from api.models.messages import OPENING_TEXT, alternating

MESSAGES = st.lists(
    st.builds(
        Message,
        role=st.sampled_from(["user", "assistant"]),
        text=st.text(min_size=1, max_size=10),
        name=st.none() | st.just("Ada"),
    ),
    max_size=8,
)


@settings(max_examples=50)
@given(messages=MESSAGES)
def test_roles_take_turns_and_no_text_is_lost(messages: list[Message]) -> None:
    exchanges = alternating(messages)

    assert [e.role for e in exchanges] == ["user", "assistant"] * (len(exchanges) // 2) + ["user"] * (
        len(exchanges) % 2
    )
    spoken = [f"{m.name}: {m.text}" if m.name else m.text for m in messages]
    began_by_agent = not messages or messages[0].role == "assistant"
    opening = [OPENING_TEXT] if began_by_agent else []
    assert "\n\n".join(e.text for e in exchanges) == "\n\n".join(opening + spoken)
