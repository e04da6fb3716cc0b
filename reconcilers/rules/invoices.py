"""Check 36: the same work invoiced twice, by what the invoices cover or, where that is unknown, by what they say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tieout.reconcilers.asof import DRAFT, POSTED, AsOf, Entry
from tieout.reconcilers.billed import Part, excess, parts
from tieout.reconcilers.deadlines import NONE
from tieout.reconcilers.findings import Break, Rule, Severity, Side
from tieout.reconcilers.quantities import hours_text, money_text
from tieout.reconcilers.rules.time import found_on

_DRAFT_BASE: Final = int(Severity.MEDIUM)  # nothing has been posted twice yet


# -- 36 by coverage ----------------------------------------------------------------------------------


def covered_twice(world: AsOf, key: str) -> Iterator[Break]:
    """Two or more invoices together cover more of an entry than was approved."""
    entry = world.entry(key)
    if not entry.seen:
        return
    tolerance = (entry.merged.get("quantum_s") or world.policy.default_quantum_s) // 2
    for drafts in (False, True):  # what is posted counts alone, before drafts come on top of it
        billed = parts(world, entry, drafts=drafts)
        over_s = sum(part.qty_s for part in billed) - entry.approved_s
        if len(billed) > 1 and over_s > tolerance:
            yield _covered_twice(world, entry, billed, over_s)
            return


def _covered_twice(world: AsOf, entry: Entry, billed: list[Part], over_s: int) -> Break:
    last, first = billed[-1], billed[0]
    net, gross = excess(billed, over_s)
    ccy = world.invoice(last.invoice).get("ccy") or entry.project.get("ccy")
    billed_s = sum(part.qty_s for part in billed)
    text = (f"{last.invoice} bills {entry.key} on {entry.project_code} again after {first.invoice}: "
            f"{hours_text(billed_s)} in all, {hours_text(entry.approved_s)} approved, "
            f"{money_text(net, ccy or 'XXX')} net too much, with tax")
    broke = found_on(world, entry, None, NONE, Side("ERP", first.invoice), Side("ERP", last.invoice), -over_s, text,
                     money_minor=-gross, holds=False, attribute="qty_s")
    return broke._replace(business_key=_group(world, entry, last.invoice), entity="invoice", ccy=ccy,
                          base=_DRAFT_BASE if last.draft else None)


def _group(world: AsOf, entry: Entry, invoice: str) -> str:
    """The invoice, where one partition sees all of it; else its share of a project, or of an entry that moved."""
    if world.strayed(entry.key, entry.project_code):
        return f"{invoice}|{entry.key}"
    lines = (world.facts.get("invoice_line", key) for key in world.facts.lines_of_invoice.get(invoice, ()))
    views = [view for line in lines if line and (view := world.merged(line))]
    codes = {world.code(view["project_code"]) for view in views if view.get("project_code")}
    return invoice if codes == {entry.project_code} else f"{invoice}|{entry.project_code}"


# -- 36 by what the invoices say -----------------------------------------------------------------------


def said_twice(world: AsOf, key: str) -> Iterator[Break]:
    """An earlier invoice has the same idempotency key, or the same customer, cycle, amount and lines."""
    header = world.invoice(key)
    if not _stands(header):
        return
    mine = _order(world, key)
    for other in sorted(world.facts.doubles(key), key=lambda name: _order(world, name)):
        theirs = world.invoice(other)
        if not _stands(theirs) or _order(world, other) > mine or (_covered(world, key) and _covered(world, other)):
            continue
        if why := _why(world, key, header, other, theirs):
            yield _said_twice(world, header, key, other, *why)
            return


def _stands(header: Mapping[str, Any]) -> bool:
    return header.get("type", "INVOICE") == "INVOICE" and header.get("state") in POSTED | DRAFT


def _order(world: AsOf, invoice: str) -> tuple[bool, int, str]:
    """Posted invoices by the instant of posting, then drafts: the later one of two is the double."""
    return world.invoice(invoice).get("state") in DRAFT, world.posted_at(invoice), invoice


def _covered(world: AsOf, invoice: str) -> bool:
    """Whether it is known what the invoice covers: then quantities decide."""
    record = world.facts.get("covered_invoice", invoice)
    return record is not None and any(commit <= world.instant for commit in record.commits())


def _why(world: AsOf, key: str, header: Mapping[str, Any], other: str,
         theirs: Mapping[str, Any]) -> tuple[str, str] | None:
    """The facet, and in words what the two have in common; None if they are not the same."""
    token = header.get("idempotency_key")
    if token and token == theirs.get("idempotency_key"):
        return "IDEMPOTENCY_KEY", f"the idempotency key {token}"
    same = all(header.get(name) is not None and header.get(name) == theirs.get(name)
               for name in ("le_code", "customer_no", "billing_cycle_id", "net"))
    lines = _lines(world, key) if same else None
    if lines and lines == _lines(world, other):
        return "CONTENT", f"customer, billing cycle, net amount and {lines.total()} lines"
    return None


def _lines(world: AsOf, invoice: str) -> Counter[str]:
    """What the lines say, numbers of lines left aside; as a multiset, for their order means nothing."""
    found: Counter[str] = Counter()
    for key in world.facts.lines_of_invoice.get(invoice, ()):
        record = world.facts.get("invoice_line", key)
        if record and (line := world.merged(record)):
            found[repr([line.get(name) for name in ("project_code", "qty_s", "rate", "net", "tax_code", "tax")])] += 1
    return found


def _lines_s(world: AsOf, invoice: str) -> int:
    """Seconds that the lines of an invoice bill."""
    records = (world.facts.get("invoice_line", key) for key in world.facts.lines_of_invoice.get(invoice, ()))
    views = [view for record in records if record and (view := world.merged(record))]
    return sum(abs(view.get("qty_s") or 0) for view in views)


def _said_twice(world: AsOf, header: Mapping[str, Any], key: str, other: str, facet: str, why: str) -> Break:
    (net, ccy), (tax, _) = header.get("net") or (0, header.get("ccy")), header.get("tax") or (0, None)
    worth = f"{money_text(net, ccy)} net, {money_text(net + tax, ccy)} gross" if ccy else "no amount"
    return Break(facet, key, NONE, f"{key} repeats {other}: both have {why} ({worth}).", "invoice", Side("ERP", other),
                 Side("ERP", key), None, _lines_s(world, key), -(net + tax), ccy, attribute="net",
                 le_code=header.get("le_code"), cycle=header.get("billing_cycle_id"),
                 base=_DRAFT_BASE if header.get("state") in DRAFT else None)


RULES: Final = (
    Rule("INVOICE_DUPLICATE", "36", "entry", ("TIME", "ERP"), covered_twice, Severity.CRITICAL, "finance-ar",
         minds=("PSA",)),
    Rule("INVOICE_DUPLICATE", "36", "invoice", ("ERP",), said_twice, Severity.CRITICAL, "finance-ar"),
)
