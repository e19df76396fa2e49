"""How figures are made and shown: medians of interleaved rounds, ratios, and whether the bar holds."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from statistics import median

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

ROUNDS = 5
"""Rounds of every figure; they are interleaved, and their median is told."""


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """One figure: the ratio of each round, and the bar that their median is held to."""

    name: str
    rounds: Sequence[float]
    at_most: float | None = None
    at_least: float | None = None

    @property
    def value(self) -> float:
        """The median over the rounds."""
        return median(self.rounds)

    @property
    def holds(self) -> bool:
        """The bar is met; true where there is none."""
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    @property
    def bar(self) -> str:
        """The bar as it is written."""
        if self.at_most is not None:
            return f"<= {self.at_most}"
        return "" if self.at_least is None else f">= {self.at_least}"


def show(title: str, columns: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    """Print a table of whatever was measured."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    for line in lines:
        table.add_row(*(_cell(value) for value in line))
    _console().print(table)


def show_ratios(title: str, ratios: Sequence[Ratio]) -> bool:
    """Print the ratios beside their bars; answers whether all bars hold."""
    show(
        title,
        ["ratio", "median", "lowest", "highest", "bar", ""],
        [
            (r.name, r.value, min(r.rounds), max(r.rounds), r.bar, _verdict(r) if r.bar else "")
            for r in ratios
        ],
    )
    return all(ratio.holds for ratio in ratios)


def run(benchmark: Callable[[], Coroutine[None, None, bool]]) -> None:
    """Run a benchmark as a command: on the event loop of the service, with exit code 1 for a missed bar."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(0 if runner.run(benchmark()) else 1)


def _verdict(ratio: Ratio) -> str:
    return "holds" if ratio.holds else "MISSED"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _console() -> Console:
    # A pipe has no width of its own, and a table must not be folded there.
    console = Console()
    return console if console.is_terminal else Console(width=120)
