"""A session as Markdown, for people: what was said, by whom, what was called, what it cost.

What people and models have said is quoted, so that nothing in it can be taken for the page's own words.
"""

from collections.abc import AsyncIterable, AsyncIterator

from api.session.document import DiscardedFuture, Turn, TurnState, Usage
from api.store.exporting import Transcript

MEDIA_TYPE = "text/markdown"

_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>#|"})


async def write_markdown(
    parts: AsyncIterable[Transcript | DiscardedFuture | tuple[Turn, ...]],
) -> AsyncIterator[bytes]:
    """Write what `Exporting.read_turns` reads, a page at a time."""
    cursor = None
    async for part in parts:
        match part:
            case Transcript():
                cursor = part.session.cursor
                yield _head(part).encode()
            case DiscardedFuture():
                cursor = None
                yield _future(part).encode()
            case _:
                yield "".join(_turn(turn, cursor=cursor) for turn in part).encode()


def _head(transcript: Transcript) -> str:
    session = transcript.session
    facts = [
        f"Session `{session.id}`, revision {session.revision}, {session.state}",
        f"Agent {_plain(transcript.agent_name)}, version {session.agent.version}",
        f"Begun {session.created_at:%Y-%m-%d %H:%M:%S} UTC",
    ]
    if session.ended_at is not None:
        as_what = f": {_plain(session.resolution)}" if session.resolution else ""
        facts.append(f"Ended {session.ended_at:%Y-%m-%d %H:%M:%S} UTC{as_what}")
    return f"# {_plain(session.name or session.id)}\n\n" + "".join(f"- {fact}\n" for fact in facts)


def _future(future: DiscardedFuture) -> str:
    return (
        f"\n# Discarded future {future.ordinal}\n\n"
        f"- Left the conversation before turn {future.branch_point + 1}, "
        f"{future.discarded_at:%Y-%m-%d %H:%M:%S} UTC\n"
    )


def _turn(turn: Turn, *, cursor: int | None) -> str:
    note = "" if turn.state is TurnState.COMPLETED else f" ({turn.state.replace('_', ' ')})"
    if cursor is not None and turn.position >= cursor:
        note += " (not in effect)"
    lines = [f"\n## Turn {turn.position + 1}{note}\n"]
    if turn.user_message is not None:
        lines.append(_said(turn.user_message.speaker or "User", turn.user_message.text))
    lines += (
        _said(reply.speaker, reply.text + (" […]" if reply.truncated else "")) for reply in turn.replies
    )
    lines += (
        f"\n- Tool {_plain(step.tool or '?')}: {step.outcome}\n" for step in turn.steps if step.kind == "tool"
    )
    for approval in turn.approvals:
        decision = "open" if approval.decision is None else approval.decision.value
        lines.append(f"\n- Approval of {_plain(approval.tool)}: {decision}\n")
    if turn.error is not None:
        lines.append(f"\n- Failed: {_plain(turn.error.message)} (`{turn.error.code}`)\n")
    if turn.usage is not None:
        lines.append(f"\n- {_spent(turn.usage)}\n")
    return "".join(lines)


def _said(speaker: str, text: str) -> str:
    quoted = "\n".join(f"> {line}" for line in text.splitlines() or [""])
    return f"\n**{_plain(speaker)}**\n\n{quoted}\n"


def _spent(usage: Usage) -> str:
    cost = "cost unknown" if usage.cost is None else f"{usage.cost:f} {usage.currency}"
    return f"{usage.input_tokens} input and {usage.output_tokens} output tokens, {cost}"


def _plain(text: str) -> str:
    return " ".join(text.translate(_SPECIAL).split())
