"""Whether a tool call may be made, must be asked about, or is denied: the tool's mode and the rules in force.

    mode `never`     allowed, unless a rule denies it
    mode `policy`    as the rules say; where none applies a person is asked
    mode `always`    asked about, unless a decision was made for good, or a rule denies it

Of the rules that apply, one that denies outweighs one that asks, and that outweighs one that allows.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from api.agents.definition import ApprovalMode


class RuleAction(StrEnum):
    """What a rule says of the calls that it applies to."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an organization has settled about a tool."""

    tool: str
    action: RuleAction
    arguments_schema: dict[str, Any] | None = None
    """A JSON Schema: the rule applies to calls whose arguments satisfy it; None: to any arguments."""
    cost_max: Decimal | None = None
    """The rule applies to tools whose declared cost is known and at most this; None: to any cost."""
    is_standing: bool = False
    """Made by a decision about one call that was to hold for good."""


Satisfies = Callable[[Mapping[str, Any], Mapping[str, Any]], bool | None]
"""Whether arguments (the second) satisfy a JSON Schema (the first); None when that cannot be judged."""


def decide_by_rules(
    tool_name: str,
    approval_mode: ApprovalMode,
    arguments: Mapping[str, Any],
    cost: Decimal | None,
    rules: Iterable[Rule],
    *,
    satisfies: Satisfies,
) -> RuleAction:
    """Judge one call by its tool's mode and the organization's rules.

    `cost` is what the tool's definition says that a call costs; None is unknown. A rule whose schema cannot
    be judged asks, whatever it says: nobody is to be allowed, or refused, by mistake.
    """
    said: set[RuleAction] = set()
    for rule in rules:
        applies = _applies(rule, tool_name, arguments, cost, satisfies)
        if applies is None:
            said.add(RuleAction.ASK)
        elif applies and (approval_mode is not ApprovalMode.ALWAYS or _binds_always(rule)):
            said.add(rule.action)
    if RuleAction.DENY in said:
        return RuleAction.DENY
    if approval_mode is ApprovalMode.NEVER:
        return RuleAction.ALLOW
    if RuleAction.ASK in said or RuleAction.ALLOW not in said:
        return RuleAction.ASK
    return RuleAction.ALLOW


def _binds_always(rule: Rule) -> bool:
    """Where a tool always asks, a rule may allow nothing that no person has seen."""
    return rule.is_standing or rule.action is not RuleAction.ALLOW


def _applies(
    rule: Rule, tool_name: str, arguments: Mapping[str, Any], cost: Decimal | None, satisfies: Satisfies
) -> bool | None:
    if rule.tool != tool_name:
        return False
    if rule.cost_max is not None and (cost is None or cost > rule.cost_max):
        return False
    return True if rule.arguments_schema is None else satisfies(rule.arguments_schema, arguments)
