"""Planted faults of invoices: the same work charged twice (36)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

from tieout.streams.simulate.facts import ERP
from tieout.streams.simulate.instants import HOUR, SECOND, iso, utc
from tieout.streams.simulate.labour import Entry
from tieout.streams.simulate.scene import Scene
from tieout.streams.simulate.truth import OPEN, RESOLVED
from tieout.streams.simulate.weeks import charge

WEEK_1: Final = date(2026, 3, 10)
WEEK_3: Final = date(2026, 3, 23)


def some(scene: Scene, project: str, count: int) -> list[Entry]:
    """Ordinary entries of a project's consultants."""
    return [scene.take(since=WEEK_1, until=WEEK_3, project=project, role="CO") for _ in range(count)]


def plant_invoices(scene: Scene) -> None:
    """Check 36, by coverage, by key and by content."""
    entries = some(scene, "CRANE-24030", 3)
    at = utc("2026-03-25T10:00")
    charge(scene, "UK-26-0310", entries, at)
    charge(scene, "UK-26-0311R", entries, at + 4 * SECOND, key="run-UK-26-0310")
    _doubled(scene, "UK01:UK-26-0311R", entries, "a request that was repeated after four seconds")
    entries = some(scene, "JUPITER-24120", 2)
    charge(scene, "DE-26-0310", entries, utc("2026-03-24T10:00"))
    charge(scene, "DE-26-0311", entries, utc("2026-03-25T11:00"))
    void(scene, "DE01", "DE-26-0311", utc("2026-03-26T16:00"))
    scene.truth.plant("36", None, "DE01:DE-26-0311", "charged again the next day, then voided", RESOLVED)
    for number, sent in (("UK-26-0700", "2026-03-20T09:00"), ("UK-26-0701", "2026-03-20T09:30")):
        bare(scene, number, "BOLT-24021", utc(sent), net=812_500, key="retry-4471")
    scene.truth.plant("36", "IDEMPOTENCY_KEY", "UK01:UK-26-0701", "the same request under two numbers", OPEN,
                      impact_s=90_000, impact_minor=-812_500, currency="GBP")
    for number, sent in (("DE-26-0700", "2026-03-20T09:00"), ("DE-26-0701", "2026-03-23T14:00")):
        bare(scene, number, "FALKE-24104", utc(sent), net=450_000, key=f"run-{number}")
    scene.truth.plant("36", "CONTENT", "DE01:DE-26-0701", "the same lines again three days later", OPEN,
                      impact_s=90_000, impact_minor=-450_000, currency="EUR")


def _doubled(scene: Scene, key: str, entries: Sequence[Entry], story: str) -> None:
    scene.truth.plant("36", None, key, story, OPEN, impact_s=sum(entry.qty_s for entry in entries),
                      impact_minor=-sum(entry.value for entry in entries), currency=entries[0].worker.le.ccy)


def void(scene: Scene, le: str, number: str, at: int) -> None:
    """Take an invoice back."""
    scene.say(ERP, "invoice", f"{le}/{number}", at, le_code=le, invoice_no=number, state="VOID")


def bare(scene: Scene, number: str, project_code: str, at: int, *, net: int, key: str, cycle: str = "2026-03",
         more_s: int = 0) -> None:
    """A posted invoice of one line that names no timesheet."""
    project = scene.firm.projects[project_code]
    head = {"le_code": project.le.code, "invoice_no": number}
    amount = {"minor": net, "ccy": project.le.ccy}
    subject = f"{project.le.code}/{number}"
    scene.say(ERP, "invoice", subject, at - HOUR, **head, state="DRAFT", type="INVOICE", customer_no=project.customer,
              ccy=project.le.ccy, invoice_date="2026-03-20", accounting_date="2026-03-20", billing_cycle_id=cycle,
              net=amount, idempotency_key=key)
    scene.say(ERP, "invoice_line", f"{subject}/1", at - HOUR, **head, line_no=1, project_code=project_code,
              qty_s=90_000 + more_s, net=amount)
    scene.say(ERP, "invoice", subject, at, **head, state="POSTED", posted_at=iso(at))


def spare_invoices(scene: Scene) -> None:
    """Charged in halves, voided before it was posted, or alike but not the same."""
    (entry,) = some(scene, "DELTA-24035", 1)
    charge(scene, "UK-26-0320", [entry], utc("2026-03-25T12:00"), share_bp=5_000)
    charge(scene, "UK-26-0321", [entry], utc("2026-03-26T12:00"), share_bp=5_000)
    scene.truth.spare("CHARGED_IN_HALVES", "UK01:UK-26-0321", "two invoices, half of the hours each")
    entries = some(scene, "HABICHT-24112", 1)
    charge(scene, "DE-26-0320", entries, utc("2026-03-25T12:00"))
    charge(scene, "DE-26-0321", entries, utc("2026-03-27T12:00"))
    scene.truth.spare("CHARGED_AFTER_VOID", "DE01:DE-26-0321", "the first invoice was voided before")
    void(scene, "DE01", "DE-26-0320", utc("2026-03-26T09:00"))
    bare(scene, "UK-26-0710", "ACME-24017", utc("2026-03-19T09:00"), net=300_000, key="run-UK-26-0710")
    bare(scene, "UK-26-0711", "ACME-24017", utc("2026-03-20T09:00"), net=300_000, key="run-UK-26-0711", cycle="2026-04")
    scene.truth.spare("OTHER_CYCLE", "UK01:UK-26-0711", "the retainer of the next month")
    bare(scene, "UK-26-0712", "ACME-24017", utc("2026-03-20T10:00"), net=300_000, key="run-UK-26-0712", more_s=3_600)
    scene.truth.spare("OTHER_LINES", "UK01:UK-26-0712", "the same amount for an hour more")
