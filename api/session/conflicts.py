"""What a caller whose revision is stale should do next, judged from what has happened since."""

from collections.abc import Iterable
from enum import StrEnum

from api.session.document import Event, EventType, SessionState


class Advice(StrEnum):
    """The next step for a refused write."""

    REPLAY = "replay"
    """Nothing was decided: send the same again."""
    RESUBMIT = "resubmit"
    """Nothing that the caller judged has changed: send it with the new revision."""
    REBASE = "rebase"
    """What the caller judged has changed: look first."""
    ABANDON = "abandon"
    """The session takes no further commands."""


def advise(
    state: SessionState, since: Iterable[Event], *, judges_header: bool = False, is_whole: bool = True
) -> Advice:
    """Judge the events behind the caller's revision; none at all means that the revision never was.

    `judges_header` says that the caller saw a name and metadata to change, and not the line. `is_whole` is
    false when there were more events than are given: what was not seen may be anything.
    """
    events = tuple(since)
    if state is SessionState.ENDED:
        return Advice.ABANDON
    is_untouched = all((event.type is EventType.SESSION_UPDATED) is not judges_header for event in events)
    if is_whole and events and is_untouched:
        return Advice.RESUBMIT
    return Advice.REBASE
