"""How far each number can be trusted: its sources' watermarks against the processing instant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from tieout.streams.api.encoding import instant
from tieout.streams.api.live import Live, Row
from tieout.streams.clock import now_us

WHOLE: Final = "*"  # the object of a row about a source as a whole
_SECOND_US: Final = 1_000_000

_BILLING: Final = ("TIME", "PSA", "ERP")
_STAFFING: Final = ("SCHED", "PSA", "ERP")
# Systems whose delay makes a KPI wrong. What is not named here is fed by every system.
FEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("unbilled_hours", "unbilled_value", "unpriced_hours", "unbilled_ageing"), _BILLING),
    **dict.fromkeys(("held_hours", "held_value", "exposure"), _BILLING),
    **dict.fromkeys(("assignment_sync_rate", "unsynchronised_assignments"), _STAFFING),
    # About the delivery itself: a late source is their news.
    **dict.fromkeys(("sync_lag", "duplicates_suppressed"), ()),
}


class State(StrEnum):
    """State of a source, and of a number made from sources."""

    FRESH = "FRESH"  # every source is within its limit
    STALE = "STALE"  # a source is behind its limit: the number may be wrong
    UNKNOWN = "UNKNOWN"  # nothing has been heard yet


@dataclass(frozen=True, slots=True)
class Source:
    """A source as a whole, judged at one instant; times are microseconds."""

    name: str
    system: str
    state: State
    watermark_at: int | None
    behind_us: int | None

    def stale(self) -> dict[str, Any]:
        """How it is named among a value's stale sources."""
        behind_s = None if self.behind_us is None else self.behind_us // _SECOND_US
        return {
            "source": self.name, "system": self.system, "state": self.state,
            "watermark_at": instant(self.watermark_at), "behind_s": behind_s,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Freshness:
    """The verdict on one number."""

    state: State
    complete_through: int | None
    stale: tuple[Source, ...]
    note: str

    def body(self) -> dict[str, Any]:
        """The `freshness` member of a value."""
        return {"state": self.state, "stale_sources": [source.stale() for source in self.stale], "note": self.note}


class Judge:
    """Judges freshness by the clock of the installation: the wall, or the newest instant in the log."""

    def __init__(self, live: Live, *, wall: bool) -> None:
        self._live = live
        self._wall = wall

    def now(self) -> int | None:
        """The processing instant, microseconds; None while nothing has been read on the log's clock."""
        return now_us() if self._wall else self._live.as_of

    def sources(self) -> list[Source]:
        """Every source as a whole, in order of name."""
        rows = [row for row in self._live.sources() if row["object"] == WHOLE]
        return sorted((self.source(row) for row in rows), key=lambda source: source.name)

    def source(self, row: Row) -> Source:
        """A row's source; in wall time it turns stale by itself when its row stops coming.

        On the log's clock the row itself says when it was judged: other partitions may be hours ahead of it.
        """
        watermark = row["watermark_at"]
        now = now_us() if self._wall else row["as_of"]
        behind = None if watermark is None else max(0, now - watermark)
        state = State(row["state"])
        if self._wall and behind is not None and behind > row["limit_s"] * _SECOND_US > 0:
            state = State.STALE
        return Source(row["source"], row["system"], state, watermark, behind)

    def freshness(self, kpi: str | None = None) -> Freshness:
        """Freshness of a KPI, or with None of everything."""
        every = self.sources()
        feeds = None if kpi is None else FEEDS.get(kpi)
        used = every if feeds is None else [source for source in every if source.system in feeds]
        stale = tuple(source for source in used if source.state is State.STALE)
        return Freshness(_state(used, feeds), _complete_through(used), stale, note(self._live.as_of, stale))


def _state(used: list[Source], feeds: tuple[str, ...] | None) -> State:
    if feeds == ():
        return State.FRESH
    if not used:
        return State.UNKNOWN
    states = {source.state for source in used}
    return next(state for state in (State.STALE, State.UNKNOWN, State.FRESH) if state in states)


def _complete_through(used: Iterable[Source]) -> int | None:
    marks = [source.watermark_at for source in used]
    known = [mark for mark in marks if mark is not None]
    return min(known) if known and len(known) == len(marks) else None


def note(as_of: int | None, stale: Iterable[Source]) -> str:
    """The sentence under a number: 'as of 10 Mar 14:03 UTC, ERP is 12 min behind'."""
    if as_of is None:
        return "no data yet"
    at = datetime.fromtimestamp(as_of // _SECOND_US, UTC)
    parts = [f"as of {at.day} {at:%b %H:%M} UTC"]
    parts += [f"{source.system} is {behind_text(source.behind_us)}" for source in stale]
    return ", ".join(parts)


def behind_text(behind_us: int | None) -> str:
    """A delay for people: 'up to date', '45 s behind', '12 min behind', '3 h behind', '2 d behind'."""
    if behind_us is None:
        return "not heard of yet"
    seconds = behind_us // _SECOND_US
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds // size} {unit} behind"
    return f"{seconds} s behind" if seconds else "up to date"
