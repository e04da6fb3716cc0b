"""What a run must find and must not find, written down before it starts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from tieout.streams.simulate.instants import ENDS_AT, STARTS_AT, iso

SCHEMA: Final = "tieout.truth/v1"
NAMES: Final = {
    "02": "PROJECT_NOT_SYNCED",
    "16": "ASSIGNMENT_NOT_REFLECTED",
    "17": "ASSIGNMENT_PLAN_DRIFT",
    "21": "RATE_MISSING",
    "22": "RATE_MISMATCH",
    "23": "RATE_AMBIGUOUS",
    "27": "TIME_LATE_TO_ERP",
    "28": "TIME_QTY_MISMATCH",
    "29": "TIME_WITHOUT_ASSIGNMENT",
    "30": "TIME_OUTSIDE_ASSIGNMENT",
    "31": "TIME_DUPLICATE",
    "36": "INVOICE_DUPLICATE",
    "41": "SOURCE_STALE",
    "42": "CDC_GAP",
    "43": "SCHEMA_INCOMPATIBLE",
}
OPEN: Final = "OPEN"  # still there when the four weeks end
RESOLVED: Final = "RESOLVED"  # opened, then healed by what the source did


@dataclass(frozen=True, slots=True)
class Planted:
    """A fault that must be found: exactly one finding with this identity, and this much of it where it is stated."""

    id: str
    check: str
    code: str
    facet: str | None
    business_key: str
    story: str
    expect: str = OPEN
    impact_s: int | None = None
    impact_minor: int | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Healthy:
    """Something that looks like a fault and is none: no finding may name its key."""

    id: str
    kind: str
    business_key: str
    story: str


@dataclass(slots=True)
class Truth:
    """The truth file."""

    seed: int
    planted: list[Planted] = field(default_factory=list)
    healthy: list[Healthy] = field(default_factory=list)

    def plant(self, check: str, facet: str | None, business_key: str, story: str, expect: str = OPEN, *,
              impact_s: int | None = None, impact_minor: int | None = None, currency: str | None = None) -> None:
        """Write down a fault."""
        number = f"F{len(self.planted) + 1:02d}"
        self.planted.append(Planted(number, check, NAMES[check], facet, business_key, story, expect, impact_s,
                                    impact_minor, currency))

    def spare(self, kind: str, business_key: str, story: str) -> None:
        """Write down a healthy look-alike."""
        self.healthy.append(Healthy(f"H{len(self.healthy) + 1:02d}", kind, business_key, story))

    def document(self) -> dict[str, Any]:
        """The file's content."""
        return {
            "schema": SCHEMA, "seed": self.seed, "starts_at": iso(STARTS_AT), "ends_at": iso(ENDS_AT),
            "planted": [asdict(item) for item in self.planted],
            "healthy": [asdict(item) for item in self.healthy],
        }

    @classmethod
    def of(cls, document: dict[str, Any]) -> Truth:
        """The truth that `document` wrote; ValueError on another schema."""
        if document.get("schema") != SCHEMA:
            raise ValueError(f"truth file of schema {document.get('schema')!r}, expected {SCHEMA!r}: "
                             "write it anew with `tieout run simulate`")
        return cls(document["seed"], [Planted(**item) for item in document["planted"]],
                   [Healthy(**item) for item in document["healthy"]])
