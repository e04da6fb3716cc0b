"""When nothing goes wrong the six systems agree: what a fault is, is seen against this."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

import pytest

from tieout.streams.simulate.facts import ERP, PSA, SCHED, TIME, Event
from tieout.streams.simulate.instants import HOUR, utc
from tieout.streams.simulate.story import Story

Views = dict[str, dict[str, dict[str, Any]]]  # system -> key -> attributes as last asserted


def views(story: Story, entity: str, *names: str) -> Views:
    """The last view of each record of an entity in each source, by the attributes that identify it."""
    found: Views = defaultdict(lambda: defaultdict(dict))
    for event in story.events:
        if event.entity == entity:
            key = ":".join(str(event.body["data"][name]) for name in names) if names else event.subject
            found[event.source][key].update(event.body["data"])
    return found


def commits(story: Story, entity: str, source: str) -> dict[str, list[Event]]:
    """The events of each record of an entity in one source."""
    found: dict[str, list[Event]] = defaultdict(list)
    for event in story.events:
        if (event.entity, event.source) == (entity, source):
            found[event.subject].append(event)
    return found


@pytest.mark.parametrize(("kind", "targets"), [
    ("EXTERNAL", {PSA, SCHED, TIME}), ("INTERNAL", {PSA, TIME}), ("LEAVE", {TIME}),
])
def test_projects_are_where_they_must_be(baseline: Story, kind: str, targets: set[str]) -> None:
    found = views(baseline, "project", "project_code")
    codes = [code for code, row in found[ERP].items() if row["project_type"] == kind]
    assert codes
    for code in codes:
        assert {source for source in (PSA, SCHED, TIME) if code in found[source]} == targets, code


def test_plans_are_equal_in_all_three_systems(baseline: Story) -> None:
    found: Views = defaultdict(dict)
    for source, rows in views(baseline, "assignment").items():
        found[source] = {f"{row['project_code']}|{row['worker_no']}|{row['from']}": row for row in rows.values()}
    assert len(found[SCHED]) >= 60
    assert found[SCHED] == found[PSA] == found[ERP]
    assert {row["commit"] for row in found[SCHED].values()} == {"HARD"}


def test_every_role_that_is_planned_or_logged_has_a_price(baseline: Story) -> None:
    rates = views(baseline, "rate", "rate_id")[ERP].values()
    priced = {(row["scope_key"], row["role_code"]) for row in rates if row["level"] == 4}
    plans = views(baseline, "assignment")[SCHED].values()
    entries = views(baseline, "time_entry", "origin_system", "origin_id")[TIME].values()
    wanted = {(row["project_code"], row["role_code"]) for row in (*plans, *entries) if row["billable"]}
    assert wanted <= priced


def test_every_billable_entry_is_planned(baseline: Story) -> None:
    plans = {(row["project_code"], row["worker_no"]) for row in views(baseline, "assignment")[SCHED].values()}
    entries = views(baseline, "time_entry", "origin_system", "origin_id")[TIME].values()
    assert {(row["project_code"], row["worker_no"]) for row in entries if row["billable"]} <= plans


def test_the_psa_mirrors_every_entry(baseline: Story) -> None:
    found = views(baseline, "time_entry", "origin_system", "origin_id")
    for key, time in found[TIME].items():
        if time["time_type"] == "ABSENCE":
            assert key not in found[PSA]
            continue
        psa = found[PSA][key]
        for name in ("worker_no", "project_code", "wbs_code", "work_date", "qty_s", "role_code", "billable", "state"):
            assert psa[name] == time[name], (key, name)
        assert psa["billable_s"] == (time["qty_s"] if time["billable"] else 0)
        assert ("source_rate" in psa) == time["billable"]


def test_the_erp_posts_every_approved_entry_within_the_hour(baseline: Story) -> None:
    approvals = {subject: next(e for e in events if e.body["data"].get("state") == "APPROVED")
                 for subject, events in commits(baseline, "time_entry", TIME).items()}
    entries = views(baseline, "time_entry", "origin_system", "origin_id")[TIME]
    posted = {row["origin_ref"]: row for row in views(baseline, "posted_labour", "le_code", "erp_txn_id")[ERP].values()}
    first = {events[0].body["data"]["origin_ref"]: events[0].at
             for events in commits(baseline, "posted_labour", ERP).values()}
    assert len(approvals) == len(entries) == len(posted)
    for subject, approval in approvals.items():
        row, entry = posted[f"TIME:{subject}"], entries[f"TIME:{subject}"]
        assert (row["txn_type"], row["qty_s"]) == ("COST", entry["qty_s"])
        assert row["voucher"]
        assert row["accounting_date"]
        assert (row["project_code"], row["work_date"]) == (entry["project_code"], entry["work_date"])
        assert 0 < first[f"TIME:{subject}"] - approval.at < HOUR


def test_intervals_agree_with_quantities(baseline: Story) -> None:
    clocked = [row for row in views(baseline, "time_entry", "origin_system", "origin_id")[TIME].values()
               if "start_at" in row]
    assert len(clocked) > 50
    for row in clocked:
        span = datetime.fromisoformat(row["end_at"]) - datetime.fromisoformat(row["start_at"])
        assert span.total_seconds() - row["break_s"] == row["qty_s"]


def test_invoices_add_up_and_cover_what_was_approved_before(baseline: Story) -> None:
    approved = {f"TIME:{subject}": events[1].at for subject, events in commits(baseline, "time_entry", TIME).items()}
    coverage = views(baseline, "coverage", "le_code", "invoice_no", "line_no", "target")[ERP].values()
    invoices = views(baseline, "invoice", "le_code", "invoice_no")[ERP]
    nets: dict[str, int] = defaultdict(int)
    for row in coverage:
        nets[f"{row['le_code']}:{row['invoice_no']}"] += row["amount"]["minor"]
    assert len(coverage) > 150
    assert nets == {key: row["net"]["minor"] for key, row in invoices.items()}
    assert {row["state"] for row in invoices.values()} == {"DRAFT", "POSTED", "PAID"}
    drafted = {f"{event.body['data']['le_code']}:{event.body['data']['invoice_no']}": event.at
               for event in reversed(baseline.events) if event.entity == "invoice"}
    assert all(approved[row["target"]] < drafted[f"{row['le_code']}:{row['invoice_no']}"] for row in coverage)


def test_nothing_is_committed_after_the_end(baseline: Story, story: Story) -> None:
    for told in (baseline, story):
        assert max(event.at for event in told.events) < utc("2026-04-04T12:00")
