"""The catalogue: all checks in one visible tuple. A new check is one function and one line."""

from __future__ import annotations

from typing import Final

from tieout.reconcilers.findings import Rule
from tieout.reconcilers.rules import assignments, projects, rates, time

RULES: Final[tuple[Rule, ...]] = projects.RULES + assignments.RULES + rates.RULES + time.RULES
