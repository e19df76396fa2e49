"""Why a command was not carried out. The tree:

    CommandRefused                 the caller's turn to act; nothing has changed
        SessionEnded                   session-ended
        TurnActive                     turn-active
        QueueFull                      queue-full
        CursorOutOfRange               cursor-out-of-range
        TurnNotOnLine                  turn-not-on-line
        GreetingHasNoUserMessage       greeting-has-no-user-message
        TurnNotRetryable               turn-not-retryable
        UnknownFuture                  unknown-future
        TurnNotActive                  turn-not-active
        TurnAwaitsApproval             turn-awaits-approval
        TurnFinal                      turn-final
        TurnUnfinished                 turn-unfinished
        VariablesTooLarge              variables-too-large
        MetadataTooLarge               metadata-too-large
        TooManyApprovals               too-many-approvals
        UnknownApproval                unknown-approval
        DigestMismatch                 digest-mismatch
        ApprovalDecided                approval-decided
        ApprovalClosed                 approval-closed
        ApprovalExpired                approval-expired
        NoStandingDecision             no-standing-decision
    AlreadyCancelled               no refusal: what was asked for is so already; nothing has changed
    InvariantViolated              broken, and ours: a clause of the law does not hold
    CorruptDocument                broken: stored bytes that are no session and no turn

Every class has a `code` for machines and fields for programs; the message is made from the fields and
nobody parses it.
"""

from typing import ClassVar

from api.session.document import Approval, TurnState


class CommandRefused(Exception):
    """The command is not allowed now; nothing has changed."""

    code: ClassVar[str]


class SessionEnded(CommandRefused):
    """The session takes no further commands."""

    code = "session-ended"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id} has ended")
        self.session_id = session_id


class TurnActive(CommandRefused):
    """A turn is unfinished, and the caller asked neither to queue behind it nor to interrupt it."""

    code = "turn-active"

    def __init__(self, turn_id: str) -> None:
        super().__init__(f"turn {turn_id} is still active")
        self.turn_id = turn_id


class QueueFull(CommandRefused):
    """As many turns wait behind the active one as may."""

    code = "queue-full"

    def __init__(self, queued_max: int) -> None:
        super().__init__(f"{queued_max} turns are waiting already")
        self.queued_max = queued_max


class CursorOutOfRange(CommandRefused):
    """The cursor was sent to a place that the line does not have."""

    code = "cursor-out-of-range"

    def __init__(self, *, to: int, turn_count: int) -> None:
        super().__init__(f"the cursor cannot be {to}: the line has {turn_count} turns")
        self.to = to
        self.turn_count = turn_count


class TurnNotOnLine(CommandRefused):
    """The turn lies in a discarded future."""

    code = "turn-not-on-line"

    def __init__(self, turn_id: str) -> None:
        super().__init__(f"turn {turn_id} is not on the current line")
        self.turn_id = turn_id


class GreetingHasNoUserMessage(CommandRefused):
    """A greeting cannot be run again with other words: nobody said anything in it."""

    code = "greeting-has-no-user-message"

    def __init__(self, turn_id: str) -> None:
        super().__init__(f"turn {turn_id} is a greeting: there is no user message to replace")
        self.turn_id = turn_id


class TurnNotRetryable(CommandRefused):
    """Only the last turn in effect can be retried, and only when it failed or was cancelled."""

    code = "turn-not-retryable"

    def __init__(self, turn_id: str, *, state: TurnState, is_last: bool) -> None:
        place = "the last turn in effect" if is_last else "not the last turn in effect"
        super().__init__(f"turn {turn_id} cannot be retried: it is {state.value} and {place}")
        self.turn_id = turn_id
        self.state = state
        self.is_last = is_last


class UnknownFuture(CommandRefused):
    """No discarded future has this ordinal now: never given, or restored since."""

    code = "unknown-future"

    def __init__(self, ordinal: int) -> None:
        super().__init__(f"there is no discarded future {ordinal}")
        self.ordinal = ordinal


class TurnNotActive(CommandRefused):
    """A turn that is not the active one cannot be completed or failed."""

    code = "turn-not-active"

    def __init__(self, turn_id: str, *, active_turn_id: str | None) -> None:
        super().__init__(f"turn {turn_id} is not the active turn ({active_turn_id or 'there is none'})")
        self.turn_id = turn_id
        self.active_turn_id = active_turn_id


