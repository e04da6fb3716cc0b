"""Whatever a source may say, as long as each attribute is of its kind: nothing raises, for that would end every worker.

Keys come from small pools, so that records meet; every attribute may be missing, null, or at the end of its range.
"""

from __future__ import annotations

from typing import Any, Final

import pytest
from firm import Firm, assignment, day, entry, fixture, gbp, invoice, posted, us
from hypothesis import given, settings
from hypothesis import strategies as st
from reconcilers.test_orders import taken_up

from tieout.reconcilers.changes import Change, Op
from tieout.reconcilers.engine import READS
from tieout.reconcilers.entities import ENTITIES, SOURCED, SYSTEMS, Attribute, Kind
from tieout.reconcilers.timeline import FOREVER
from tieout.streams.outputs import encoders
from tieout.streams.plausible import HAPPENED

DAYS: Final = (day("2026-03-02"), day("2026-03-10"), day("2026-03-11"), day("2026-03-29"))
EDGES: Final = (day("1950-01-01"), day("2149-12-31"))  # of what ingest lets pass
ENCODERS: Final = encoders()
OPEN: Final = (FOREVER, -FOREVER)  # bounds of periods that have none
NAMES: Final = {
    "project_code": ("ACME-24017", "P2"), "old": ("ACME-24017", "P2", "P3"), "new": ("P2", "P3"),
    "origin_id": ("E1", "E2"), "origin_system": ("TIME", "PSA"), "worker_no": ("W1001", "W1003"),
    "le_code": ("UK01", "DE01"), "contract_no": ("C-7",), "origin_ref": ("TIME:E1", "TIME:E2"),
    "target": ("TIME:E1", "TIME:E2"), "invoice_no": ("I1", "I2"), "calendar_id": ("CAL",),
    "billing_calendar_id": ("MONTHS",), "scope_key": ("ACME-24017", "*", "C-7", "TIME:E1", "A1"),
    "role_code": ("SA", "SC"), "opportunity_no": ("O-1",), "entity": ("project", "resource"),
    "tz": ("Europe/London", "Nowhere/At_All"), "ccy": ("GBP", "EUR", "XXX"), "base_ccy": ("GBP", "EUR"),
    "assignment_id": ("A1",), "idempotency_key": ("k",), "customer_no": ("C-ACME",), "corrects_invoice": ("I1",),
}


def values(name: str, attribute: Attribute) -> st.SearchStrategy[Any]:
    """Values of an attribute's kind."""
    if name in NAMES:
        return st.sampled_from(NAMES[name])
    if attribute.members:
        return st.sampled_from((*attribute.members, "UNKNOWN"))
    if name == "level":
        return st.integers(1, 9)
    if name == "line_no":
        return st.integers(1, 2)
    days = st.sampled_from((*DAYS, *DAYS, *EDGES, *(() if name in HAPPENED else OPEN)))
    instants = st.integers(us("2026-03-01"), us("2026-03-20"))
    whole = st.sampled_from((0, 1, -1, 3_600, 27_000, 90_000, 10_000, 2**31 - 1))
    currency = st.sampled_from(("GBP", "EUR", "XXX"))
    return {
        Kind.TEXT: st.sampled_from(("", "a", "b")), Kind.INT: whole, Kind.BOOL: st.booleans(), Kind.DATE: days,
        Kind.INSTANT: instants, Kind.TEXTS: st.lists(st.sampled_from(("a", "b")), max_size=2), Kind.JSON: st.none(),
        Kind.RATE: st.tuples(st.sampled_from((0, 1, 150_000_000, -1)), currency, st.sampled_from(("HOUR", "DAY")),
                             st.sampled_from((1, 28_800))).map(list),
        Kind.MONEY: st.tuples(st.sampled_from((0, 1, -1, 112_500, 2**40)), currency).map(list),
    }[attribute.kind]


