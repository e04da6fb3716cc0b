"""The scenarios of the domain model that the nine checks decide, exact to the second and the cent."""

from __future__ import annotations

import pytest
from firm import Firm, assignment, change, day, entry, fixture, gbp, invoice, posted, rate, us

from tieout.reconcilers.changes import Op
from tieout.reconcilers.outcomes import Output


def firm() -> Firm:
    return Firm().take(*fixture())


def test_a_rate_change_in_mid_week_prices_each_day_and_holds_what_the_psa_priced_wrong() -> None:
    it = firm().take(rate("R-SA2", "SA", 165, "2026-03-01", effective_from=day("2026-03-11")))
    for number in range(5):
        date = day("2026-03-09") + number
        it.take(entry("TIME", f"E{number}", "2026-03-16T09:12:30Z", work_date=date),
                entry("PSA", f"E{number}", "2026-03-16T09:12:30Z", work_date=date, source_rate=gbp(150)),
                posted(f"E{number}", "2026-03-16T09:30:00Z", work_date=date, accounting_date=date))
    it.until("2026-03-16T14:00:00Z")
    [found] = it.findings()
    assert (found["code"], found["facet"], found["business_key"]) == (
        "RATE_MISMATCH", "UPLIFT_NOT_APPLIED", "ACME-24017|R-SA2")
    assert (found["impact_s"], found["impact_minor"], found["entries_count"]) == (81_000, 33_750, 3)
    assert found["opened_at"] == us("2026-03-16T13:12:30Z")
    states = [(it.entry(f"E{number}")["state"], it.entry(f"E{number}")["unbilled_minor"]) for number in range(5)]
    assert states == [("READY", 112_500)] * 2 + [("HELD", 123_750)] * 3
    assert (it.kpi("unbilled_hours"), it.kpi("unbilled_value"), it.kpi("held_value")) == (135_000, 596_250, 371_250)


def test_a_day_that_shifts_over_the_month_end_is_found_and_heals() -> None:
    it = firm().take(
        change("ERP", "legal_entity", "2026-01-02", le_code="US01", tz="America/Los_Angeles", region="AMER"),
        *(change(system, "project", "2026-01-02", project_code="PAC-100", le_code="US01", region="AMER", ccy="USD",
                 project_type="EXTERNAL", state="OPEN", allow_time_without_assignment=True)
          for system in ("ERP", "PSA", "SCHED", "TIME")),
        rate("R-PAC", "SA", 200, scope_key="PAC-100", rate=[200_000_000, "USD", "HOUR", 28_800]))
    place = dict(project_code="PAC-100", worker_no="W4001", qty_s=5_400)
    it.take(entry("TIME", "L1", "2026-04-01T09:00:00Z", work_date=day("2026-03-31"), **place),
            posted("L1", "2026-04-01T09:30:00Z", work_date=day("2026-04-01"), **place))
    it.until("2026-04-01T14:00:00Z")
    [found] = it.findings()
    assert (found["code"], found["facet"], found["impact_s"], found["impact_minor"], found["currency"]) == (
        "TIME_QTY_MISMATCH", "DATE_SHIFT", 5_400, 30_000, "USD")
    assert found["opened_at"] == us("2026-04-01T13:30:00Z")
    row = it.entry("L1", "PAC-100")
    assert (row["billing_cycle_id"], row["state"], row["top_hold"]) == ("2026-03", "HELD", "H16")
    it.take(posted("L1", "2026-04-01T15:00:00Z", work_date=day("2026-03-31"), **place)).until("2026-04-01T16:00:00Z")
    assert it.entry("L1", "PAC-100")["state"] == "READY"
    assert it.findings()[0]["resolved_at"] == us("2026-04-01T15:00:00Z")


@pytest.mark.parametrize(("committed", "opens", "healed"), [
    ("2026-03-10T10:45:00Z", None, 1),
    ("2026-03-11T12:00:00Z", "2026-03-11T10:00:00Z", 0),
])
def test_an_assignment_that_comes_late(committed: str, opens: str | None, healed: int) -> None:
    it = firm()
    work = dict(worker_no="W1003", role_code="SC")
    it.take(entry("TIME", "E1", "2026-03-10T10:00:00Z", **work), posted("E1", "2026-03-10T10:00:00Z", **work))
    for system in ("SCHED", "PSA", "ERP"):
        it.take(assignment(system, "A3", committed, **work))
    it.until("2026-03-11T13:00:00Z")
    found = it.findings("TIME_WITHOUT_ASSIGNMENT")
    assert [(row["opened_at"], row["resolved_at"], row["impact_minor"]) for row in found] == (
        [(us(opens), us(committed), 90_000)] if opens else [])
    assert it.kpi("inflight_mismatches", hold_code="TIME_WITHOUT_ASSIGNMENT") == healed
    assert (it.entry("E1")["state"], it.kpi("unbilled_hours")) == ("READY", 27_000)


