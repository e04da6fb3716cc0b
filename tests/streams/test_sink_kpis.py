"""The KPI views recompute from rows what the stream says in cells, to the cent, on any number of partitions."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import product
from string import ascii_uppercase
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sink_rows import DAY, NOW, entry, finding, source

from tieout.reconcilers.entities import Axis
from tieout.reconcilers.kpis import Amount, Cell, Cells, Contribution, exposure_of_entry, of_entry, of_finding
from tieout.reconcilers.outcomes import Outcome
from tieout.reconcilers.quantities import exponent
from tieout.streams.sinks.catalogue import KPIS, Unit, value
from tieout.streams.sinks.store import Store

RECOMPUTED = ("unbilled_hours", "unbilled_value", "unpriced_hours", "held_hours", "held_value", "unbilled_ageing",
              "open_findings", "exposure", "sync_lag", "time_to_bill", "time_to_bill_stages", "approval_latency",
              "approval_latency_business")
CURRENCIES = ("GBP", "JPY", "BHD", "EUR")


def _entry(number: int, said: dict[str, Any]) -> Outcome:
    """An entry in a state, with amounts that follow from it as the engine derives them."""
    held = said["state"] == "HELD"
    seconds, minor = said["unbilled_s"], said["unbilled_minor"]
    if said["unpriced"]:
        minor = 0
    if not seconds:
        minor = 0
    return entry(
        number, project_code=said["project_code"], practice=said["practice"], currency=said["currency"],
        work_date=DAY - said["age"], state=said["state"], unbilled_s=seconds, unbilled_minor=minor,
        unpriced_s=seconds if said["unpriced"] else 0, held_s=seconds if held else 0,
        held_minor=minor if held else 0, top_hold="H22" if held and seconds else None,
        holds="H22|H04" if held and seconds else "", billed_s=said["billed_s"],
        approval_business_s=said["business_s"], **_instants(said["way"], said["known"]))


def _instants(way: list[int], known: int) -> dict[str, int]:
    """Instants on the way to the invoice, of which the first `known` are known; a source may have them out of order."""
    names = ("worked_at", "submitted_at", "approved_at", "posted_at", "ready_at", "invoiced_at")
    return {name: NOW + 1_000_000 * sum(way[: index + 1]) for index, name in enumerate(names[:known])}


ENTRIES = st.lists(st.fixed_dictionaries({
    "project_code": st.sampled_from(["ACME-1", "ACME-2", "BETA-1"]), "practice": st.sampled_from(["DATA", None]),
    "currency": st.sampled_from(CURRENCIES), "age": st.integers(0, 100),
    "state": st.sampled_from(["READY", "HELD", "PROPOSED", "INVOICED"]),
    "unbilled_s": st.integers(0, 50_000), "unbilled_minor": st.integers(0, 10**12), "unpriced": st.booleans(),
    "billed_s": st.integers(0, 50_000), "way": st.lists(st.integers(-60, 4_000_000), min_size=6, max_size=6),
    "known": st.integers(0, 6), "business_s": st.none() | st.integers(0, 400_000),
    "status": st.sampled_from(["OPEN", "ACK", "RESOLVED_AUTO", None]),
    "code": st.sampled_from(["TIME_LATE_TO_ERP", "TIME_WITHOUT_ASSIGNMENT"]),
}), max_size=12)
FINDINGS = st.lists(st.fixed_dictionaries({
    "status": st.sampled_from(["OPEN", "ACK", "SUPPRESSED", "WAIVED"]),
    "severity": st.sampled_from(["LOW", "CRITICAL"]),
    "currency": st.sampled_from(CURRENCIES), "impact_minor": st.integers(-(10**9), 10**9),
    "project_code": st.sampled_from(["ACME-1", None]),
}), max_size=6)


def contributions(entries: list[Outcome], findings: list[Outcome]) -> dict[Hashable, Contribution]:
    """Who gives what to the cells, as the engine does."""
    given: dict[Hashable, Contribution] = {}
    codes: dict[str, set[str]] = {}
    for outcome in findings:
        assert outcome.row is not None
        given["finding", outcome.key] = of_finding(outcome.row)
        if outcome.row["status"] in ("OPEN", "ACK"):
            codes.setdefault(outcome.row["business_key"], set()).add(outcome.row["code"])
    for outcome in entries:
        assert outcome.row is not None
        given["entry", outcome.key] = of_entry(outcome.row)
        given["exposure", outcome.key] = exposure_of_entry(outcome.row, codes.get(outcome.row["entry_key"], ()))
    given["lag"] = {Cell("sync_lag", "us", source="TIME/kimai"): Amount(10**6)}
    given["pairs"] = {Cell("assignment_sync_rate", "count", project_code="ACME-1"): Amount(3, 4)}
    return given


def cells(given: dict[Hashable, Contribution], partitions: int) -> list[Outcome]:
    """The cells of contributions spread over partitions; each was given something else before."""
    parts = [Cells(Axis.PROJECT, partition) for partition in range(partitions)]
    for number, (who, contribution) in enumerate(sorted(given.items(), key=repr)):
        parts[number % partitions].give(who, {Cell("unbilled_hours", "s", state="READY"): Amount(99)})
        parts[number % partitions].give(who, contribution)
    return [outcome for part in parts for outcome in part.changed(NOW, None)]


def rows(store: Store, view: str, kpi: str) -> list[tuple[Any, ...]]:
    return store.query(f"SELECT * FROM {view} WHERE kpi = ? ORDER BY ALL", [kpi])


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Store]:
    """A store without rows; one file for all examples, since making one takes longer than an example."""
    store = Store(tmp_path_factory.mktemp("kpis") / "store.duckdb")

    def empty() -> Store:
        for (table,) in store.query("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'internal'"):
            if table != "meta":
                store.query(f"DELETE FROM internal.{table}")
        return store

    return empty


@settings(max_examples=25, deadline=None)
@given(said=ENTRIES, more=FINDINGS, partitions=st.sampled_from([2, 5]))
def test_streamed_is_recomputed(
    fresh: Callable[[], Store], said: list[dict[str, Any]], more: list[dict[str, Any]], partitions: int
) -> None:
    entries = [_entry(number, one) for number, one in enumerate(said)]
    findings = [finding(number, status=one["status"], code=one["code"], currency=one["currency"])
                for number, one in enumerate(said) if one["status"]]
    findings += [finding(100 + number, entity="project", business_key=f"P{number}", entries=f"P{number}", **one)
                 for number, one in enumerate(more)]
    given = contributions(entries, findings)
    store = fresh()
    store.write([*entries, *findings, source(), *cells(given, 1)])
    one_partition = store.query("SELECT * FROM v1.kpi ORDER BY ALL")
    for kpi in RECOMPUTED:
        assert rows(store, f"v1.kpi_{kpi}", kpi) == rows(store, "v1.kpi", kpi), kpi
    fresh().write([*entries, *findings, source(), *cells(given, partitions)])
    assert store.query("SELECT * FROM v1.kpi ORDER BY ALL") == one_partition


def test_an_entry_is_exposed_once(fresh: Callable[[], Store]) -> None:
    """Three findings on one entry: its value once, under its top hold."""
    store = fresh()
    store.write([
        entry(1, top_hold="H22", holds="H22|H04", state="HELD", held_s=27_000, held_minor=112_500),
        *(finding(number, code=code, business_key="TIME:1", entries="TIME:1")
          for number, code in enumerate(("TIME_LATE_TO_ERP", "TIME_WITHOUT_ASSIGNMENT", "RATE_MISSING"))),
    ])
    assert store.query("SELECT hold_code, numerator FROM v1.kpi_exposure") == [("H22", 112_500)]


def test_every_kpi_has_its_view(fresh: Callable[[], Store]) -> None:
    found = fresh().query("SELECT view_name FROM duckdb_views() WHERE schema_name = 'v1' AND view_name LIKE 'kpi\\_%' "
                          "ESCAPE '\\' AND view_name <> 'kpi_history'")
    assert {name for (name,) in found} == {f"kpi_{kpi.id}" for kpi in KPIS}


@pytest.mark.parametrize(("unit", "numerator", "denominator"), [
    ("h", 12_345, None), ("h", -1, None), ("%", 1, 3), ("%", 1, 2_000), ("s", 1_500_500, None), ("count", 7, None),
    ("GBP", -5, None), ("JPY", 7, None), ("BHD", 1_234_567, None), ("CLF", 3, None), ("XXX", 100, None),
])
def test_python_and_sql_convert_alike(
    fresh: Callable[[], Store], unit: str, numerator: int, denominator: int | None
) -> None:
    """`catalogue.value` is what the API and the command line show, `internal.kpi_value` what v1.kpi shows."""
    base = {"h": "s", "%": "count", "s": "us", "count": "count"}.get(unit, "minor")
    ((shown,),) = fresh().query("SELECT internal.kpi_value(?, ?::BIGINT, ?::BIGINT, ?)", [
        base, numerator, denominator, unit])
    assert shown == value(unit, numerator, denominator)


def test_sql_knows_the_exponents(fresh: Callable[[], Store]) -> None:
    """Every code of three letters, so that none is forgotten when the list changes."""
    codes = ["".join(letters) for letters in product(ascii_uppercase, repeat=3)]
    found = fresh().query("SELECT code, internal.exponent(code) FROM (SELECT unnest(?) AS code)", [codes])
    assert dict(found) == {code: exponent(code) for code in codes}


def test_a_ratio_of_nothing_has_no_value() -> None:
    assert value(Unit.RATIO, 0, 0) is None
