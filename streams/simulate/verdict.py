"""Truth against findings: what was caught, what was missed, what was invented. No rule is looked at, only rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tieout.streams.simulate.truth import NAMES, OPEN, Healthy, Planted, Truth

Row = Mapping[str, Any]
Identity = tuple[str, str | None, str]

_STATUS: Final = {OPEN: frozenset({"OPEN", "ACK"}), "RESOLVED": frozenset({"RESOLVED_AUTO"})}
_NUMBERS: Final = {name: number for number, name in NAMES.items()}


@dataclass(frozen=True, slots=True)
class Wrong:
    """A fault that was found, but not as it is."""

    fault: Planted
    what: str


@dataclass(frozen=True, slots=True)
class Invented:
    """A finding that nobody planted, and the look-alike that it fell for, where it is one."""

    row: Row
    lookalike: Healthy | None = None


@dataclass(slots=True)
class Score:
    """The counts of one check."""

    planted: int = 0
    caught: int = 0
    false_alarms: int = 0


@dataclass(slots=True)
class Verdict:
    """The comparison; good only when every list but `caught` is empty."""

    truth: Truth
    caught: list[Planted] = field(default_factory=list)
    missed: list[Planted] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)
    invented: list[Invented] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Every planted fault caught as it is, none invented."""
        return not (self.missed or self.wrong or self.invented)

    def scores(self) -> dict[str, Score]:
        """By check, 'number NAME', in order of the number; checks that nobody planted but something found as well."""
        table: dict[str, Score] = defaultdict(Score)
        for fault in self.truth.planted:
            table[f"{fault.check} {fault.code}"].planted += 1
        for fault in self.caught:
            table[f"{fault.check} {fault.code}"].caught += 1
        for item in self.invented:
            code = str(item.row["code"])
            table[f"{_NUMBERS.get(code, '??')} {code}"].false_alarms += 1
        return dict(sorted(table.items()))

    def complaints(self) -> list[str]:
        """A sentence for everything that is not as it should be."""
        return [
            *(f"{fault.id} missed: {_name(fault)}: {fault.story}" for fault in self.missed),
            *(f"{item.fault.id} found, but {item.what}: {_name(item.fault)}" for item in self.wrong),
            *(_complaint(item) for item in self.invented),
        ]


def judge(truth: Truth, findings: Iterable[Row]) -> Verdict:
    """Compare rows of `v1.finding` with the truth. PENDING rows are not findings yet."""
    found: dict[Identity, list[Row]] = defaultdict(list)
    for row in findings:
        if row["status"] != "PENDING":
            found[str(row["code"]), row["facet"] or None, str(row["business_key"])].append(row)
    verdict = Verdict(truth)
    for fault in truth.planted:
        _judge_one(verdict, fault, found.pop((fault.code, fault.facet, fault.business_key), []))
    lookalikes = {item.business_key: item for item in truth.healthy}
    for rows in found.values():
        verdict.invented += [Invented(row, lookalikes.get(str(row["business_key"]))) for row in rows]
    return verdict


def _judge_one(verdict: Verdict, fault: Planted, rows: Sequence[Row]) -> None:
    if not rows:
        verdict.missed.append(fault)
        return
    if len(rows) > 1:
        verdict.wrong.append(Wrong(fault, f"in {len(rows)} episodes, expected one"))
        return
    row = rows[0]
    if row["status"] not in _STATUS[fault.expect]:
        verdict.wrong.append(Wrong(fault, f"{row['status']}, expected {fault.expect}"))
        return
    differing = [f"{name} is {row[name]}, expected {wanted}" for name, wanted in _amounts(fault).items()
                 if wanted is not None and row[name] != wanted]
    if differing:
        verdict.wrong.append(Wrong(fault, " and ".join(differing)))
    else:
        verdict.caught.append(fault)


def _amounts(fault: Planted) -> dict[str, Any]:
    return {"impact_s": fault.impact_s, "impact_minor": fault.impact_minor, "currency": fault.currency}


def _name(fault: Planted) -> str:
    facet = f"/{fault.facet}" if fault.facet else ""
    return f"{fault.code}{facet} of {fault.business_key}"


def _complaint(item: Invented) -> str:
    row = item.row
    facet = f"/{row['facet']}" if row["facet"] else ""
    name = f"{row['code']}{facet} of {row['business_key']}"
    why = f", fell for {item.lookalike.id}: {item.lookalike.story}" if item.lookalike else ""
    return f"invented: {name} ({row['status']}){why}"


def spread(truth: Truth) -> Counter[str]:
    """How many look-alikes there are of each kind."""
    return Counter(item.kind for item in truth.healthy)