def test_the_entry_is_held_while_no_assignment_is_there() -> None:
    work = dict(worker_no="W1003", role_code="SC")
    it = firm().take(entry("TIME", "E1", "2026-03-10T10:00:00Z", **work), posted("E1", "2026-03-10T10:00:00Z", **work))
    assert it.entry("E1")["state"] == "APPROVED_PENDING"
    it.until("2026-03-11T10:00:00Z")
    row = it.entry("E1")
    assert (row["state"], row["top_hold"], row["held_minor"]) == ("HELD", "H04", 90_000)


@pytest.mark.parametrize("order", [(5001, 5002), (5002, 5001)])
def test_equal_timestamps_are_ordered_by_token(order: tuple[int, int]) -> None:
    it = firm()
    states = {5001: "APPROVED", 5002: "SUBMITTED"}
    seen = []
    for token in order:
        it.take(entry("TIME", "E1", "2026-03-10T10:00:00Z", seq=f"{token:012d}", state=states[token], qty_s=28_800))
        seen.append(it.kpi("unbilled_hours"))
    assert seen == ([28_800, 0] if order[0] == 5001 else [0, 0])
    assert it.entry("E1")["status"] == "SUBMITTED"
    assert it.kpi("events", measure="STALE", object="time_entry") == (0 if order[0] == 5001 else 1)


def test_duplicates_and_an_older_snapshot_count_once() -> None:
    it = firm()
    approve = entry("TIME", "E1", "2026-03-10T10:00:00Z", seq="000000000042", qty_s=28_800)
    for _ in range(3):
        it.take(approve)
    it.take(entry("TIME", "E1", "2026-03-10T09:00:00Z", op=Op.SNAPSHOT, seq="000000000041", qty_s=28_800,
                  state="SUBMITTED"))
    assert (it.kpi("unbilled_hours"), it.kpi("unbilled_value")) == (28_800, 120_000)
    assert it.kpi("events", measure="DUPLICATE", object="time_entry") == 2
    assert it.kpi("events", measure="STALE", object="time_entry") == 1


MARKS = dict.fromkeys(("PSA", "SCHED", "TIME", "HCM", "CRM"), "2026-03-24T14:05:00Z")


def stale_firm() -> Firm:
    it = firm().take(entry("TIME", "E1", "2026-03-24T14:05:00Z", work_date=day("2026-03-24")),
                     marks={**MARKS, "ERP": "2026-03-24T14:00:00Z"})
    return it.take(now="2026-03-24T18:05:00Z", marks=dict.fromkeys(MARKS, "2026-03-24T18:05:00Z"))


def test_a_stale_counterpart_suppresses_what_depends_on_it() -> None:
    it = stale_firm()
    [found] = [row for row in it.findings() if row["status"] == "OPEN"]
    assert (found["code"], found["business_key"], found["opened_at"]) == (
        "SOURCE_STALE", "ERP/one", us("2026-03-24T15:30:00Z"))
    assert it.entry("E1")["state"] == "APPROVED_PENDING"
    [waits] = it.findings("TIME_LATE_TO_ERP")
    assert (waits["status"], waits["facet"], waits["opened_at"]) == ("SUPPRESSED", "STAGED", None)
    assert it.kpi("unevaluated", source="ERP/one", measure="VALUE") == 112_500


def test_absence_is_proved_when_the_stale_source_returns_without_the_record() -> None:
    it = stale_firm()
    marks = dict.fromkeys((*MARKS, "ERP"), "2026-03-24T18:30:00Z")
    it.take(now="2026-03-24T18:30:00Z", marks=marks)
    [found] = it.findings("TIME_LATE_TO_ERP")
    assert (found["facet"], found["opened_at"], found["onset_at"]) == (
        "STAGED", us("2026-03-24T18:30:00Z"), us("2026-03-24T14:05:00Z"))
    assert it.findings("SOURCE_STALE")[0]["status"] == "RESOLVED_AUTO"


