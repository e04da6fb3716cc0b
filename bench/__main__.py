"""`python -m bench`: changes a second through the worker, a plain loop and an ordinary Faust app, in one run.

All three call the same reconcilers on the same four weeks of the simulator's firm, framed as ingest frames a backlog.
What counts is the time outside the reconcilers: what durability, framework and broker cost a change. It is judged by
processor time; wall clock says something only where nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.frames import prefill, story_frames
from tieout.streams.embedded import EmbeddedBroker
from tieout.streams.frames import Outgoing
from tieout.streams.handover import EXIT_AGAIN
from tieout.streams.settings import Kafka, Settings

sys.path.append(str(Path(__file__).parents[1] / "tests"))

CONTENDERS = {
    "checkpointed": "worker",
    "plain": "plain loop",
    "ordinary": "ordinary Faust",
}
GOAL = 1 / 20  # of the ordinary app's time outside the reconcilers
_LIMIT_S = 600


def main() -> int:
    options = _options()
    frames = story_frames(options.partitions)
    rounds = [_round(options, frames, number) for number in range(options.rounds)]
    judged = [_judged(results) for _, results in rounds]
    machine = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    about = {"broker": rounds[0][0], "partitions": options.partitions, "rounds": options.rounds, **machine}
    report = {
        **about, "goal": GOAL,
        "contenders": {name: _median([each["contenders"][name] for each in judged]) for name in CONTENDERS},
        **{f"ratios_{clock}": [each[f"ratio_{clock}"] for each in judged] for clock in ("wall", "cpu")},
    }
    _print(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if median(report["ratios_cpu"]) <= GOAL else 1


def _round(options: argparse.Namespace, frames: list[Outgoing], number: int) -> tuple[str, dict[str, dict[str, Any]]]:
    """The broker's name, and what each contender measured on it; each is first in turn, as a new broker is slow."""
    first = number % len(CONTENDERS)
    order = [*list(CONTENDERS)[first:], *list(CONTENDERS)[:first]]
    with broker(options.broker) as (name, bootstrap, embedded):
        settings = Settings(kafka=Kafka(client={"bootstrap.servers": bootstrap}, partitions=options.partitions))
        events = prefill(settings, frames, embedded)
        return name, {contender: _run(contender, events, settings) for contender in order}


def _median(measured: list[dict[str, Any]]) -> dict[str, Any]:
    """Each figure's median over the rounds."""
    return {name: median(each[name] for each in measured) for name in measured[0]}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--broker", choices=["kafka", "embedded"], help="default: Apache Kafka where it can run")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3, help="run all this often, and take medians")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    return parser.parse_args()


@contextmanager
def broker(wanted: str | None) -> Iterator[tuple[str, str, EmbeddedBroker | None]]:
    """(name, address, the broker itself where it is embedded)."""
    from brokers import KafkaCluster, Unavailable

    if wanted != "embedded":
        try:
            with KafkaCluster(1, heap_mb=768, quick=False) as cluster:
                yield "Apache Kafka", cluster.bootstrap, None
                return
        except Unavailable as error:
            if wanted == "kafka":
                raise
            print(f"embedded broker instead of Apache Kafka: {error}", file=sys.stderr)
    with EmbeddedBroker() as broker:
        yield "embedded", broker.bootstrap, broker


def _run(contender: str, events: int, settings: Settings) -> dict[str, Any]:
    print(f"running: {CONTENDERS[contender]}", file=sys.stderr)
    environment = {
        **os.environ,
        "TIEOUT_KAFKA__CLIENT__BOOTSTRAP_SERVERS": str(settings.kafka.client["bootstrap.servers"]),
        "TIEOUT_KAFKA__PARTITIONS": str(settings.kafka.partitions),
        "TIEOUT_OPS__PORT": "0",
        "TIEOUT_LOG__LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", f"bench.{contender}", str(events)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=_LIMIT_S, check=False)
    if not done.stdout or done.returncode not in (0, EXIT_AGAIN):  # which says that its end, not measured, was slow
        raise subprocess.CalledProcessError(done.returncode, command)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _judged(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One round with what follows from it: a ratio compares the runs of one round, never medians of all."""
    for result in results.values():
        for clock in ("wall", "cpu"):
            outside_s = result[f"{clock}_s"] - result[f"inside_{clock}_s"]
            result[f"outside_{clock}_us"] = outside_s / result["changes"] * 1e6
        result["changes_per_s"] = result["changes"] / result["wall_s"]
    ours, theirs = results["checkpointed"], results["ordinary"]
    ratios = {f"ratio_{c}": ours[f"outside_{c}_us"] / theirs[f"outside_{c}_us"] for c in ("wall", "cpu")}
    return {"contenders": results, **ratios}


def _print(report: dict[str, Any]) -> None:
    table = Table(title=f"{report['broker']}, {report['partitions']} partitions, {report['cores']} cores")
    for column in ("µs a change", "changes/s", "inside", "to rows", "outside", "processor"):
        table.add_column(column, justify="left" if column == "µs a change" else "right")
    for name, result in report["contenders"].items():
        inside, rows = (result[part] / result["changes"] * 1e6 for part in ("inside_wall_s", "rows_cpu_s"))
        figures = (result["changes_per_s"], inside, rows, result["outside_wall_us"], result["outside_cpu_us"])
        table.add_row(CONTENDERS[name], *(f"{figure:,.1f}" for figure in figures))
    console = Console()
    console.print(table)
    console.print("outside the reconcilers by wall clock and by processor time; to rows: of the inside")
    if report["load"] > report["cores"] + 1:
        console.print(f"other things run here (load {report['load']}): wall clock says little")
    for clock, words in (("wall", "wall clock"), ("cpu", "processor time")):
        ratios = report[f"ratios_{clock}"]
        each = f"; round by round {', '.join(map(_inverse, ratios))}" if len(ratios) > 1 else ""
        found = f"{_inverse(median(ratios))} of ordinary Faust (goal {_inverse(GOAL)}{each})"
        console.print(f"outside the reconcilers, {words}: {found}")


def _inverse(ratio: float) -> str:
    return f"1/{1 / max(ratio, 1e-9):.3g}"


if __name__ == "__main__":
    sys.exit(main())
