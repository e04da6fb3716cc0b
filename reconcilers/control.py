"""The control axis: the state of the sources, and check 41, which is decided by the clock alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tieout.reconcilers.asof import AsOf
from tieout.reconcilers.changes import NEVER, Frame
from tieout.reconcilers.deadlines import Grace
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.facts import Facts
from tieout.reconcilers.findings import Break, Finding, Life, Rule, Severity, Side, publish, step
from tieout.reconcilers.kpis import Amount, Cell, Cells, of_finding
from tieout.reconcilers.outcomes import Outcome, Output
from tieout.reconcilers.policy import Policy
from tieout.reconcilers.timeline import DAY, SECOND, instant_text
from tieout.reconcilers.watermarks import Watermarks

_STORED: Final = ("code", "facet", "business_key", "episode", "occurrences", "status", "onset", "deadline", "opened_at",
                  "resolved_at", "resolution")
_DEFAULT_LIMIT_S: Final = 5_400


def limit_s(policy: Policy, source: str) -> int:
    """The age of the watermark at which a source is stale."""
    return policy.stale_after_s.get(source.partition("/")[0], _DEFAULT_LIMIT_S)


def stale_sources(policy: Policy, marks: Watermarks) -> list[str]:
    """Sources whose watermark, once stated, is older than their limit."""
    return [source for source in marks.sources() if (mark := marks.of_source(source)) != NEVER
            and marks.now_us - mark > limit_s(policy, source) * SECOND]


def stale_systems(policy: Policy, marks: Watermarks) -> set[str]:
    """Systems that have a stale source."""
    return {source.partition("/")[0] for source in stale_sources(policy, marks)}


STALE: Final = Rule("SOURCE_STALE", "41", "source", (), lambda world, subject: (), Severity.HIGH, "platform",
                    hold="H19", structural=True)


class ControlState:
    """Source states, counts and stale sources of the firm."""

    def __init__(self, partition: int, policy: Policy) -> None:
        self.policy = policy
        self.marks = Watermarks()
        self.cells = Cells(Axis.CONTROL, partition)
        self.findings: dict[str, Finding] = {}
        self.counts: dict[str, dict[str, dict[str, int]]] = {}  # producer -> source|object -> totals
        self.dirty: set[str] = set()

    def apply(self, frame: Frame) -> Iterator[Outcome]:
        """Sources that turned stale or caught up."""
        self.marks.take(frame)
        if frame.counts:
            self.counts[frame.producer] = {name: dict(totals) for name, totals in frame.counts.items()}
        for source in self.marks.sources():
            yield from self._look(source)

    def settle(self) -> Iterator[Outcome]:
        """Where every source stands now: watermarks, lags and counts move with each frame."""
        for source in self.marks.sources():
            yield self._row(source, "*", {})
            mark = self.marks.of_source(source)
            lag = {} if mark == NEVER else {Cell("sync_lag", "us", source=source): Amount(
                max(0, self.marks.now_us - mark))}
            self.cells.give(("lag", source), lag)
        for place, totals in sorted(self.totals().items()):
            source, _, name = place.partition("|")
            yield self._row(source, name, totals)
        yield from self.cells.changed(self.marks.now_us, None)

    def totals(self) -> dict[str, dict[str, int]]:
        """Counts by source and object over all ingest processes."""
        found: dict[str, dict[str, int]] = {}
        for places in self.counts.values():
            for place, totals in places.items():
                sums = found.setdefault(place, {})
                for name, count in totals.items():
                    newest = name == "last_event_us"
                    sums[name] = max(sums.get(name, 0), count) if newest else sums.get(name, 0) + count
        return found

    def _row(self, source: str, name: str, totals: dict[str, int]) -> Outcome:
        mark = self.marks.of_source(source)
        system, _, instance = source.partition("/")
        limit = limit_s(self.policy, source)
        late = mark != NEVER and self.marks.now_us - mark > limit * SECOND
        row = {
            "source": source, "system": system, "instance": instance, "object": name,
            "watermark_at": None if mark == NEVER else mark, "last_event_at": totals.get("last_event_us"),
            "state": "UNKNOWN" if mark == NEVER else "STALE" if late else "FRESH", "limit_s": limit,
            **{count: totals.get(count, 0) for count in ("received", "parked", "filtered", "dead_lettered")},
            "as_of": self.marks.now_us,
        }
        return Outcome(Output.SOURCE_STATE, f"{source}|{name}", row)

    def _look(self, source: str) -> Iterator[Outcome]:
        finding = self.findings.get(source)
        mark, now = self.marks.of_source(source), self.marks.now_us
        late = mark != NEVER and now - mark > limit_s(self.policy, source) * SECOND
        if late and (finding is None or not finding.is_open):
            yield from self._open(source, mark)
        elif not late and finding is not None and finding.is_open:
            finding.status, finding.resolved_at, finding.resolution = "RESOLVED_AUTO", now, "the watermark caught up"
            yield from self._publish(source, finding, "RESOLVED_AUTO", now)

    def _open(self, source: str, mark: int) -> Iterator[Outcome]:
        finding = self.findings.setdefault(source, Finding(STALE.code, None, source))
        deadline = mark + limit_s(self.policy, source) * SECOND
        again = finding.resolved_at is not None and deadline - finding.resolved_at <= self.policy.flap_days * DAY
        if again:
            finding.occurrences += 1
        else:
            finding.episode, finding.occurrences, finding.opened_at = finding.episode + 1, 1, deadline
            finding.onset, finding.deadline = mark, deadline
        finding.status, finding.resolved_at, finding.resolution = "OPEN", None, None
        finding.members = {source: Life(STALE, source, self._break(source, mark), mark, deadline, True)}
        yield from self._publish(source, finding, "REOPENED" if again else "OPENED", self.marks.now_us)

    def _break(self, source: str, mark: int) -> Break:
        minutes = limit_s(self.policy, source) // 60
        text = (f"{source} has been delivered until {instant_text(mark)}, no further for more than {minutes} minutes; "
                "checks that need it wait.")
        return Break(None, source, Grace(), text, "source", Side(source, instant_text(mark)), Side("clock", None))

    def _publish(self, source: str, finding: Finding, name: str, at: int) -> Iterator[Outcome]:
        world = AsOf(Facts(), self.policy)
        finding.row = publish(world, STALE, finding, self.marks.now_us)
        self.dirty.add(source)
        self.cells.give(("finding", source), of_finding(finding.row))
        yield Outcome(Output.FINDING_STATE, finding.finding_id, finding.row)
        event = step(finding, name, at, finding.resolution)
        yield Outcome(Output.FINDING_EVENTS, event["event_id"], event)

    # -- changelog -------------------------------------------------------------------------------

    def restore(self, table: str, value: Any) -> None:
        """Take up a changelog row."""
        if table == "findings":
            life = value.pop("life")
            finding = Finding(**value)
            member = Life(STALE, finding.business_key, Break.from_record(life), finding.onset, finding.deadline, True)
            finding.members = {finding.business_key: member}
            self.findings[finding.business_key] = finding
        elif table == "counts":
            self.counts = value

    def restored(self) -> None:
        """Rebuild the cells."""
        for source, finding in self.findings.items():
            self.cells.give(("finding", source), of_finding(finding.row))
        for source in self.marks.sources():
            mark = self.marks.of_source(source)
            if mark != NEVER:
                self.cells.give(("lag", source), {Cell("sync_lag", "us", source=source): Amount(
                    max(0, self.marks.now_us - mark))})
        self.cells.forget_changes()

    def drain(self) -> Iterator[tuple[str, str, Any]]:
        """Changelog rows since the last drain."""
        yield "counts", "counts", self.counts
        for source in sorted(self.dirty):
            finding = self.findings[source]
            stored = {name: getattr(finding, name) for name in _STORED}
            life = finding.members[source].found.to_record()
            yield "findings", source, {**stored, "row": dict(finding.row), "life": life}
        self.dirty.clear()