def test_nothing_opens_when_the_stale_source_returns_with_the_record() -> None:
    it = stale_firm()
    record = posted("E1", "2026-03-24T17:50:00Z", work_date=day("2026-03-24"), accounting_date=day("2026-03-24"))
    it.take(record, now="2026-03-24T18:30:00Z", marks=dict.fromkeys((*MARKS, "ERP"), "2026-03-24T18:30:00Z"))
    assert it.findings("TIME_LATE_TO_ERP") == []
    assert it.entry("E1")["state"] == "READY"
    assert it.kpi("unevaluated") == 0


def test_whatever_is_unbilled_waits_for_a_stale_source_however_the_entry_stands() -> None:
    """The row says so whether it was made before the source turned stale or after."""
    def at(instant: str, sched: str | None = None) -> tuple[str, int, str]:
        it.take(now=instant, marks={**dict.fromkeys((*MARKS, "ERP"), instant), "SCHED": sched or instant})
        row = it.entry("E1")
        return row["state"], row["unbilled_s"], row["holds"]

    it = firm().take(entry("TIME", "E1", "2026-03-10T10:00:00Z"), posted("E1", "2026-03-10T10:30:00Z"),
                     *invoice("INV1", "2026-03-11T09:00:00Z", covers={"E1": 26_990}, net=112_458))
    assert at("2026-03-11T10:00:00Z") == ("INVOICED", 10, "")
    assert at("2026-03-11T12:00:00Z", sched="2026-03-11T10:00:00Z") == ("INVOICED", 10, "H19")
    assert at("2026-03-11T13:00:00Z") == ("INVOICED", 10, "")


def test_a_missing_rate_counts_hours_but_no_money_until_it_is_found() -> None:
    it = firm().take(*(change(system, "project", "2026-01-02", project_code="Q", le_code="UK01", region="EMEA",
                              ccy="GBP", project_type="EXTERNAL", state="OPEN", allow_time_without_assignment=True)
                       for system in ("ERP", "PSA", "SCHED", "TIME")))
    work = dict(worker_no="W1003", role_code="SC", project_code="Q", qty_s=43_200)
    it.take(entry("TIME", "E1", "2026-03-10T09:00:00Z", **work), posted("E1", "2026-03-10T09:00:00Z", **work))
    it.until("2026-03-10T13:00:00Z")
    [found] = it.findings()
    assert (found["code"], found["facet"], found["impact_minor"], found["estimated"], found["opened_at"]) == (
        "RATE_MISSING", "NO_MATCH", 144_000, True, us("2026-03-10T13:00:00Z"))
    assert (it.kpi("unbilled_hours"), it.kpi("unbilled_value"), it.kpi("unpriced_hours")) == (43_200, 0, 43_200)
    it.take(rate("R-Q", "SC", 135, "2026-03-12T09:00:00Z", scope_key="Q", effective_from=day("2026-03-01")))
    it.until("2026-03-12T10:00:00Z")
    assert (it.entry("E1", "Q")["state"], it.kpi("unbilled_value"), it.kpi("unpriced_hours")) == ("READY", 162_000, 0)
    assert it.findings()[0]["resolved_at"] == us("2026-03-12T09:00:00Z")


def test_a_rejected_and_re_approved_entry_meets_the_old_posting() -> None:
    it, seen = firm(), []
    eight, six = dict(qty_s=28_800), dict(qty_s=21_600)
    for at, state, qty in (("08:00", "SUBMITTED", eight), ("09:00", "APPROVED", eight)):
        it.take(entry("TIME", "E1", f"2026-03-10T{at}:00Z", state=state, **qty))
        seen.append(it.kpi("unbilled_hours"))
    it.take(posted("E1", "2026-03-10T09:30:00Z", **eight))
    for at, state, qty in (("10:00", "RETURNED", eight), ("10:30", "RETURNED", six), ("10:31", "SUBMITTED", six),
                           ("11:00", "REJECTED", six), ("14:00", "SUBMITTED", six), ("15:00", "APPROVED", six)):
        it.take(entry("TIME", "E1", f"2026-03-10T{at}:00Z", state=state, **qty))
        seen.append(it.kpi("unbilled_hours"))
    assert seen == [0, 28_800, 0, 0, 0, 0, 0, 21_600]
    it.until("2026-03-10T18:59:59Z")
    assert it.findings() == []
    it.until("2026-03-10T19:00:00Z")
    [found] = it.findings()
    assert (found["facet"], found["impact_s"], found["impact_minor"]) == ("QTY", 7_200, -30_000)
    assert it.entry("E1")["state"] == "HELD"
    it.take(posted("E1", "2026-03-10T20:00:00Z", **six)).until("2026-03-10T21:00:00Z")
    assert (it.entry("E1")["state"], it.entry("E1")["unbilled_minor"]) == ("READY", 90_000)