class TurnAwaitsApproval(CommandRefused):
    """The turn waits for a person and cannot be completed before they have answered."""

    code = "turn-awaits-approval"

    def __init__(self, turn_id: str) -> None:
        super().__init__(f"turn {turn_id} awaits an approval")
        self.turn_id = turn_id


class TurnFinal(CommandRefused):
    """The turn was completed or has failed; a final turn never changes again."""

    code = "turn-final"

    def __init__(self, turn_id: str, *, state: TurnState) -> None:
        super().__init__(f"turn {turn_id} is {state.value} for good")
        self.turn_id = turn_id
        self.state = state


class TurnUnfinished(CommandRefused):
    """A turn that is not final cannot be copied."""

    code = "turn-unfinished"

    def __init__(self, turn_id: str) -> None:
        super().__init__(f"turn {turn_id} is not finished and cannot be copied")
        self.turn_id = turn_id


class VariablesTooLarge(CommandRefused):
    """The agent's variables take more room than a turn may store."""

    code = "variables-too-large"

    def __init__(self, *, bytes_max: int) -> None:
        super().__init__(f"the variables take more than {bytes_max} bytes of JSON")
        self.bytes_max = bytes_max


class MetadataTooLarge(CommandRefused):
    """The metadata, with the patch applied, takes more room than a session may store."""

    code = "metadata-too-large"

    def __init__(self, *, size_bytes: int, bytes_max: int) -> None:
        super().__init__(f"the metadata would take {size_bytes} bytes of JSON; {bytes_max} are allowed")
        self.size_bytes = size_bytes
        self.bytes_max = bytes_max


class TooManyApprovals(CommandRefused):
    """A turn would wait for more people's answers than it may."""

    code = "too-many-approvals"

    def __init__(self, *, count: int, count_max: int) -> None:
        super().__init__(f"a turn would wait for {count} approvals at once; {count_max} are allowed")
        self.count = count
        self.count_max = count_max


class UnknownApproval(CommandRefused):
    """The turn never asked for this approval."""

    code = "unknown-approval"

    def __init__(self, approval_id: str) -> None:
        super().__init__(f"there is no approval {approval_id}")
        self.approval_id = approval_id


class DigestMismatch(CommandRefused):
    """Other arguments were judged than those that the call would be made with."""

    code = "digest-mismatch"

    def __init__(self, approval_id: str) -> None:
        super().__init__(f"approval {approval_id} is about other arguments than those of this digest")
        self.approval_id = approval_id


class ApprovalDecided(CommandRefused):
    """Somebody decided before; a decision is made once."""

    code = "approval-decided"

    def __init__(self, approval: Approval) -> None:
        super().__init__(f"approval {approval.id} is {approval.decision} already")
        self.approval = approval
        """With the decision that stands."""


class ApprovalClosed(CommandRefused):
    """The turn was cancelled or has failed before anybody decided."""

    code = "approval-closed"

    def __init__(self, approval_id: str, *, state: TurnState) -> None:
        super().__init__(f"approval {approval_id} is not needed any more: its turn is {state.value}")
        self.approval_id = approval_id
        self.state = state


class ApprovalExpired(CommandRefused):
    """Nobody decided in time: it counts as denied."""

    code = "approval-expired"

    def __init__(self, approval_id: str) -> None:
        super().__init__(f"approval {approval_id} has expired and counts as denied")
        self.approval_id = approval_id


class NoStandingDecision(CommandRefused):
    """Whether a call with an unknown outcome is made again cannot be settled once for all calls."""

    code = "no-standing-decision"

    def __init__(self, approval_id: str) -> None:
        super().__init__(
            f"approval {approval_id} is about one call whose outcome is unknown, not about its tool"
        )
        self.approval_id = approval_id


class AlreadyCancelled(Exception):
    """The turn was cancelled before. No refusal: the caller has what they asked for, at no new revision."""

    code: ClassVar[str] = "already-cancelled"

    def __init__(self, turn_id: str) -> None:
        super().__init__(f"turn {turn_id} is cancelled already")
        self.turn_id = turn_id


class InvariantViolated(Exception):
    """A clause of the law does not hold. Our fault, never the caller's."""

    code: ClassVar[str] = "invariant-violated"

    def __init__(self, clause: str) -> None:
        super().__init__(f"does not hold: {clause}")
        self.clause = clause


class CorruptDocument(Exception):
    """Stored bytes cannot be read as what they should be."""

    code: ClassVar[str] = "corrupt-document"

    def __init__(self, *, what: str, reason: str) -> None:
        super().__init__(f"a stored {what} cannot be read: {reason}")
        self.what = what
        self.reason = reason
