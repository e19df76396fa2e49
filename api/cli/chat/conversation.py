"""A conversation as a person sees it: what they can type, and what it shows.

Turns are numbered from 1, so that `/rewind 3` keeps three turns. Every write states the revision that was
shown; when somebody else was faster, nothing is changed, and what they did is shown instead.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal

from api.cli.chat import HELP
from api.cli.chat.client import Client, Json, Refused

_SHOWN_CHARACTERS = 60


class Misunderstood(Exception):
    """What was typed is no command, or names something that is not there."""


class Conversation:
    """One person at one session."""

    def __init__(
        self,
        client: Client,
        session: Json,
        *,
        show: Callable[[str], None],
        read: Callable[[str], str | None],
    ) -> None:
        self._client = client
        self._session = session
        self._show = show
        self._read = read
        self._actions: dict[str, Callable[[str], None]] = {
            "help": self._help,
            "turns": self._turns,
            "rewind": self._rewind,
            "edit": self._edit,
            "regenerate": self._regenerate,
            "retry": self._retry,
            "futures": self._futures,
            "restore": self._restore,
            "cancel": self._cancel,
            "usage": self._usage,
            "refresh": self._refresh,
            "end": self._end,
        }

    def run(self) -> None:
        """Converse until the input ends or the person leaves."""
        self._show(f"Session {self._session['id']}. /help shows what you can do.")
        for turn in self._session["turns"]:
            self._show_turn(turn)
        while (line := self._read(self._prompt())) is not None:
            if line.strip() == "/quit":
                break
            try:
                self.do(line.strip())
            except Misunderstood as error:
                self._show(str(error))
            except Refused as refused:
                self._show_refusal(refused)
            except KeyboardInterrupt:
                self._show("\nNot waited for: the turn goes on. /cancel stops it, /refresh shows it.")
                self._session = self._client.session(self._session["id"])
        self._show(f"Go on with: turnledger chat --session {self._session['id']}")

    def do(self, line: str) -> None:
        """Carry out one line of input.

        Raises:
            Misunderstood: the line makes no sense here.
            Refused: the service did not do it; nothing has changed.
        """
        if not line:
            return
        if not line.startswith("/"):
            self._say(line)
            return
        word, _, rest = line[1:].partition(" ")
        action = self._actions.get(word)
        if action is None:
            raise Misunderstood(f"There is no /{word}; /help shows what there is.")
        action(rest.strip())

    def _prompt(self) -> str:
        session = self._session
        behind = session["turn_count"] - session["cursor"]
        place = f"turn {session['cursor']}" + (f" of {session['turn_count']}" if behind else "")
        return f"[revision {session['revision']}, {place}] you> "

    # What a person can do.

    def _say(self, text: str) -> None:
        self._write("messages", {"text": text})
        self._show_newest()

    def _edit(self, rest: str) -> None:
        number, _, text = rest.partition(" ")
        if not text.strip():
            raise Misunderstood("Say which turn, and what instead: /edit 2 My name is Grace.")
        self._answer_again(self._turn(number), {"text": text.strip()})

    def _regenerate(self, rest: str) -> None:
        self._answer_again(self._turn(rest or str(self._session["cursor"])), {})

    def _answer_again(self, turn: Json, body: Json) -> None:
        discarded_before = self._session["discarded_count"]
        self._write(f"turns/{turn['id']}/regenerate", body)
        self._show_newest()
        if self._session["discarded_count"] > discarded_before:
            ordinal = self._session["discarded_count"]
            self._show(f"What was there is kept as discarded future {ordinal}: /restore {ordinal}")

    def _retry(self, _: str) -> None:
        self._write(f"turns/{self._turn(str(self._session['turn_count']))['id']}/retry", {})
        self._show_newest()

    def _rewind(self, rest: str) -> None:
        if rest in ("0", "start"):
            self._write("rewind", {"to": "start"})
        else:
            self._write("rewind", {"turn_id": self._turn(rest)["id"]})
        cursor = self._session["cursor"]
        behind = self._session["turn_count"] - cursor
        self._show(
            f"{cursor} {_plural(cursor, 'turn')} in effect; the {behind} behind become a discarded future "
            "when you say something."
            if behind
            else f"All {cursor} turns are in effect."
        )

    def _restore(self, rest: str) -> None:
        if not rest.isdecimal():
            raise Misunderstood("Say which: /futures lists them, /restore 1 restores the first.")
        self._write("restore", {"ordinal": int(rest)})
        self._turns("")

    def _futures(self, _: str) -> None:
        futures = self._client.discarded_futures(self._session)
        if not futures:
            self._show("Nothing has been discarded.")
        for future in futures:
            first, count = future["branch_point"] + 1, future["turn_count"]
            self._show(f"{future['ordinal']}: {count} {_plural(count, 'turn')} from turn {first} on")
            for turn in self._client.future_turns(self._session, future["ordinal"]):
                self._show(f"   {_line(turn)}")

    def _turns(self, _: str) -> None:
        self._session = self._client.session(self._session["id"])
        for turn in self._session["turns"]:
            mark = " " if turn["position"] < self._session["cursor"] else "-"
            self._show(f"{mark} {_line(turn)}")

    def _cancel(self, _: str) -> None:
        self._session = self._client.session(self._session["id"])
        active = self._session["active_turn_id"]
        if active is None:
            raise Misunderstood("No turn is being answered.")
        self._client.cancel(self._session, active)
        self._session = self._client.session(self._session["id"])
        self._show_newest()

    def _usage(self, _: str) -> None:
        rows = self._client.usage(self._session)
        for row in rows:
            cost = "unknown cost" if row["cost"] is None else f"{Decimal(row['cost']):f} {row['currency']}"
            tokens = f"{row['input_tokens']} input, {row['output_tokens']} output tokens"
            self._show(f"{row['seq']}: {row['provider']}:{row['model']}, {row['outcome']}, {tokens}, {cost}")
        known = [Decimal(row["cost"]) for row in rows if row["cost"] is not None]
        unknown = f", and {len(rows) - len(known)} of unknown cost" if len(known) < len(rows) else ""
        self._show(f"{len(rows)} {_plural(len(rows), 'call')}, {sum(known, Decimal(0)):f} USD{unknown}")

    def _refresh(self, _: str) -> None:
        self._turns("")

    def _end(self, rest: str) -> None:
        self._write("end", {"resolution": rest} if rest else {})
        self._show("The session has ended: it can be read, and nothing more can be said.")

    def _help(self, _: str) -> None:
        self._show(HELP)

    # What is shown.

    def _write(self, action: str, body: Json) -> None:
        """Carry out a write on the revision that was shown, and read what came of it."""
        self._client.write(self._session, action, body)
        self._session = self._client.settled(self._session["id"])

    def _show_newest(self) -> None:
        if self._session["turns"]:
            self._show_turn(self._session["turns"][-1], without_question=True)

    def _show_turn(self, turn: Json, *, without_question: bool = False) -> None:
        number = turn["position"] + 1
        if turn["user_message"] is not None and not without_question:
            self._show(
                f"{number} {turn['user_message'].get('speaker') or 'you'}: {turn['user_message']['text']}"
            )
        for reply in turn["replies"]:
            cut = " (cut off)" if reply.get("truncated") else ""
            self._show(f"{number} {reply['speaker']}: {reply['text']}{cut}")
        if turn["state"] != "completed":
            self._show(f"{number} {_state(turn)}")

    def _show_refusal(self, refused: Refused) -> None:
        """Show what was refused and why; after a conflict also what the others did."""
        self._show(str(refused))
        for fault in refused.problem.get("errors", ()):
            self._show(f"  {fault['pointer']}: {fault['message']}")
        if not refused.is_conflict:
            return
        for line in _told_changes(refused.problem):
            self._show(line)
        self._session = self._client.session(self._session["id"])
        self._show("The line as it is now:")
        self._turns("")
        self._show("Say it again if you still mean it.")

    def _turn(self, number: str) -> Json:
        for turn in self._session["turns"]:
            if number.isdecimal() and turn["position"] == int(number) - 1:
                found: Json = turn
                return found
        raise Misunderstood(f"There is no turn {number or '(say which)'}; /turns shows them.")


def _told_changes(problem: Json) -> Iterator[str]:
    """Say what happened since the revision that the person had seen."""
    for change in problem.get("changes", ()):
        actor = change["actor"]
        who = actor.get("on_behalf_of") or actor.get("key_id") or actor.get("process") or "somebody"
        yield f"  revision {change['revision']}: {change['type']} by {who} at {change['at']}"


def _line(turn: Json) -> str:
    """Show a turn in one line."""
    said = turn["user_message"]["text"] if turn["user_message"] is not None else None
    reply = turn["replies"][-1]["text"] if turn["replies"] else None
    parts = [_short(text) for text in (said, reply) if text is not None]
    if turn["state"] != "completed":
        parts.append(_state(turn))
    return f"{turn['position'] + 1}: {' -> '.join(parts)}"


def _state(turn: Json) -> str:
    error = turn.get("error")
    return f"({turn['state']})" if error is None else f"({turn['state']}: {error.get('message')})"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 1] + "…"


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"