def test_a_re_key_moves_the_cells_and_loses_nothing() -> None:
    it = firm().take(*(item for number in range(6) for item in (
        entry("TIME", f"E{number}", "2026-03-16T09:00:00Z", work_date=day("2026-03-09") + number),
        posted(f"E{number}", "2026-03-16T09:30:00Z", work_date=day("2026-03-09") + number))))
    before = it.kpi("unbilled_value")
    it.take(change("ERP", "project", "2026-03-16T10:00:00Z", "ACME-24017", Op.REKEY, old="ACME-24017",
                   new="ACME-UK-24017"))
    it.until("2026-03-18T10:00:00Z")
    assert it.kpi("unbilled_value") == before == it.kpi("unbilled_value", project_code="ACME-UK-24017")
    assert it.findings("PROJECT_NOT_SYNCED") == []


def test_an_invoice_that_overtakes_the_approval_ends_invoiced() -> None:
    it = firm().take(
        change("ERP", "invoice", "2026-03-12T18:05:11Z", le_code="UK01", invoice_no="INV-1", state="POSTED",
               type="INVOICE"),
        change("ERP", "coverage", "2026-03-12T18:05:11Z", le_code="UK01", invoice_no="INV-1", line_no=1,
               kind="TIME_ENTRY", target="TIME:E1", sign=1, qty_s=27_000, amount=[112_500, "GBP"]))
    it.take(entry("TIME", "E1", "2026-03-12T17:00:00Z"), posted("E1", "2026-03-12T17:30:00Z"))
    it.until("2026-03-14T12:00:00Z")
    row = it.entry("E1")
    assert (row["state"], row["billed_s"], row["unbilled_s"], it.kpi("unbilled_hours")) == ("INVOICED", 27_000, 0, 0)
    assert it.now(Output.TIME_ENTRY_STATE).keys() == {"TIME:E1|ACME-24017"}


def test_decisions_of_one_processing_instant_are_events_of_their_own() -> None:
    """On the log clock frames share an instant: an entry that goes and comes back in it is decided three times."""
    it, noon = firm(), "2026-03-10T12:00:00Z"
    for minute, state in enumerate(("APPROVED", "SUBMITTED", "APPROVED")):
        it.take(entry("TIME", "E1", f"2026-03-10T10:0{minute}:00Z", state=state), now=noon)
    made = [outcome.row for outcome in it.outcomes if outcome.output is Output.BILLING_DECISION and outcome.row]
    first, _, last = [row for row in made if row["entry_key"] == "TIME:E1"]
    assert (first["decision"], first["unbilled_minor"], first["at"]) == (
        last["decision"], last["unbilled_minor"], last["at"])
    assert first["event_id"] != last["event_id"]


@pytest.mark.parametrize("late_first", [False, True])
def test_an_older_version_that_comes_late_tells_whom_the_newer_one_is_about(late_first: bool) -> None:
    """The ERP's second message only says that the row is posted; which entry it is of stands in the first."""
    it = firm().take(entry("TIME", "E1", "2026-03-10T10:00:00Z"),
                     entry("PSA", "E1", "2026-03-10T10:00:00Z", source_rate=gbp(150)))
    staged = posted("E1", "2026-03-10T11:00:00Z")
    voucher = {name: staged.asserted[name] for name in ("voucher", "accounting_date")}
    first = staged._replace(seq="1", asserted={k: v for k, v in staged.asserted.items() if k not in voucher})
    second = staged._replace(seq="2", asserted=voucher, commit_us=us("2026-03-12T09:00:00Z"))
    for one in (second, first) if late_first else (first, second):
        it.take(one)
    it.until("2026-03-14T10:00:00Z")
    [found] = it.findings("TIME_LATE_TO_ERP")
    assert (found["facet"], found["status"], found["resolved_at"]) == (
        "POSTED", "RESOLVED_AUTO", us("2026-03-12T09:00:00Z"))
    assert it.entry("E1")["state"] == "READY"
