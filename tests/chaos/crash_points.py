"""The moments at which a process kills itself, each before or after one function of the product.

A point is armed in a process of its own (`tests.chaos.process`) by `CHAOS_CRASH=<point>:<count>:<file>`: when
it is passed for the `count`-th time the process writes its name to `file` and is gone, as by kill -9. With
`pause` in place of a number it is stopped instead, whenever there is no such file, until somebody lets it go
on.
"""

import functools
import importlib
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple


class CrashPoint(NamedTuple):
    """A moment in the life of a write or a run."""

    where: Literal["server", "worker"]
    module: str
    name: str
    """Dotted below the module."""
    when: Literal["before", "after"]
    needs_result: bool = False
    """Counts only when the function answered something that is true."""
    only: Callable[..., bool] | None = None
    """Counts only calls with such arguments."""


def _may_be_repeated(_tools: object, invocation: Any, *_: object) -> bool:
    return bool(invocation.tool.effect == "idempotent")


CRASH_POINTS = {
    "before the swap of a command": CrashPoint("server", "db.commits", "swap", "before"),
    "after the commit, before the reply": CrashPoint("server", "db.commits", "swap", "after", True),
    "after a session is created, before the reply": CrashPoint("server", "db.commits", "create", "after"),
    "while a session is locked": CrashPoint("server", "db.sessions", "lock", "after"),
    "before a repetition is answered": CrashPoint("server", "db.keys", "find", "after", True),
    "before the claim": CrashPoint("worker", "db.runs", "claim", "before"),
    "after the claim": CrashPoint("worker", "db.runs", "claim", "after", True),
    "after a lease was renewed": CrashPoint("worker", "db.runs", "heartbeat", "after", True),
    "before the step's intent": CrashPoint("worker", "db.runs", "start_step", "before"),
    "after the step's intent, before the model": CrashPoint("worker", "db.runs", "start_step", "after", True),
    "after a tool's answer, before it is written": CrashPoint("worker", "db.runs", "end_step", "before"),
    "after the answer of a tool that may be asked again": CrashPoint(
        "worker", "api.runner.tools.http_call", "HttpTools.call", "after", only=_may_be_repeated
    ),
    "after a tool's answer was written": CrashPoint("worker", "db.runs", "end_step", "after", True),
    "before a flush of deltas": CrashPoint("worker", "db.deltas", "flush", "before"),
    "after a flush of deltas": CrashPoint("worker", "db.deltas", "flush", "after", True),
    "after the model, before the ledger": CrashPoint("worker", "db.usage", "settle", "before"),
    "after the ledger, before the commit": CrashPoint("worker", "db.usage", "settle", "after", True),
    "before the commit of a turn": CrashPoint("worker", "db.commits", "swap", "before"),
    "after the commit of a turn": CrashPoint("worker", "db.commits", "swap", "after", True),
    "after text was taken back": CrashPoint("worker", "db.deltas", "restart", "after"),
    "while a turn is handed back": CrashPoint("worker", "db.runs", "release", "before"),
}
"""By what an operator would call the moment. `while a turn is handed back` comes with a SIGTERM."""


def arm(word: str) -> None:
    """Wrap the function of a crash point in this process; called before the product runs."""
    name, count, file = word.split(":", 2)
    point = CRASH_POINTS[name]
    *path, attribute = point.name.split(".")
    owner = functools.reduce(getattr, path, importlib.import_module(point.module))
    original: Callable[..., Awaitable[Any]] = getattr(owner, attribute)
    passed = 0

    def pass_by() -> None:
        nonlocal passed
        passed += 1
        if count == "pause":
            if not Path(file).exists():
                Path(file).write_text(name)
                os.kill(os.getpid(), signal.SIGSTOP)
        elif passed == int(count):
            Path(file).write_text(name)
            os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(original)
    async def wrapped(*args: Any, **options: Any) -> Any:
        counts = point.only is None or point.only(*args, **options)
        if point.when == "before" and counts:
            pass_by()
        result = await original(*args, **options)
        if point.when == "after" and counts and (result or not point.needs_result):
            pass_by()
        return result

    setattr(owner, attribute, wrapped)
