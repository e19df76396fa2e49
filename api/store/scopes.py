"""Scopes: what an API key may be used for. None implies another."""

from enum import StrEnum


class Scope(StrEnum):
    """A part of the API that a key opens; each operation names the ones that open it."""

    SESSIONS_READ = "sessions:read"
    """Sessions with all their text, and the agents that they are held with."""
    SESSIONS_WRITE = "sessions:write"
    """The commands that change sessions; what they answer shows the session."""
    APPROVALS_DECIDE = "approvals:decide"
    """Approvals: to see them, and to decide."""
    USAGE_READ = "usage:read"
    """The ledger, prices and figures; no text of anybody."""
    ADMIN = "admin"
    """What the organization settles: agents, rules, keys, prices, budgets."""


ALL_SCOPES = frozenset(Scope)
