"""Ingest, worker and sink in one process, from a seed: whatever dies, is repeated or overtakes, answers are the same.

`make simulate SEED=1 N=1000` runs seeds from 1 on and prints those that fail; such a seed fails again in the same way.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import orjson
from simulation import roles
from simulation.roles import Ingest, Sink, Worker
from simulation.tiny import capture
from simulation.world import Crash, Partition, World

from tieout.codecs.framing import unframe
from tieout.codecs.records import RawRecord
from tieout.reconcilers.outcomes import Output
from tieout.schemas import avsc
from tieout.streams.sinks.decode import decode_one
from tieout.streams.survey import survey
from tieout.streams.topics import output_topic

FIRMS: Final = 200
STEPS: Final = 100_000  # of roles, in a run; a few hundred are the rule, more where a worker is slow and dies often
A_LOOK: Final = 10  # steps between two looks at whether all is done: a look costs as much as most steps
OF_THE_MOMENT: Final = ("updated_at", "version", "opened_at", "as_of", "complete_through")  # when it was noticed
# KPIs made of detection instants or of the way that the records took.
OF_THE_WAY: Final = (
    "mttd", "mttr", "sync_lag", "inflight_mismatches", "duplicates_suppressed", "events", "open_findings", "exposure",
)  # fmt: skip
EVENTS: Final = (output_topic(Output.BILLING_DECISION), output_topic(Output.FINDING_EVENTS))

Answers = dict[tuple[str, ...], Any]
Rows = Mapping[tuple[str, bytes | None], bytes | None]


class Kinds(NamedTuple):
    """The classes of the roles; a planted bug replaces one."""

    worker: type[Worker] = Worker
    sink: type[Sink] = Sink


class Ended(NamedTuple):
    """The roles of a run that has come to its end."""

    workers: list[Worker]
    sink: Sink


class Outcome(NamedTuple):
    """What a seed came to: differing answers or the assertion that failed, and the points at which a role died."""

    seed: int
    wrong: str
    crashed: Counter[str]


def simulate(seed: int, kinds: Kinds = Kinds()) -> Outcome:  # noqa: B008  an immutable default
    """Run a seed; `wrong` is empty when it ended as the undisturbed run of its firm did."""
    chance = Random(seed)
    firm = seed % FIRMS
    world = World(chance, chance.choice((0.0, 0.002, 0.01, 0.04)), atomic=chance.random() < 0.7, wide=roles.WIDE)
    try:
        raw = _delivered(firm, chance)
        ended = _run(world, raw, firm, kinds)
        if world.atomic:
            wrong = _differences(undisturbed(firm), answers(ended.sink.rows)) or _twice(world)
            wrong = wrong or _miscounted(raw, ended.sink.rows)
        else:  # what its outputs show of a checkpoint that was lost is not taken back: the tables have to be right
            whole, found = undisturbed(firm), held(ended.workers)
            passing = {key for key, row in whole.items()
                       if key[0] == "kpi" or row.get("status") == "SUPPRESSED" or row.get("code") == "CDC_GAP"}
            wrong = _differences(*({key: rows[key] for key in rows.keys() - passing} for rows in (whole, found)))
    except Exception as error:  # a role that raises would end its process, and so would the one after it
        at = traceback.extract_tb(error.__traceback__)[-1]
        wrong = f"{type(error).__name__}: {error} ({Path(at.filename).name}, line {at.lineno})"
    if wrong and not world.atomic:
        wrong = f"(embedded broker) {wrong}"
    return Outcome(seed, wrong, world.crashed)


@cache
def undisturbed(firm: int) -> Answers:
    """The answers of a firm when everything comes in order and nobody dies."""
    return answers(natural(firm).sink.rows)


def natural(firm: int) -> Ended:
    """A firm's run in which nobody dies and nothing is repeated."""
    raw: dict[Partition, list[RawRecord]] = defaultdict(list)
    for record in capture(firm):
        raw[record.topic, record.partition].append(record)
    return _run(World(Random(0), 0.0, atomic=True, wide=roles.WIDE), raw, firm, Kinds())


def _delivered(firm: int, chance: Random) -> dict[Partition, list[RawRecord]]:
    """The raw topics as a connector that restarts now and then writes them: some records once more, further on."""
    raw: dict[Partition, list[RawRecord]] = defaultdict(list)
    share = chance.choice((0.0, 0.05, 0.3))
    for record in capture(firm):
        records = raw[record.topic, record.partition]
        records.append(record)
        if chance.random() < share:
            records += records[chance.randrange(max(0, len(records) - 8), len(records)) :]
    return {at: [each._replace(offset=n) for n, each in enumerate(records)] for at, records in raw.items()}


@cache
def _sources(firm: int) -> dict[str, list[str]]:
    return survey(list(capture(firm)), {}, roles.READING).sources()


def _run(world: World, raw: dict[Partition, list[RawRecord]], firm: int, kinds: Kinds) -> Ended:
    with roles.wired(world):
        ingest = Ingest(world, dict(raw), _sources(firm))
        workers = [kinds.worker(world, roles.PLACES), kinds.worker(world, ())]
        sink = kinds.sink(world)
        actors: list[Ingest | Worker | Sink] = [ingest, *workers, sink]
        speeds = list(accumulate(world.chance.choice((1, 1, 5, 20)) for _ in actors))
        for step in range(STEPS):
            if step % A_LOOK == 0 and ingest.done and all(worker.done for worker in workers) and sink.done:
                return Ended(workers, sink)
            actor = world.chance.choices(actors, cum_weights=speeds)[0]
            try:
                _rebalance(world, workers)
                if not (isinstance(actor, Ingest) and actor.done) and not (isinstance(actor, Worker) and actor.idle):
                    actor.step()
            except Crash:
                actor.die()
    raise AssertionError(f"not at an end after {STEPS} steps")


