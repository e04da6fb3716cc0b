"""The order of arrival does not matter: twenty interleavings of one capture, with repetitions, end in the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from oracle.generate import end_of, generate
from oracle.replaying import records, replay

ORDERS = 20
REPEATED = 0.1  # share of the lines that are delivered twice
ENTRIES = "SELECT * EXCLUDE (updated_at) FROM v1.time_entry ORDER BY ALL"
FINDINGS = """SELECT * EXCLUDE (opened_at, updated_at) FROM v1.finding WHERE code <> 'SOURCE_STALE' ORDER BY ALL"""
STALE = "SELECT business_key, status FROM v1.finding WHERE code = 'SOURCE_STALE' AND status = 'OPEN' ORDER BY ALL"
# KPIs made of detection instants or of the way that the lines took.
OF_THE_WAY = (
    "mttd",
    "mttr",
    "sync_lag",
    "inflight_mismatches",
    "duplicates_suppressed",
    "events",
    "open_findings",
    "exposure",
)
KPIS = f"""SELECT kpi, measure, le_code, region, practice, project_code, billing_cycle_id, currency, state, hold_code,
    value, numerator, denominator
    FROM v1.kpi WHERE kpi NOT IN {OF_THE_WAY} ORDER BY ALL"""

Answers = dict[str, list[tuple[Any, ...]]]


def interleaving(topics: list[str], seed: int) -> list[int]:
    """Positions of lines in another order: each topic at its own speed, its lines in order, some repeated."""
    random = Random(seed)
    waiting = {topic: [n for n, name in enumerate(topics) if name == topic] for topic in sorted(set(topics))}
    speed = {topic: random.choice((0.2, 1.0, 5.0)) for topic in waiting}
    heads = dict.fromkeys(waiting, 0)
    order: list[int] = []
    while left := [topic for topic, head in heads.items() if head < len(waiting[topic])]:
        topic = random.choices(left, [speed[name] * len(waiting[name]) for name in left])[0]
        order.append(waiting[topic][heads[topic]])
        heads[topic] += 1
        if random.random() < REPEATED:
            again = random.randrange(max(0, heads[topic] - 50), heads[topic])
            order.append(waiting[topic][again])
    return order


def answers(database: Path) -> Answers:
    """What the store says, less detection instants."""
    with duckdb.connect(str(database), read_only=True) as con:
        return {
            name: con.execute(query).fetchall()
            for name, query in (("time_entry", ENTRIES), ("finding", FINDINGS), ("stale", STALE), ("kpi", KPIS))
        }


@pytest.fixture(scope="module")
def firm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, list[str], Answers]:
    """A capture, where its clock ends, the topic of each line, and its answers in the order of capture."""
    made = generate(seed=5, entries=30, days=14, stated_every_h=24)
    folder = tmp_path_factory.mktemp("orders")
    capture = made.write(folder / "capture.jsonl")
    replay(capture, folder / "captured.duckdb", until=end_of(made))
    topics = [json.loads(line)["topic"] for line in capture.read_text(encoding="utf-8").splitlines()]
    return capture, end_of(made), topics, answers(folder / "captured.duckdb")


def test_the_capture_says_something(firm: tuple[Path, str, list[str], Answers]) -> None:
    """The answers that are compared are not empty, and findings were opened and healed on the way."""
    found = firm[3]
    assert len(found["time_entry"]) >= 20
    assert len(found["kpi"]) >= 10
    statuses = {value for row in found["finding"] for value in row if isinstance(value, str)}
    assert {"OPEN", "RESOLVED_AUTO"} <= statuses


def test_the_capture_re_keys_a_project(firm: tuple[Path, str, list[str], Answers]) -> None:
    """A re-key takes effect as of its commit, so it is among what arrives in any order."""
    assert "tieout.project.rekeyed" in firm[0].read_text(encoding="utf-8")


def test_the_orders_differ(firm: tuple[Path, str, list[str], Answers]) -> None:
    """No two orders are alike, each moves lines far, and deadlines fall between other lines than before."""
    capture, _, topics, _ = firm
    orders = [interleaving(topics, seed) for seed in range(ORDERS)]
    assert len({tuple(order) for order in orders}) == ORDERS
    stamps = [record.ts_ms for record in records(capture)]
    for order in orders:
        assert len(order) > len(topics)
        assert set(order) == set(range(len(topics)))
        ahead = sum(
            clock - stamps[position] > 4 * 3_600_000
            for position, clock in zip(order, clocks(order, stamps), strict=True)
        )
        assert ahead > len(order) // 10, (
            "hardly a line comes more than four hours, the commonest grace, behind the clock"
        )


def clocks(order: list[int], stamps: list[int]) -> Iterator[int]:
    """The processing instant at each line: the largest timestamp so far."""
    now = 0
    for position in order:
        now = max(now, stamps[position])
        yield now


@pytest.mark.parametrize("seed", range(ORDERS))
def test_an_order(seed: int, firm: tuple[Path, str, list[str], Answers], tmp_path: Path) -> None:
    """Another order, the same answers."""
    capture, until, topics, expected = firm
    replay(capture, tmp_path / "shuffled.duckdb", until=until, order=interleaving(topics, seed))
    found = answers(tmp_path / "shuffled.duckdb")
    for name, rows in expected.items():
        missing, extra = (
            [row for row in rows if row not in found[name]],
            [row for row in found[name] if row not in rows],
        )
        assert (missing, extra) == ([], []), name
