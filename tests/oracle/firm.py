"""A firm in the making: a capture whose events are dated by datetimes and delivered with their source's lag."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from scenarios.dsl import CRM, ERP, HCM, PSA, SCHED, TIME, Capture

START = datetime(2026, 3, 9, tzinfo=UTC)
SETUP = datetime(2026, 3, 2, 8, tzinfo=UTC)
LAG_S = {TIME: 60, PSA: 300, ERP: 1_500, SCHED: 120, HCM: 600, CRM: 240}
PRICES = {  # legal entity -> currency, an hour of SA, an hour of SC
    "UK01": ("GBP", 150, 120),
    "US01": ("USD", 200, 160),
    "JP01": ("JPY", 18_500, 14_200),
    "BH01": ("BHD", 45.125, 38.5),
}


@dataclass
class Firm(Capture):
    """A capture whose events are dated by datetimes and delivered with their source's lag."""

    random: Random = field(default_factory=Random)
    days: int = 28
    workers: list[str] = field(default_factory=list)
    projects: dict[str, str] = field(default_factory=dict)  # code -> legal entity
    opened: dict[str, datetime] = field(default_factory=dict)  # code -> when the ERP made it
    roles: dict[str, str] = field(default_factory=dict)
    staffed: list[tuple[str, str]] = field(default_factory=list)
    renamed: dict[str, tuple[datetime, str]] = field(default_factory=dict)

    def say(self, source: str, entity: str, at: datetime, op: str = "upserted", **data: Any) -> None:
        """One event of a source, delivered after its lag."""
        stamp = at.isoformat().replace("+00:00", "Z")
        arrives = (at + timedelta(seconds=LAG_S[source])).isoformat().replace("+00:00", "Z")
        self.put(source, entity, op, at=stamp, arrives=arrives, seq=f"{stamp}-{self.number:06d}", **data)

    def chance(self, share: float) -> bool:
        """True in a share of the cases."""
        return self.random.random() < share

    def later(self, at: datetime, least_h: float, most_h: float) -> datetime:
        """An instant between so many hours after `at`, on a whole minute."""
        return at + timedelta(minutes=self.random.randint(round(least_h * 60), round(most_h * 60)))

    def code(self, project: str, at: datetime) -> str:
        """What the project is called at an instant."""
        since, new = self.renamed.get(project, (at, project))
        return new if at >= since else project