def _rebalance(world: World, workers: list[Worker]) -> None:
    """Now and then a place changes hands; the embedded broker has one worker."""
    if not world.atomic or world.chance.random() > 0.01:
        return
    here, there = world.chance.sample(workers, 2)
    if here.places:
        place = world.chance.choice(here.places)
        there.places.append(place)
        try:
            here.give(place, orderly=world.chance.random() < 0.6)
        except Crash:
            here.die()


def answers(rows: Rows) -> Answers:
    """What the sink's rows say, less the moment at which it was noticed."""
    found: Answers = {}
    for row in _decoded(rows, Output.KPI_STATE):
        _add(found, row)
    for row in _decoded(rows, Output.TIME_ENTRY_STATE):
        _entry(found, row)
    for row in _decoded(rows, Output.FINDING_STATE):
        _finding(found, row)
    return {key: value for key, value in found.items() if value != (0, 0)}


def held(workers: list[Worker]) -> Answers:
    """What the states say that the workers would publish from."""
    found: Answers = {}
    for state in (state for worker in workers for state in worker.states()):
        for rows in state.rows.values():
            for row in rows.values():
                _entry(found, row)
        for finding in state.lives.findings.values():
            if finding.row:
                _finding(found, finding.row)
    return found


def _decoded(rows: Rows, output: Output) -> Iterator[dict[str, Any]]:
    topic, schema = output_topic(output), avsc(output.value)
    for (name, _), value in rows.items():
        if name == topic and value is not None:
            yield decode_one(schema, unframe(value).payload)


def _entry(found: Answers, row: dict[str, Any]) -> None:
    """A row that says nothing any more may be kept or not."""
    if row["state"] != "VOID" or any(value for name, value in row.items() if name.endswith("_s")):
        found["entry", row["entry_key"], row["project_code"]] = _steady(row)


def _finding(found: Answers, row: Mapping[str, Any]) -> None:
    if row["code"] != "SOURCE_STALE":
        found["finding", row["code"], row["facet"] or "", row["business_key"], str(row["episode"])] = _steady(row)


def _steady(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in OF_THE_MOMENT}


def _add(found: Answers, cell: dict[str, Any]) -> None:
    """KPI cells are sums over partitions."""
    if cell["kpi"] in OF_THE_WAY:
        return
    key = ("kpi", *(str(value) for name, value in sorted(_steady(cell).items()) if name not in _SUMS))
    numerator, denominator = found.get(key, (0, 0))
    found[key] = (numerator + cell["numerator"], denominator + (cell["denominator"] or 0))


_SUMS: Final = ("numerator", "denominator", "axis", "partition", "cell_id", "key")


def _differences(expected: Answers, found: Answers) -> str:
    for key in sorted(expected.keys() | found.keys()):
        left, right = expected.get(key), found.get(key)
        if left != right:
            if isinstance(left, dict) and isinstance(right, dict):
                fields = {name: (left[name], right[name]) for name in left if left[name] != right.get(name)}
                return f"{' '.join(key)}: {fields}"
            return f"{' '.join(key)}: expected {left}, found {right}"
    return ""


def _twice(world: World) -> str:
    """An event that a reader of committed records meets twice."""
    ids = Counter(
        dict(record.headers())["ce_id"] for topic in EVENTS for record in world.whole(topic)
    )
    return next((f"event {event.decode()} {times} times" for event, times in ids.items() if times > 1), "")


def _miscounted(raw: Mapping[Partition, list[RawRecord]], rows: Rows) -> str:
    """A source object of which more or less was counted than was delivered, repeats of its connector included."""
    events = [orjson.loads(record.value or b"") for records in raw.values() for record in records]
    sent = Counter((event["source"], event["type"].split(".")[1]) for event in events
                   if ".observed" not in event["type"])
    found = {(row["source"], row["object"]): row["received"] for row in _decoded(rows, Output.SOURCE_STATE)
             if row["object"] != "*"}
    return "" if found == sent else f"received {found}, delivered {dict(sent)}"


def sweep(seeds: Iterable[int], jobs: int, run: Callable[[int], Outcome] = simulate) -> Iterator[Outcome]:
    """Outcomes of many seeds, over processes."""
    if jobs == 1:
        yield from map(run, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(run, seeds, chunksize=20)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--n", type=int, default=1_000)
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    begun, crashed, failed, runs = time.monotonic(), Counter[str](), 0, 0
    for outcome in sweep(range(chosen.seed, chosen.seed + chosen.n), chosen.jobs):
        runs += 1
        crashed += outcome.crashed
        if outcome.wrong:
            failed += 1
            print(f"seed {outcome.seed}: {outcome.wrong}\n  again: make simulate SEED={outcome.seed} N=1", flush=True)
    took = time.monotonic() - begun
    print(f"{runs} seeds in {took:.0f} s ({runs / took * 60:,.0f} a minute), {failed} failed")
    for point, times in crashed.most_common():
        print(f"  died {times:>8,} times: {point}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
