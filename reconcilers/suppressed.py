"""What a stale source, or a gap, keeps from being decided: findings by the clock that are not proved.

They are shown as SUPPRESSED, with the source to blame, and count as what the stale source costs (check 41). When the
source catches up, or is read again, they open, or turn out never to have existed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from tieout.reconcilers.asof import AsOf
from tieout.reconcilers.deadlines import deadline
from tieout.reconcilers.findings import Break, Finding, Life, Rule, publish
from tieout.reconcilers.kpis import Amount, Cell
from tieout.reconcilers.lives import FindingKey, Lives
from tieout.reconcilers.pricing import currency, priced, value_minor
from tieout.reconcilers.timeline import DAY

STATUS: Final = "SUPPRESSED"


def find(world: AsOf, lives: Lives, rules: Iterable[Rule], keys: Iterable[str],
         waits_for: Callable[[str], set[str]], now: int) -> Iterator[tuple[FindingKey, dict[str, Any]]]:
    """Rows of `finding.state` for differences on entries, past their deadline, that wait for a system.

    `waits_for` gives the systems that an entry waits for: stale, or unknown since a gap.
    """
    of_entries = [rule for rule in rules if rule.subject == "entry"]
    for key in sorted(keys):
        systems = waits_for(key)
        for rule in (rule for rule in of_entries if systems.intersection((*rule.needs, *rule.minds))):
            for broke in rule.find(world, key):
                row = _row(world, lives, rule, key, broke, now)
                if row:
                    yield (rule.code, broke.facet, broke.business_key), row


def _row(world: AsOf, lives: Lives, rule: Rule, key: str, broke: Break, now: int) -> dict[str, Any] | None:
    before = lives.findings.get((rule.code, broke.facet, broke.business_key))
    if before and before.is_open:
        return None
    onset = max(world.evidence_commits(key), default=now)
    if before and before.resolved_at is not None:
        onset = max(onset, before.resolved_at)
    until = deadline(world, broke.grace, onset, world.project(broke.project_code) if broke.project_code else {})
    if until > now:
        return None
    again = before and before.resolved_at is not None and until - before.resolved_at <= world.policy.flap_days * DAY
    episode = (before.episode if before else 0) + (0 if again else 1)
    finding = Finding(rule.code, broke.facet, broke.business_key, episode, 0, STATUS, onset, until)
    finding.members[key] = Life(rule, key, broke, onset, until)
    return publish(world, rule, finding, now)


def fingerprint(row: Mapping[str, Any]) -> str:
    """What tells two rows apart that were not only written at different instants."""
    return str(uuid5(NAMESPACE_URL, repr(sorted((name, row[name]) for name in row if name != "updated_at"))))


def unread(world: AsOf, records: Iterable[tuple[str, set[str], Iterable[str]]]) -> dict[Cell, Amount]:
    """What the entries are worth that unread records are about, and how many: check 43 values by their mean.

    `records`: object, sources where it is unread, and the entries that it bears on.
    """
    concerned = {(source, name, key) for name, sources, keys in records for source in sources for key in keys}
    sums: dict[Cell, list[int]] = {}
    for source, name, key in sorted(concerned):
        entry = world.entry(key)
        if entry.seen:
            cell = Cell("unread", "minor", currency=currency(world, entry), source=source, object=name)
            total = sums.setdefault(cell, [0, 0])
            total[0] += value_minor(world, entry, entry.unbilled_s, priced(world, entry).rate)
            total[1] += 1
    return {cell: Amount(*total) for cell, total in sums.items()}


def cost(world: AsOf, keys: Iterable[str], sources: Iterable[str]) -> dict[Cell, Amount]:
    """What waits for each stale source: entries, seconds and money that cannot be evaluated."""
    sums: dict[Cell, int] = {}
    for key in keys:
        entry = world.entry(key)
        ccy = currency(world, entry)
        minor = value_minor(world, entry, entry.unbilled_s, priced(world, entry).rate)
        for source in sources:
            for cell, amount in ((Cell("unevaluated", "count", "ENTRIES", source=source), 1),
                                 (Cell("unevaluated", "s", "HOURS", source=source), entry.unbilled_s),
                                 (Cell("unevaluated", "minor", "VALUE", currency=ccy, source=source), minor)):
                sums[cell] = sums.get(cell, 0) + amount
    return {cell: Amount(total) for cell, total in sums.items() if total}
