"""Back-pressure: a writer waits at its limit, goes on at half of it, and learns what a forgetful broker dropped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from tieout.streams.pressure import Partition, Pressure, RecordsLost, Standing, forgets

T0, T1 = ("t", 0), ("t", 1)


class Readers:
    """What the broker says of each partition; every question is counted."""

    def __init__(self) -> None:
        self.standings: dict[Partition, Standing] = {}
        self.asked = 0

    def __call__(self, partitions: Iterable[Partition]) -> Mapping[Partition, Standing]:
        self.asked += 1
        return {partition: self.standings.get(partition, Standing(None, 0, 0)) for partition in partitions}


def pressure(readers: Readers, limit: int = 100, *, lossy: bool = False) -> Pressure:
    return Pressure(readers, limit, lossy=lossy, refresh_s=0, monotonic_s=lambda: 0.0)


def test_it_waits_above_the_limit_and_goes_on_at_half_of_it() -> None:
    """Ten records of 30 bytes; the reader advances: committed → unread bytes → wait?"""
    readers = Readers()
    subject = pressure(readers)
    for offset in range(10):
        subject.sent("t", 0, offset, 30)
    steps = []
    for committed in (0, 5, 6, 7, 8, 9, 10):
        readers.standings[T0] = Standing(committed, 0, 10)
        steps.append((committed, subject.wait(), subject.outstanding))
    assert steps == [(0, True, 300), (5, True, 150), (6, True, 120), (7, True, 90), (8, True, 60), (9, False, 30),
                     (10, False, 0)]


def test_the_fullest_partition_decides() -> None:
    readers = Readers()
    subject = pressure(readers)
    subject.sent("t", 0, 0, 10)
    subject.sent("t", 1, 0, 500)
    assert subject.wait()
    readers.standings[T1] = Standing(1, 0, 1)
    assert not subject.wait()


def test_a_group_that_never_committed_has_read_nothing() -> None:
    subject = pressure(Readers())
    subject.sent("t", 0, 0, 500)
    assert subject.wait()


def test_what_an_earlier_process_left_unread_counts() -> None:
    """Only offsets are known of it: 4 KiB a record."""
    readers = Readers()
    readers.standings[T0] = Standing(7, 0, 10)
    subject = pressure(readers, limit=10_000)
    subject.watch([T0])
    assert subject.wait()
    assert subject.outstanding == 3 * 4_096
    subject.sent("t", 0, 10, 5)
    readers.standings[T0] = Standing(10, 0, 11)
    assert not subject.wait()
    assert subject.outstanding == 5


def test_records_that_retention_took_away_are_not_waited_for() -> None:
    readers = Readers()
    readers.standings[T0] = Standing(None, 5, 6)
    subject = pressure(readers)
    for offset in range(6):
        subject.sent("t", 0, offset, 60)
    assert not subject.wait()


def test_the_broker_is_asked_no_more_often_than_agreed() -> None:
    readers, now = Readers(), [0.0]
    subject = Pressure(readers, 100, refresh_s=1.0, monotonic_s=lambda: now[0])
    assert not subject.wait()  # nothing to ask about yet
    subject.sent("t", 0, 0, 10)
    for now[0] in (0.0, 0.5, 0.9, 1.0, 1.5, 2.0):
        subject.wait()
    assert readers.asked == 3


@pytest.mark.parametrize(("standing", "lost"), [
    (Standing(5, 5, 9), False), (Standing(None, 0, 9), False), (Standing(4, 5, 9), True), (Standing(None, 1, 9), True),
])
def test_a_forgetful_broker_that_dropped_unread_records_is_found_out(standing: Standing, lost: bool) -> None:
    readers = Readers()
    readers.standings[T0] = standing
    subject = pressure(readers, 10**9, lossy=True)
    subject.watch([T0])
    if lost:
        with pytest.raises(RecordsLost, match=r"t/0: the reader is at offset .* keeps records only from"):
            subject.wait()
    else:
        assert not subject.wait()


@pytest.mark.parametrize(("cluster_id", "expected"), [("mockCluster5a3f", True), ("4L6g3nShT-eMCtK--X86sw", False),
                                                      (None, False)])
def test_the_embedded_broker_is_recognised(cluster_id: str | None, expected: bool) -> None:
    assert forgets(cluster_id) is expected
