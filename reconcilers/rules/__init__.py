"""The catalogue: all checks in one visible tuple. A new check is one function and one line."""

from __future__ import annotations

from typing import Final

from tieout.reconcilers.findings import Rule
from tieout.reconcilers.policy import Policy
from tieout.reconcilers.rules import assignments, duplicates, invoices, outside, projects, rates, time

RULES: Final[tuple[Rule, ...]] = (projects.RULES + assignments.RULES + rates.RULES + time.RULES + outside.RULES
                                  + duplicates.RULES + invoices.RULES)
WORKER_RULES: Final[tuple[Rule, ...]] = duplicates.WORKER_RULES  # of the worker axis


def in_force(rules: tuple[Rule, ...], policy: Policy) -> tuple[Rule, ...]:
    """The rules that the firm wants."""
    return tuple(rule for rule in rules if rule.code not in policy.checks_off)
