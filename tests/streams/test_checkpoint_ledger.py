"""What a ledger and the rows beside it mean: which checkpoint is the last, and which rows count."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tieout.streams.tables import CHECKPOINT_KEY, CLAIM_KEY, Checkpoint, Ledger, RestoreError, Rows, Stamp

Record = tuple[bytes, bytes]


def claim(epoch: int) -> Record:
    return CLAIM_KEY, orjson.dumps({"epoch": epoch})


def point(epoch: int, number: int, *, puts: int = 1, base: tuple[int, int] | None = None) -> Record:
    checkpoint = Checkpoint(epoch, number, number * 10, {"rates": puts}, Stamp(*base) if base else None, {"p": number})
    return CHECKPOINT_KEY, checkpoint.to_bytes()


def ledger(*records: Record) -> Ledger:
    read = Ledger()
    for record in records:
        read.read(*record)
    return read


CHAIN = [claim(1), point(1, 1), point(1, 2), claim(2), claim(3), point(3, 1, base=(1, 2)), point(3, 2, base=(1, 2))]
LEDGERS: list[tuple[str, list[Record], tuple[int, int] | None, dict[int, int]]] = [
    # what                            ledger                                      last    highest number that counts
    ("nothing yet",                   [],                                         None,   {}),
    ("claimed, nothing written",      [claim(1)],                                 None,   {1: 0}),
    ("two checkpoints",               [claim(1), point(1, 1), point(1, 2)],       (1, 2), {1: 2}),
    ("claimed anew",                  [claim(1), point(1, 1), claim(2)],          (1, 1), {1: 1, 2: 0}),
    ("an epoch that wrote nothing",   CHAIN,                                      (3, 2), {1: 2, 2: 0, 3: 2}),
    ("late word of an old owner",     [*CHAIN, point(1, 3)],                      (3, 2), {1: 2, 2: 0, 3: 2}),
    ("compacted to claim and last",   [claim(3), point(3, 2, base=(1, 2))],       (3, 2), {1: 2, 3: 2}),
    ("compacted, claimed by the next", [point(3, 2, base=(1, 2)), claim(4)],      (3, 2), {1: 2, 3: 2, 4: 0}),
]  # fmt: skip


@pytest.mark.parametrize(("what", "records", "last", "limits"), LEDGERS, ids=[row[0] for row in LEDGERS])
def test_the_last_checkpoint_and_what_counts(
    what: str, records: list[Record], last: tuple[int, int] | None, limits: dict[int, int]
) -> None:
    read = ledger(*records)
    found = read.last()
    assert (found.stamp if found else None) == last
    assert read.limits() == limits


def test_a_checkpoint_survives_its_bytes() -> None:
    checkpoint = Checkpoint(7, 3, 4711, {"rates": 2}, Stamp(6, 9), {"ingest-1": 12})
    assert Checkpoint.from_bytes(checkpoint.to_bytes()) == checkpoint


def kept(read: Ledger, rows: list[tuple[str, Any, tuple[int, int]]]) -> tuple[dict[str, Any], Rows]:
    """The rows that count when the last checkpoint is complete."""
    collected = Rows(read)
    for key, value, stamp in rows:
        collected.add("rates", key.encode(), None if value is None else orjson.dumps(value), Stamp(*stamp))
    collected.take_newest()
    return {key: value for _, key, value in collected.items()}, collected


def test_the_last_row_of_a_key_wins_and_a_deletion_deletes() -> None:
    rows = [("a", 1, (1, 1)), ("b", 1, (1, 1)), ("a", 2, (1, 2)), ("b", None, (1, 2))]
    found, _ = kept(ledger(claim(1), point(1, 1), point(1, 2)), rows)
    assert found == {"a": 2}


def test_falsy_values_are_values() -> None:
    found, _ = kept(ledger(claim(1), point(1, 1)), [("a", 0, (1, 1)), ("b", "", (1, 1)), ("c", [], (1, 1))])
    assert found == {"a": 0, "b": "", "c": []}


def test_rows_without_their_checkpoint_do_not_count() -> None:
    """A transaction that died half-way, on a broker that shows it, and one of an owner that was superseded."""
    found, _ = kept(
        ledger(*CHAIN), [("a", 1, (1, 2)), ("a", 2, (1, 3)), ("b", 3, (2, 1)), ("c", 4, (3, 2)), ("c", 5, (3, 3))]
    )
    assert found == {"a": 1, "c": 4}


def test_compacted_epochs_count_in_full() -> None:
    found, _ = kept(ledger(claim(9), point(9, 1, base=(8, 4))), [("a", 1, (3, 77)), ("b", 2, (8, 4)), ("b", 3, (8, 5))])
    assert found == {"a": 1, "b": 2}


def test_whether_the_last_checkpoint_is_complete() -> None:
    read = ledger(claim(1), point(1, 1), point(1, 2, puts=2))
    last = read.last()
    assert last is not None
    _, whole = kept(read, [("a", 1, (1, 2)), ("b", 2, (1, 2)), ("c", None, (1, 2))])
    _, torn = kept(read, [("a", 1, (1, 2)), ("c", None, (1, 2))])
    assert whole.holds(last, ["rates"])
    assert not torn.holds(last, ["rates"])
    assert torn.holds(last, ["another"]), "a table that this build does not have is not missed"


def test_a_torn_last_checkpoint_is_dropped_for_the_one_before() -> None:
    read = ledger(claim(1), point(1, 1), point(1, 2))
    read.drop_last()
    last = read.last()
    assert last is not None
    assert last.stamp == (1, 1)


def test_a_torn_first_checkpoint_means_a_fresh_start() -> None:
    read = ledger(claim(1), point(1, 1), claim(2))
    read.drop_last()
    assert read.last() is None


@pytest.mark.parametrize("record", [point(3, 2, base=(1, 2)), point(3, 1, base=(1, 2))])
def test_torn_with_nothing_before_it_is_an_error(record: Record) -> None:
    """On a compacted ledger this cannot happen unless rows were taken away: going on would give wrong results."""
    with pytest.raises(RestoreError, match="restore the topics"):
        ledger(claim(3), record).drop_last()


def test_two_incomplete_checkpoints_in_a_row_are_both_left_out() -> None:
    """The second one was restored from before the first: going back twice is no loss of the one in between."""
    found = ledger(claim(1), point(1, 1), claim(2), point(2, 1))
    found.drop_last()
    assert found.last() is None
    assert found.limits() == {1: 0, 2: 0}
