"""`python -m tests.chaos.mutation`: each seeded fault in a run that must catch it; exit code 1 if not.

The same scenarios are run without a fault first: a run that also blames the right code has caught nothing.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import time
from collections import Counter

import msgspec
from rich.console import Console
from rich.table import Table

from tests.chaos.mutants import MUTANTS, Mutant
from tests.chaos.report import ProgressLine, print_result
from tests.chaos.run import perform
from tests.chaos.scenarios import SCENARIOS

SECONDS_MAX = 90


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a run judged the product that it was given."""

    scenario: str
    mutant: str
    """Empty for the product as it is."""
    kinds: dict[str, int]
    """Violations by kind."""
    seconds: float

    @property
    def is_right(self) -> bool:
        """A fault was caught in time, or nothing was found where nothing is."""
        return bool(self.kinds) == bool(self.mutant) and (not self.mutant or self.seconds < SECONDS_MAX)


async def judge(scenario: str, mutant: Mutant | None, *, seed: int, console: Console) -> Verdict:
    """Run a scenario, with a fault or without."""
    began_at = time.monotonic()
    with ProgressLine(console) as progress:
        result = await perform(SCENARIOS[scenario], seed=seed, mutant=mutant, progress=progress)
    kinds = Counter(violation.kind for violation in result.violations)
    if kinds and mutant is None:
        print_result(console, result)
    shutil.rmtree(result.folder)
    return Verdict(
        scenario=scenario,
        mutant=mutant.name if mutant else "",
        kinds=dict(kinds),
        seconds=time.monotonic() - began_at,
    )


def main() -> int:
    """Judge the product as it is, then every mutant, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutation", description="Catch every mutant.")
    parser.add_argument("names", nargs="*", metavar="mutant", help=f"all unless given: {', '.join(MUTANTS)}")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chosen = [MUTANTS[name] for name in arguments.names or MUTANTS]
    # Told to stop, it takes its processes with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(width=None if sys.stdout.isatty() else 160)
    verdicts = []
    for scenario in dict.fromkeys(mutant.scenario for mutant in chosen):
        for mutant in (None, *(mutant for mutant in chosen if mutant.scenario == scenario)):
            console.print(f"{scenario}: {mutant.name if mutant else 'the product as it is'}", highlight=False)
            verdict = asyncio.run(judge(scenario, mutant, seed=arguments.seed, console=console))
            verdicts.append(verdict)
            console.print(f"    {_sentence(verdict)}", highlight=False)
    table = Table(title="mutants", title_justify="left", show_edge=False)
    for heading in ("mutant", "breaks", "caught by", "seconds"):
        table.add_column(heading, overflow="fold")
    for verdict in verdicts:
        table.add_row(
            verdict.mutant or f"(none, in {verdict.scenario})",
            MUTANTS[verdict.mutant].breaks if verdict.mutant else "nothing",
            _sentence(verdict),
            f"{verdict.seconds:.0f}",
        )
    console.print(table, highlight=False)
    return 0 if all(verdict.is_right for verdict in verdicts) else 1


def _sentence(verdict: Verdict) -> str:
    found = ", ".join(f"{kind} ({count})" for kind, count in Counter(verdict.kinds).most_common(3))
    if not verdict.mutant:
        return f"BLAMED: {found}" if found else "nothing found"
    if not found:
        return "NOT CAUGHT"
    return found if verdict.is_right else f"TOO LATE: {found}"


if __name__ == "__main__":
    sys.exit(main())