OFTEN: Final = ("time_entry", "posted_labour", "coverage", "invoice", "assignment", "rate", "project")
TOLD: Final = (*sorted(READS & SOURCED.keys()), *OFTEN, *OFTEN, *OFTEN, "time_entry", "time_entry")
OPS: Final = st.sampled_from((*[Op.UPSERT] * 30, Op.SNAPSHOT, Op.DELETE, Op.GAP))
AT: Final = "2026-03-01T00:00:00Z"
USUAL: Final = {row.entity: row.asserted for row in (
    *fixture(), entry("TIME", "E1", AT), posted("E1", AT), *invoice("I1", AT, covers={"E1": 27_000}))}


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """A change of a record that the reconcilers read."""
    entity = ENTITIES[draw(st.sampled_from(TOLD))]
    said = dict(USUAL.get(entity.name, {}))
    for name in draw(st.sets(st.sampled_from(sorted(entity.attributes)), max_size=8)) - {*entity.key}:
        fate = draw(st.integers(0, 9))
        if fate == 0:
            said.pop(name, None)
        else:
            said[name] = None if fate == 1 else draw(values(name, entity.attributes[name]))
    said |= {name: draw(part(name, entity.attributes[name])) for name in entity.key}
    subject = draw(st.sampled_from(("A1", "A2")))
    system, at = draw(st.sampled_from(SYSTEMS)), draw(st.integers(us("2026-03-01"), us("2026-03-14")))
    return Change(entity.name, entity.business_key(said, subject) or subject, draw(OPS), f"{system}/one", subject, at,
                  f"{at:020d}", said)


def part(name: str, attribute: Attribute) -> st.SearchStrategy[Any]:
    """Values of a part of a key."""
    if name in NAMES or attribute.kind is Kind.INT:
        return values(name, attribute)
    return st.sampled_from(DAYS) if attribute.kind is Kind.DATE else st.sampled_from(("a", "b"))


@settings(max_examples=300, deadline=None)
@given(told=st.lists(changes(), min_size=1, max_size=40), known=st.booleans())
def test_nothing_that_is_typed_stops_a_worker(told: list[Change], known: bool) -> None:
    it = Firm()
    if known:
        it.take(*fixture())
    half = len(told) // 2
    it.take(*told[:half]).until("2026-03-15").take(*told[half:]).until("2026-04-20")
    for output, _, row in it.outcomes:
        if row is not None:
            ENCODERS[output](row)
    for state in it.states:
        taken_up(state, {(table, key): value for table, key, value in state.drain()})


def said(entity: str, key: str, /, **asserted: Any) -> Change:
    """What the ERP says about a record."""
    return Change(entity, key, Op.UPSERT, "ERP/one", key, us(AT), "1", asserted)


ONCE: Final = {
    "an alias without its new code": [said("alias", "project:ACME-24017", entity="project", old="ACME-24017")],
    "an assignment without a first day that no rate prices": [
        assignment("SCHED", "A9", AT, role_code="ZZ", **{"from": None})],
    "an assignment that never begins": [assignment("SCHED", "A9", AT, **{"from": FOREVER})],
    "a legal entity that rounds as nobody knows": [said("legal_entity", "UK01", le_code="UK01", rounding="UNKNOWN")],
    "a billing cycle that does not end": [
        said("project", "ACME-24017", billing_calendar_id="MONTHS"), entry("TIME", "E1", AT),
        said("billing_cycle", "MONTHS:1", billing_calendar_id="MONTHS", cycle_no="1", **{"from": day("2026-03-01")})],
    "a PSA that bills for nothing what has a price": [
        entry("TIME", "E1", AT), entry("PSA", "E1", AT, source_rate=gbp(0))],
    "a billing cycle that does not begin": [
        said("project", "ACME-24017", billing_calendar_id="MONTHS"), entry("TIME", "E1", AT, role_code="ZZ"),
        said("billing_cycle", "MONTHS:1", billing_calendar_id="MONTHS", cycle_no="1",
             **{"from": -FOREVER, "to": day("2026-04-01")})],
}


@pytest.mark.parametrize("odd", ONCE.values(), ids=ONCE)
def test_what_once_stopped_every_worker(odd: list[Change]) -> None:
    it = Firm().take(*fixture()).take(*odd).until("2026-03-15")
    assert it.kpi("events") == len(fixture()) + len(odd)
