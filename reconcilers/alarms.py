"""Findings that follow from the state of the platform alone: raised, kept up to date and cleared by whoever watches it.

They have no lanes and no grace: what is stale, lost or unreadable is so as soon as it is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from tieout.reconcilers.asof import AsOf
from tieout.reconcilers.facts import Facts
from tieout.reconcilers.findings import Break, Finding, Life, Rule, publish, step
from tieout.reconcilers.kpis import Cells, of_finding
from tieout.reconcilers.outcomes import Outcome, Output
from tieout.reconcilers.policy import Policy
from tieout.reconcilers.timeline import DAY

_STORED: Final = ("code", "facet", "business_key", "episode", "occurrences", "status", "onset", "deadline", "opened_at",
                  "resolved_at", "resolution")
AlarmKey = tuple[str, str | None, str]  # code, facet, business key


class Alarms:
    """The findings of the control axis."""

    def __init__(self, rules: Iterable[Rule], policy: Policy, cells: Cells) -> None:
        self._rules = {rule.code: rule for rule in rules}
        self._policy, self._cells = policy, cells
        self._findings: dict[AlarmKey, Finding] = {}
        self._counts: dict[AlarmKey, int] = {}  # of what the finding is about
        self._dirty: set[AlarmKey] = set()

    def is_open(self, rule: Rule, facet: str | None, business_key: str) -> bool:
        """Whether the finding is open."""
        finding = self._findings.get((rule.code, facet, business_key))
        return finding is not None and finding.is_open

    def raise_(self, rule: Rule, broke: Break, members: Iterable[str], count: int, *, onset: int, deadline: int,
               opened_at: int, now: int) -> Iterator[Outcome]:
        """Open the finding, or say anew what it is about: `count` sources, records or rows, some of them by name."""
        key = (rule.code, broke.facet, broke.business_key)
        finding = self._findings.setdefault(key, Finding(*key))
        name = None if finding.is_open else self._open(finding, deadline, opened_at)
        finding.onset, finding.deadline = onset, deadline
        finding.members = {member: Life(rule, member, broke, finding.onset, finding.deadline, True)
                           for member in members}
        self._counts[key] = count
        yield from self._publish(rule, finding, name, now, now)

    def clear(self, rule: Rule, facet: str | None, business_key: str, *, at: int, reason: str,
              now: int) -> Iterator[Outcome]:
        """Resolve the finding if it is open."""
        if self.is_open(rule, facet, business_key):
            finding = self._findings[rule.code, facet, business_key]
            finding.status, finding.resolved_at, finding.resolution = "RESOLVED_AUTO", at, reason
            yield from self._publish(rule, finding, "RESOLVED_AUTO", at, now)

    def _open(self, finding: Finding, deadline: int, opened_at: int) -> str:
        again = finding.resolved_at is not None and deadline - finding.resolved_at <= self._policy.flap_days * DAY
        if again:
            finding.occurrences += 1
        else:
            finding.episode, finding.occurrences, finding.opened_at = finding.episode + 1, 1, opened_at
        finding.status, finding.resolved_at, finding.resolution = "OPEN", None, None
        return "REOPENED" if again else "OPENED"

    def _publish(self, rule: Rule, finding: Finding, name: str | None, at: int, now: int) -> Iterator[Outcome]:
        key = (finding.code, finding.facet, finding.business_key)
        broke = next(iter(finding.members.values())).found  # all share it
        row = publish(AsOf(Facts(), self._policy), rule, finding, now) | {
            "entries_count": self._counts[key], "impact_s": broke.impact_s, "impact_minor": broke.impact_minor,
            "explanation": broke.explanation}
        if name is None and {**row, "updated_at": 0} == {**finding.row, "updated_at": 0}:
            return
        finding.row = row
        self._dirty.add(key)
        self._cells.give(("finding", *key), of_finding(row))
        yield Outcome(Output.FINDING_STATE, finding.finding_id, row)
        if name:
            event = step(finding, name, at, finding.resolution)
            yield Outcome(Output.FINDING_EVENTS, event["event_id"], event)

    # -- changelog -------------------------------------------------------------------------------

    def restore(self, value: dict[str, Any]) -> None:
        """Take up a changelog row."""
        finding = Finding(**{name: value[name] for name in _STORED}, row=value["row"])
        broke, rule = Break.from_record(value["break"]), self._rules[finding.code]
        finding.members = {member: Life(rule, member, broke, finding.onset, finding.deadline, True)
                           for member in value["members"]}
        key = (finding.code, finding.facet, finding.business_key)
        self._findings[key], self._counts[key] = finding, value["count"]
        self._cells.give(("finding", *key), of_finding(finding.row))

    def drain(self) -> Iterator[tuple[str, Any]]:
        """Names and values of the changelog rows since the last drain."""
        for key in sorted(self._dirty, key=repr):
            finding = self._findings[key]
            broke = next(iter(finding.members.values())).found
            yield "|".join(part or "" for part in key), {
                **{name: getattr(finding, name) for name in _STORED}, "row": dict(finding.row),
                "break": broke.to_record(), "members": sorted(finding.members), "count": self._counts[key]}
        self._dirty.clear()
