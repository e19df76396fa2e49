"""`python -m tests.chaos`: everything at once, judged at the end; exit code 1 when anything was violated.

python -m tests.chaos                              the form of the continuous build
python -m tests.chaos --turns 20000 --kills 60     the long form
python -m tests.chaos --seconds 60                 as much as fits into a minute
python -m tests.chaos --scenario zombies [--mutant no-epoch-check]
"""

import argparse
import asyncio
import random
import shutil
import signal
import sys

from rich.console import Console

from tests.chaos.mutants import MUTANTS
from tests.chaos.report import ProgressLine, print_result
from tests.chaos.run import perform
from tests.chaos.scenarios import SCENARIOS, full, short


def main() -> int:
    """Run once, print what came of it, and answer the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=2000, help="turns to reach (2000 unless given)")
    parser.add_argument("--kills", type=int, default=15, help="kill -9 to reach (15 unless given)")
    parser.add_argument("--seconds-max", type=float, default=7200, help="give up after this time")
    parser.add_argument("--seconds", type=float, help="run for this time instead")
    parser.add_argument("--scenario", choices=SCENARIOS, help="one targeted run instead")
    parser.add_argument("--mutant", choices=MUTANTS, help="with this fault in the product")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--keep", action="store_true", help="keep the logs of a good run, too")
    arguments = parser.parse_args()
    if arguments.scenario:
        scenario = SCENARIOS[arguments.scenario]
    elif arguments.seconds:
        scenario = short(seconds=arguments.seconds)
    else:
        scenario = full(turns=arguments.turns, kills=arguments.kills, seconds_max=arguments.seconds_max)
    mutant = MUTANTS[arguments.mutant] if arguments.mutant else None
    # Told to stop, it takes its processes with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(f"chaos with seed {arguments.seed}", highlight=False)
    with ProgressLine(console) as progress:
        result = asyncio.run(perform(scenario, seed=arguments.seed, mutant=mutant, progress=progress))
    print_result(console, result)
    if result.is_good and not arguments.keep:
        shutil.rmtree(result.folder)
    else:
        console.print(f"logs are in {result.folder}", highlight=False)
    return 0 if result.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
