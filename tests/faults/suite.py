"""The fault suite in its long form: `make faults`, or `python -m faults.suite` in tests/.

Parameters by environment, each after TIEOUT_TEST_FAULT_: SCENARIOS (names with commas; all), SEEDS ("7", "1-10"; 1-3),
HARD (how much of each; 2), SECONDS (begin no further run after so many; none), OUT (a folder; build). A run that fails
is printed with its seed, and its folder with all logs stays.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from brokers import ROOT, KafkaCluster, Unavailable
from faults.figures import Figures, markdown, write
from faults.ingest_runs import INGEST_SCENARIOS
from faults.ingest_runs import play as play_ingest
from faults.scenarios import SCENARIOS, play

HARD = int(os.environ.get("TIEOUT_TEST_FAULT_HARD", "2"))


def seeds(text: str) -> list[int]:
    """Seeds of "7", "1-10" or "3,5"."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def wanted() -> Iterator[tuple[str, int]]:
    """(scenario, seed), all scenarios of a seed before the next one's."""
    known = [*SCENARIOS, *INGEST_SCENARIOS]
    names = [name.strip() for name in os.environ.get("TIEOUT_TEST_FAULT_SCENARIOS", ",".join(known)).split(",")]
    if unknown := set(names) - set(known):
        raise SystemExit(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for seed in seeds(os.environ.get("TIEOUT_TEST_FAULT_SEEDS", "1-3")):
        yield from ((name, seed) for name in names)


def ready(cluster: KafkaCluster) -> None:
    """All brokers up, no topics."""
    for node in cluster.nodes:
        if node.process is None or node.process.poll() is not None:
            node.start()
    cluster.wait()
    cluster.clean()


def attempt(cluster: KafkaCluster, name: str, seed: int, hard: int = HARD) -> Figures:
    """One run; what stops it from ending is what is wrong with it."""
    ready(cluster)
    folder = Path(tempfile.mkdtemp(prefix=f"tieout-faults-{name.replace(' ', '-')}-{seed}-"))
    one = play if name in SCENARIOS else play_ingest
    try:
        figures = one(cluster, folder, name, seed, hard)
    except Exception as error:
        traceback.print_exc()
        figures = Figures(name, seed, wrong=[f"{type(error).__name__}: {error}"[:2_000]])
    if figures.good:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"what was left of it: {folder}")
    return figures


def main() -> int:
    out = Path(os.environ.get("TIEOUT_TEST_FAULT_OUT", str(ROOT / "build")))
    runs: list[Figures] = []
    try:
        with KafkaCluster(3) as cluster:
            ends_s = time.monotonic() + float(os.environ.get("TIEOUT_TEST_FAULT_SECONDS", "inf"))
            for name, seed in wanted():
                if time.monotonic() > ends_s:
                    break
                runs.append(attempt(cluster, name, seed))
                print(f"seed {seed}: {runs[-1]}", flush=True)
                write(out, runs)
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 4
    print(f"\n{markdown(runs)}\nwritten to {out / 'faults.md'} and {out / 'faults.json'}, with those of earlier calls")
    return 0 if all(run.good for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
