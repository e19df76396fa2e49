"""The commands: pure functions from a head (and at most one turn of it) to a change, or a refusal.

    opening         create, fork
    conversation    append, update, end
    rewinding       rewind, restore, regenerate, retry
    running         complete, fail, cancel
    approving       request_approvals, decide

Time and ids are arguments. A command that returns has changed nothing but what its `Change` says, and one
that raises has changed nothing at all. Every command but `create` and `fork` may raise `SessionEnded`.
"""

from ._writing import Partial
from .approving import decide, request_approvals
from .conversation import IfActive, append, end, update
from .opening import FixedGreeting, PendingGreeting, create, fork
from .rewinding import regenerate, restore, retry, rewind
from .running import cancel, complete, fail

__all__ = [
    "FixedGreeting",
    "IfActive",
    "Partial",
    "PendingGreeting",
    "append",
    "cancel",
    "complete",
    "create",
    "decide",
    "end",
    "fail",
    "fork",
    "regenerate",
    "request_approvals",
    "restore",
    "retry",
    "rewind",
    "update",
]
