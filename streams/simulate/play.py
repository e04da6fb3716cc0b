"""Playing records into Kafka at a pace: so many simulated hours a second, waiting when the readers are behind.

Records are written in slices of simulated time, and a slice is acknowledged before the next one begins: whoever reads
a partition to its end knows that nothing older is still to come, but for the length of a slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, Protocol

from tieout.streams import clock
from tieout.streams.simulate.delivery import Record
from tieout.streams.simulate.instants import HOUR, MINUTE, STARTS_AT

SLICE: Final = 2 * MINUTE
_HOLD_S: Final = 0.05
_FLUSH_S: Final = 30.0
_TELL_EVERY_S: Final = 0.25


class Writer(Protocol):
    """The part of confluent-kafka's Producer that is used."""

    def produce(self, topic: str, *, value: bytes, key: str, partition: int, timestamp: int,
                on_delivery: Callable[[Any, Any], None]) -> None:
        """Queue a record; `timestamp` in milliseconds."""

    def flush(self, timeout: float, /) -> int:
        """Wait for acknowledgements; the number still outstanding."""


class NotWritten(Exception):
    """The cluster did not take a record."""


@dataclass(slots=True)
class Progress:
    """How far the play is: the simulated instant, records written of how many, and whether readers hold it back."""

    at: int
    written: int
    total: int
    held: bool = False


@dataclass(slots=True)
class Player:
    """Writes slices when they are due. `hold`: readers are behind; `stop(seconds)` waits and says whether to end."""

    writer: Writer
    hours_per_s: float
    hold: Callable[[], bool]
    stop: Callable[[float], bool]
    sent: Callable[[str, int, int, int], None]  # topic, partition, offset, bytes
    tell: Callable[[Progress], None]
    _failure: Any = None

    def play(self, records: list[Record]) -> bool:
        """All records; False when stopped before the end. Raises NotWritten."""
        progress = Progress(STARTS_AT, 0, len(records))
        begun_s, told_s = clock.monotonic_s(), 0.0
        for at, part in slices(records):
            begun_s += self._wait(progress)
            early_s = begun_s + (at - STARTS_AT) / HOUR / self.hours_per_s - clock.monotonic_s()
            if self.stop(max(0.0, early_s)):
                return False
            self._write(part)
            progress.at, progress.written = at, progress.written + len(part)
            if clock.monotonic_s() - told_s >= _TELL_EVERY_S:
                told_s = clock.monotonic_s()
                self.tell(progress)
        self.tell(progress)
        return True

    def _wait(self, progress: Progress) -> float:
        """Hold back while readers are behind; the seconds that it took."""
        begun_s = clock.monotonic_s()
        while self.hold():
            progress.held = True
            self.tell(progress)
            if self.stop(_HOLD_S):
                break
        progress.held = False
        return clock.monotonic_s() - begun_s

    def _write(self, part: list[Record]) -> None:
        for record in part:
            self.writer.produce(record.topic, value=record.value, key=record.key, partition=record.partition,
                                timestamp=record.at // 1_000, on_delivery=self._delivered)
        left = self.writer.flush(_FLUSH_S)
        if self._failure is not None or left:
            raise NotWritten(f"{self._failure or f'{left} records without an answer for {_FLUSH_S:.0f} s'}: "
                             "is the cluster up, and has every raw topic the partitions of `facts.TOPICS`?")

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self._failure = error
        else:
            self.sent(message.topic(), message.partition(), message.offset(), len(message))


def slices(records: Iterable[Record]) -> Iterator[tuple[int, list[Record]]]:
    """The records of each slice of simulated time that has some, with the instant at which it begins."""
    for number, part in groupby(records, key=lambda record: record.at // SLICE):
        yield number * SLICE, list(part)
