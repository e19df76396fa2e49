"""Functions as an operator would register them."""

import asyncio
import threading
from typing import Annotated, Literal

import msgspec

release = threading.Event()
"""Lets `wait` come to its end."""
constant = 3


class Item(msgspec.Struct):
    """Something in the basket."""

    name: str
    count: Annotated[int, msgspec.Meta(ge=1)] = 1


def quote(
    items: list[Item],
    currency: Annotated[Literal["EUR", "USD"], msgspec.Meta(description="What to pay in.")] = "EUR",
    notes: list[str] = [],  # noqa: B006  # what operators write
) -> dict[str, object]:
    """Say what a basket costs,
    at today's prices.

    This paragraph is for people.
    """
    notes.append("seen")
    return {"total": sum(item.count for item in items), "currency": currency, "notes": notes}


async def greet(name: str, *, idempotency_key: str) -> str:
    """Greet."""
    await asyncio.sleep(0)
    return f"Hello {name} ({idempotency_key})"


def fail(message: str) -> None:
    """Fail."""
    raise LookupError(message)


async def fail_in_time() -> None:
    """Raise what looks like our own limit."""
    raise TimeoutError("theirs")


def wait() -> str:
    """Wait."""
    release.wait(30)
    return "done"


async def wait_forever() -> None:
    """Wait."""
    await asyncio.Event().wait()


def nothing() -> None:
    """Do something."""


def odd() -> object:
    """Give back what is no JSON."""
    return object()


def long() -> str:
    """Give back more than anybody reads."""
    return "x\x00\ud800" * 10_000


def everything(*things: int) -> None:
    """Take things without names."""


def unreadable(thing: "Missing") -> None:  # type: ignore[name-defined]  # noqa: F821
    """Take what nobody knows."""


def strange(thing: threading.Event) -> None:
    """Take what is no JSON."""
