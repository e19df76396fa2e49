"""What is seen of a run: a line of figures while it lasts, and tables at its end."""

import time
from collections import Counter

from rich.console import Console
from rich.live import Live
from rich.table import Table

from tests.chaos.faults import Faults
from tests.chaos.history import History, Outcome
from tests.chaos.run import Result, turn_count

_LINE_SECONDS = 15
_SHOWN_MAX = 5


class ProgressLine:
    """Keeps one line current on a terminal; into a file it writes one now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._told_at = 0.0

    def __enter__(self) -> "ProgressLine":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, seconds: float, history: History, faults: Faults) -> None:
        """Show how far a run is."""
        tally = faults.tally
        line = (
            f"{seconds:5.0f} s   {turn_count(history)} turns, {history.count(Outcome.ACKNOWLEDGED)} writes "
            f"acknowledged, {history.count(Outcome.REFUSED)} refused   {tally.kills} kills, "
            f"{tally.pauses} pauses, {len(tally.passed)} crash points passed"
        )
        if self._live is not None:
            self._live.update(line)
        elif time.monotonic() - self._told_at > _LINE_SECONDS:
            self._told_at = time.monotonic()
            self._console.print(line, highlight=False)


def print_result(console: Console, result: Result) -> None:
    """Print the figures of a run, then what was violated."""
    history, facts, tally = result.history, result.facts, result.tally
    states = Counter(turn.state for turn in facts.turns.values()).most_common()
    lost_count = sum(entry.reason == "lost" and not entry.is_correction for entry in facts.entries)
    correction_count = sum(entry.is_correction for entry in facts.entries)
    table = Table(
        title=f"chaos, seed {result.seed}", title_justify="left", show_header=False, show_edge=False
    )
    rows = {
        "time": f"{result.seconds:.0f} s",
        "turns": f"{len(facts.turns)} (" + ", ".join(f"{count} {state}" for state, count in states) + ")",
        "sessions": str(len(facts.sessions)),
        "writes": f"{history.count(Outcome.ACKNOWLEDGED)} acknowledged, "
        f"{history.count(Outcome.REFUSED)} refused, {history.count(Outcome.UNKNOWN)} without an answer",
        "sent more than once": str(sum(call.sent_count > 1 for call in history.calls.values())),
        "reads": str(len(history.reads)),
        "stream resumes": str(history.resume_count),
        "kills": f"{tally.kills} ({tally.server_kills} of servers, {tally.worker_kills} of workers, "
        f"{tally.postgres_kills} of Postgres)",
        "pauses, drains": f"{tally.pauses}, {tally.drains}",
        "crash points passed": f"{len(tally.passed)} ({sum(tally.passed.values())} deaths)",
        "answers cut, delayed, dropped": str(result.network_faults),
        "ledger": f"{len(facts.entries)} rows, {lost_count} lost calls, {correction_count} corrections",
        "tool calls": _tool_calls(result),
        "quiet after the last fault": "never"
        if result.quiet_seconds is None
        else f"{result.quiet_seconds:.1f} s",
        "violations": str(len(result.violations)),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table, highlight=False)
    for shortfall in result.shortfalls:
        console.print(f"not reached: {shortfall}", style="yellow", highlight=False)
    kinds: dict[str, list[str]] = {}
    for violation in result.violations:
        kinds.setdefault(violation.kind, []).append(violation.detail)
    for kind, details in kinds.items():
        console.print(f"{kind}: {len(details)}", style="red", highlight=False)
        for detail in details[:_SHOWN_MAX]:
            console.print(f"    {detail}", highlight=False, markup=False)


def _tool_calls(result: Result) -> str:
    arrived = Counter(arrival.argument for arrival in result.arrivals)
    said = Counter(approval.decision or "closed" for approval in result.tool_facts.approvals)
    unknown_count = sum(approval.reason == "outcome_unknown" for approval in result.tool_facts.approvals)
    people = f"{said['approved']} approved, {said['denied']} denied, {said['closed']} closed"
    return (
        f"{len(arrived)} arrived, {sum(count > 1 for count in arrived.values())} of them more than once; "
        f"{len(result.tool_facts.approvals)} approvals ({people}), {unknown_count} about an unknown outcome"
    )
