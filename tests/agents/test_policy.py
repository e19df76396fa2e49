"""What the rules make of a call, by the mode of its tool."""

from decimal import Decimal
from typing import Any

import pytest

from api.agents.definition import ApprovalMode
from api.agents.policy import Rule, RuleAction, decide_by_rules

ALLOW, ASK, DENY = RuleAction.ALLOW, RuleAction.ASK, RuleAction.DENY
NEVER, POLICY, ALWAYS = ApprovalMode.NEVER, ApprovalMode.POLICY, ApprovalMode.ALWAYS


def rule(action: RuleAction, **fields: Any) -> Rule:
    return Rule(**{"tool": "refund", "action": action} | fields)


def has_small_amount(schema: Any, arguments: Any) -> bool | None:
    """A judge that knows one schema only."""
    return arguments["amount"] <= schema["maximum"] if "maximum" in schema else None


def judged(mode: ApprovalMode, *rules: Rule, amount: int = 5, cost: str | None = None) -> RuleAction:
    return decide_by_rules(
        "refund",
        mode,
        {"amount": amount},
        None if cost is None else Decimal(cost),
        rules,
        satisfies=has_small_amount,
    )


STANDING = {"is_standing": True}

TABLE: list[tuple[ApprovalMode, list[Rule], RuleAction]] = [
    (POLICY, [], ASK),
    (POLICY, [rule(ALLOW)], ALLOW),
    (POLICY, [rule(ASK)], ASK),
    (POLICY, [rule(DENY)], DENY),
    (POLICY, [rule(ALLOW), rule(ASK)], ASK),
    (POLICY, [rule(DENY), rule(ASK), rule(ALLOW)], DENY),
    (POLICY, [rule(ALLOW, **STANDING)], ALLOW),
    (POLICY, [rule(ALLOW, tool="another")], ASK),
    (ALWAYS, [], ASK),
    (ALWAYS, [rule(ALLOW)], ASK),
    (ALWAYS, [rule(ALLOW, **STANDING)], ALLOW),
    (ALWAYS, [rule(ALLOW, **STANDING), rule(ASK)], ASK),
    (ALWAYS, [rule(ALLOW, **STANDING), rule(DENY)], DENY),
    (NEVER, [], ALLOW),
    (NEVER, [rule(ASK)], ALLOW),
    (NEVER, [rule(DENY)], DENY),
    (NEVER, [rule(DENY, **STANDING)], DENY),
]


@pytest.mark.parametrize(("mode", "rules", "action"), TABLE)
def test_the_mode_and_the_rules_decide(mode: ApprovalMode, rules: list[Rule], action: RuleAction) -> None:
    assert judged(mode, *rules) is action
    assert judged(mode, *reversed(rules)) is action


def test_a_rule_with_a_schema_applies_to_arguments_that_satisfy_it() -> None:
    small = rule(ALLOW, arguments_schema={"maximum": 10})

    assert judged(POLICY, small, amount=10) is ALLOW
    assert judged(POLICY, small, amount=11) is ASK


@pytest.mark.parametrize("action", [ALLOW, DENY])
def test_a_schema_that_cannot_be_judged_asks(action: RuleAction) -> None:
    assert judged(POLICY, rule(ALLOW), rule(action, arguments_schema={})) is ASK


@pytest.mark.parametrize(
    ("cost", "action"), [(None, ASK), ("0.5", ALLOW), ("0.50", ALLOW), ("0.51", ASK), ("0", ALLOW)]
)
def test_a_rule_with_a_limit_applies_to_costs_that_are_known(cost: str | None, action: RuleAction) -> None:
    assert judged(POLICY, rule(ALLOW, cost_max=Decimal("0.5")), cost=cost) is action
