"""What a fault run found, and the table of many: markdown and JSON under build/."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from typing import Final

COLUMNS: Final = (
    "scenario", "runs", "seeds", "events in", "kills", "rebalances", "broker faults", "lost", "twice",
    "KPI error (cents)", "audit instants", "recovery p50 (s)", "p95", "max", "recoveries",
)  # fmt: skip


@dataclass(slots=True)
class Figures:
    """One run. `lost` and `twice`: events and rows, by the replay and by independent count. `recoveries` in seconds."""

    scenario: str
    seed: int
    events: int = 0
    lost: int = 0
    twice: int = 0
    cents: int = 0  # largest KPI error of any audit instant
    instants: int = 0
    kills: int = 0
    rebalances: int = 0
    brokers: int = 0
    recoveries: list[float] = field(default_factory=list)
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)  # what differs, for people

    @property
    def good(self) -> bool:
        """Whether nothing is lost, nothing twice, and no instant was off by a cent."""
        return not (self.lost or self.twice or self.cents or self.wrong)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all does not exceed; 0.0 of none."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0.0


def row(name: str, runs: Sequence[Figures]) -> list[str]:
    """One line of the table, in the order of COLUMNS."""
    took = [each for run in runs for each in run.recoveries]
    counts = [sum(getattr(run, of) for run in runs) for of in ("events", "kills", "rebalances", "brokers")]
    losses = [sum(run.lost for run in runs), sum(run.twice for run in runs), max(run.cents for run in runs)]
    times = [f"{quantile(took, share):.1f}" if took else "" for share in (0.5, 0.95, 1.0)]
    found = [len(runs), len({run.seed for run in runs}), *counts, *losses, sum(run.instants for run in runs)]
    return [name, *map(str, found), *times, str(len(took))]


def markdown(runs: Iterable[Figures]) -> str:
    """The table, a line a scenario and one of all."""
    by_name: dict[str, list[Figures]] = {}
    for run in runs:
        by_name.setdefault(run.scenario, []).append(run)
    lines = [row(name, found) for name, found in by_name.items()]
    if by_name:
        lines.append(row("all", [run for found in by_name.values() for run in found]))
    head = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    return "\n".join([*head, *("| " + " | ".join(line) + " |" for line in lines)]) + "\n"


def write(folder: Path, runs: Sequence[Figures]) -> None:
    """faults.json and faults.md; runs of earlier calls stay in the JSON, one with the same scenario and seed goes."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "faults.json"
    known = [Figures(**each) for each in json.loads(file.read_text())] if file.exists() else []
    fresh = {(run.scenario, run.seed) for run in runs}
    merged = [*(run for run in known if (run.scenario, run.seed) not in fresh), *runs]
    file.write_text(json.dumps([asdict(run) for run in merged], indent=1) + "\n", encoding="utf-8")
    (folder / "faults.md").write_text(markdown(merged), encoding="utf-8")
