"""Real change records of six PostgreSQL schemas, replayed: at each checkpoint the store says what the tables said."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from capture import sources
from capture.judgement import FORMS, GOLDEN, checkpoints, differences, oracle, records, replayed

from tieout.codecs.records import RawRecord
from tieout.reconcilers.changes import Change, Op
from tieout.streams.sources import readings

NAMES = [each.name for each in checkpoints()]
LAST = NAMES[-1]
# ExtractNewRecordState has no form for a truncate and drops it: what it deleted lives on in a flattened stream.
TRUNCATED_FOR_GOOD = "emptied"


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_equals_the_source_tables(name: str, tmp_path: Path) -> None:
    """In each encoding, to the second and the cent."""
    told = oracle(name, tmp_path)
    for form in FORMS:
        found = differences(told, replayed(form, name, tmp_path))
        if (form, name) != ("flat", TRUNCATED_FOR_GOOD):
            assert not found, f"{form}\n" + "\n".join(found)


def test_a_flattened_stream_does_not_know_of_truncates(tmp_path: Path) -> None:
    """The limit of the form, so that nobody counts on it: the rows truncated for good are all that differs."""
    found = differences(oracle(TRUNCATED_FOR_GOOD, tmp_path), replayed("flat", TRUNCATED_FOR_GOOD, tmp_path))
    assert any(": written_off_s: oracle 0, stream" in line for line in found)
    written_off = {row.split(",")[1].replace("kimai:", "TIME:") for each in checkpoints()
                   for row in each.tables["erp.write_off"].splitlines()[1:]}
    entries = {line.split()[1].partition("|")[0] for line in found if line.startswith("time_entry")}
    assert entries <= written_off


@pytest.mark.parametrize(("form", "seed"), [("json", 1), ("avro", 2), ("flat", 3), ("json", 4)])
def test_no_order_of_the_sources_changes_the_end(form: str, seed: int, tmp_path: Path) -> None:
    """Shuffled between sources, a tenth of all records twice."""
    name = "reload" if form == "flat" else LAST
    database = replayed(form, name, tmp_path, shuffle=seed, duplicate=0.1)
    found = differences(oracle(name, tmp_path), database)
    assert not found, "\n".join(found)


def test_a_lie_in_the_tables_is_noticed(tmp_path: Path) -> None:
    """The comparison is not blind."""
    told, database = oracle("week one", tmp_path), replayed("json", "week one", tmp_path)
    told.execute("UPDATE time_entry SET unbilled_minor = unbilled_minor + 1 WHERE unbilled_minor > 0")
    assert any("unbilled_minor: oracle" in line for line in differences(told, database))


def said(form: str, tmp_path: Path) -> Counter[str]:
    """The changes that a form's records are decoded to, less where and in what form they stood."""
    codecs = readings(sources.settings(form, tmp_path, GOLDEN))
    found: Counter[str] = Counter()
    for record in records(form):
        reading = codecs.get(record.topic)
        if reading is not None:
            found.update(map(_content, reading.codec.decode(record).changes))
    return found


def _content(change: Change) -> str:
    asserted = json.dumps(change.asserted, sort_keys=True)
    return f"{change.op} {change.entity} {change.source} {change.key} {change.subject} {change.commit_us} {change.seq} {asserted}"


def test_every_encoding_says_the_same(tmp_path: Path) -> None:
    """Change by change: order token, commit instant, key and attributes."""
    said_in_json = said("json", tmp_path)
    assert said("avro", tmp_path) == said_in_json
    assert said_in_json.total() > 1_000
    lost = said_in_json - said("flat", tmp_path)
    assert said("flat", tmp_path) - said_in_json == Counter()
    assert {line.split()[0] for line in lost} == {Op.TRUNCATE.value}


def _op(op: str) -> Callable[[RawRecord], bool]:
    return lambda record: f'"op":"{op}"'.encode() in (record.value or b"")


def _holds(words: bytes) -> Callable[[RawRecord], bool]:
    return lambda record: words in (record.value or b"")


# What the recording must hold to be worth replaying; who records it anew sees here what got lost.
HELD: dict[str, tuple[Callable[[RawRecord], bool], int]] = {
    "snapshot rows": (_op("r"), 150),
    "inserts": (_op("c"), 200),
    "updates": (_op("u"), 200),
    "deletes": (_op("d"), 10),
    "truncates": (_op("t"), 2),
    "logical messages": (_op("m"), 6),
    "the last row of a snapshot": (_holds(b'"snapshot":"last"'), 6),
    "tombstones": (lambda record: record.value is None, 10),
    "new keys": (lambda record: record.header("__debezium.newkey") is not None, 5),
    "old keys": (lambda record: record.header("__debezium.oldkey") is not None, 5),
    "a long text that is not said": (_holds(b"__debezium_unavailable_value"), 3),
    "an infinite date of a snapshot": (_holds(b":-622191234"), 1),
    "an infinite date of the log": (_holds(b":-2147472692"), 1),
    "decimals of their own scale": (_holds(b'{"scale":'), 50),
    "transactions": (_holds(b'"status":"END"'), 10),
    "heartbeats": (lambda record: record.topic.startswith("__debezium-heartbeat."), 6),
    "ids beyond 2^53": (_holds(b'"recid":5637144576000001'), 1),
}


@pytest.mark.parametrize("what", HELD)
def test_the_recording_holds(what: str) -> None:
    holds, least = HELD[what]
    assert sum(map(holds, records("json"))) >= least


def test_the_recording_is_small() -> None:
    """Everything together is less than 2 MB."""
    assert sum(file.stat().st_size for file in GOLDEN.iterdir()) < 2_000_000
