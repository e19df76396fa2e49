"""How much the heavy tests do: enough to find a fault in the ordinary run, all of it in the build."""

import os

IS_LONG = os.environ.get("TURNLEDGER_TEST_LONG") == "1"
"""Whether this is the build, which has the time for all of it."""


def scaled(*, short: int, long: int) -> int:
    """How many, in this run."""
    return long if IS_LONG else short
