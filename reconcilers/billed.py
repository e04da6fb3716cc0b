"""What posted invoices cover of a time entry, invoice by invoice, after credits; and when each was posted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from tieout.reconcilers.asof import DRAFT, POSTED, AsOf, Entry
from tieout.reconcilers.quantities import rounded


class Part(NamedTuple):
    """The share of an entry that one invoice covers: seconds and net amount, tax of that amount on top."""

    invoice: str  # LE:number
    at: int  # the instant at which it was posted, or first seen as a draft
    qty_s: int
    minor: int
    tax_minor: int
    draft: bool

    def of(self, qty_s: int) -> tuple[int, int]:
        """Net and gross amount of some of its seconds."""
        share = Fraction(qty_s, self.qty_s)
        return rounded(self.minor * share), rounded((self.minor + self.tax_minor) * share)


def parts(world: AsOf, entry: Entry, *, code: str | None = None, drafts: bool = False) -> list[Part]:
    """Invoices that cover the entry on project `code` (default: its own), by posting; what is credited in full is gone.

    A credit note takes from the invoice that it corrects, else from the latest ones. Drafts come last.
    """
    if not world.facts.coverage.get(entry.key):
        return []
    found: dict[str, list[Part]] = {}
    credits: list[tuple[str | None, int]] = []
    for header, sign, part in _stated(world, entry, code or entry.project_code):
        if part.draft and not drafts:
            continue
        if sign < 0:
            corrected = header.get("corrects_invoice")
            credits.append((f"{header.get('le_code')}:{corrected}" if corrected else None, part.qty_s))
        else:
            found.setdefault(part.invoice, []).append(part)
    billed = sorted((_together(rows) for rows in found.values()), key=lambda part: (part.draft, part.at, part.invoice))
    for corrected, qty_s in sorted(credits, key=lambda credit: credit[0] is None):
        billed = _credited(billed, corrected, qty_s)
    return billed


def _stated(world: AsOf, entry: Entry, code: str) -> Iterator[tuple[Mapping[str, Any], int, Part]]:
    for key in sorted(world.facts.coverage[entry.key]):
        record = world.facts.get("coverage", key)
        cover = world.merged(record) if record else None
        if not record or not cover or world.covered_project(entry, record) != code:
            continue
        number = f"{cover['le_code']}:{cover['invoice_no']}"
        header = world.invoice(number)
        state = header.get("state")
        if header.get("type") == "PROFORMA" or (state not in POSTED and state not in DRAFT):
            continue
        minor = abs((cover.get("amount") or (0,))[0])
        yield header, world.sign(cover, header), Part(
            number, world.posted_at(number) if state in POSTED else min(record.commits()), abs(cover.get("qty_s") or 0),
            minor, tax_of(header, minor), state in DRAFT)


def tax_of(header: Mapping[str, Any], minor: int) -> int:
    """The tax on a net amount, in the invoice's own proportion of tax to net."""
    net, tax = ((header.get(name) or (0,))[0] for name in ("net", "tax"))
    return rounded(Fraction(minor * tax, net)) if net else 0


def _together(rows: list[Part]) -> Part:
    """Lines of one invoice that cover the same entry."""
    first = rows[0]
    return first._replace(qty_s=sum(row.qty_s for row in rows), minor=sum(row.minor for row in rows),
                          tax_minor=sum(row.tax_minor for row in rows))


def _credited(billed: list[Part], corrected: str | None, qty_s: int) -> list[Part]:
    """The parts less a credit: the corrected invoice's first, then the latest."""
    order = sorted(range(len(billed)), key=lambda n: (billed[n].invoice == corrected, n), reverse=True)
    left = list(billed)
    for number in order:
        part = left[number]
        taken = min(qty_s, part.qty_s) if not part.draft else 0
        qty_s -= taken
        if taken:
            net, gross = part.of(part.qty_s - taken)
            left[number] = part._replace(qty_s=part.qty_s - taken, minor=net, tax_minor=gross - net)
    return [part for part in left if part.qty_s]


def excess(billed: list[Part], over_s: int) -> tuple[int, int]:
    """Net and gross amount of the seconds that are billed too much: those of the latest invoices."""
    net = gross = 0
    for part in reversed(billed):
        taken = min(over_s, part.qty_s)
        over_s -= taken
        net, gross = net + part.of(taken)[0], gross + part.of(taken)[1]
    return net, gross
