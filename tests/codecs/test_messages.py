"""A table of messages, each with its fate: applied, filtered, parked or dead-lettered, and the changes it makes.

The cases are lines of `messages/*.jsonl`, described in `messages/README.md`. Each goes through the pipeline that ingest
runs; whatever happens to it, it is counted once, and a message that cannot be read in full changes nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from message_table import Case, content, rows

from tieout.codecs.errors import DecodeError
from tieout.codecs.formats import Codec, codec
from tieout.codecs.records import Decoded, RawRecord
from tieout.codecs.schema_source import GivenSchemas, Registered
from tieout.codecs.values import instant_text, to_wire
from tieout.reconcilers.changes import Change
from tieout.reconcilers.entities import ENTITIES, Axis
from tieout.reconcilers.routing import COVERED
from tieout.reconcilers.symbols import SYMBOL
from tieout.streams.identity import Identity
from tieout.streams.pipeline import Batch, Pipeline, Reading

FATES = ("applied", "filtered", "parked", "dead_lettered")
MEMBERS = {"name", "format", "options", "key", "value", "key_b64", "value_b64", "headers", "ts", "schemas", "known",
           "fate", "reason", "changes", "watermark", "unknown"}
TS_MS = 1_773_164_531_000
TOPIC = "raw"



def cases() -> list[Any]:
    """Every case of every file, named by format and name."""
    return [pytest.param(case, id=f"{case['format']}:{case['name']}") for case in rows()]


def record_of(case: Case) -> RawRecord:
    """The raw record of a case: partition 2, offset 7."""
    headers = tuple((name, None if value is None else value.encode()) for name, value in case.get("headers", ()))
    return RawRecord(TOPIC, 2, 7, case.get("ts", TS_MS), content(case, "key"), content(case, "value"), headers)


def codec_of(case: Case) -> Codec:
    """The codec that a source of this configuration has."""
    known = {int(number): Registered(json.dumps(schema)) for number, schema in case.get("schemas", {}).items()}
    return codec(case["format"], {**case["options"], "schemas": GivenSchemas(known) if known else None})


class Watched:
    """A codec that remembers what it said, which the pipeline does not hand out."""

    def __init__(self, inner: Codec) -> None:
        self.inner = inner
        self.decoded: Decoded | None = None

    def decode(self, raw: RawRecord) -> Decoded:
        self.decoded = self.inner.decode(raw)
        return self.decoded


def readable(change: Change) -> dict[str, Any]:
    """A change as the files have it."""
    kinds = ENTITIES[change.entity].attributes
    asserted = {name: to_wire(kinds[name], value) if name in kinds and not isinstance(value, dict) else value
                for name, value in change.asserted.items()}
    return {"entity": change.entity, "key": change.key, "op": change.op.value, "subject": change.subject,
            "seq": change.seq, "commit": instant_text(change.commit_us), "asserted": asserted}


def play(case: Case) -> tuple[Batch, Counter[str], Decoded | None]:
    """What the pipeline makes of a case: its batch, its counts, and what the codec said."""
    watched = Watched(codec_of(case))
    source = case["options"].get("source", "TIME/main")
    identity = Identity()
    for row, value in case.get("known", {}).items():
        identity.restore(row, value)
    pipeline = Pipeline(
        {TOPIC: Reading(watched, source, by_id=case["format"] != "canonical")}, sources={source: [f"{TOPIC}/2"]},
        partitions=2, producer="p", reads=frozenset(ENTITIES), identity=identity, closed=True,
    )
    batch = pipeline.take([record_of(case)])
    counts: Counter[str] = Counter()
    for totals in pipeline.totals.values():
        counts.update({name: count for name, count in totals.items() if not name.endswith("_us")})
    counts["applied"] = counts["received"] - sum(counts[fate] for fate in FATES[1:])
    return batch, counts, watched.decoded


def sent(batch: Batch) -> list[Change]:
    """The changes of sources that frames carry to the rules, each once however many partitions it goes to."""
    once = {(change.event_id, change.entity, change.op): change
            for out in batch.frames if out.axis is Axis.PROJECT for change in out.frame.changes
            if change.entity != COVERED}  # ingest makes it of a coverage
    return list(once.values())


@pytest.mark.parametrize("case", cases())
def test_a_message_meets_its_fate(case: Case) -> None:
    batch, counts, decoded = play(case)
    changes = [readable(change) for change in decoded.changes] if decoded else []
    letters = [letter.reason for letter in batch.dead_letters]
    assert changes == case.get("changes", []), f"{letters or (decoded and decoded.filtered)}: {json.dumps(changes)}"
    fate = case["fate"] if isinstance(case["fate"], dict) else {case["fate"]: max(1, len(changes))}
    found = {name: counts[name] for name in FATES if counts[name]}
    assert found == fate, f"reason {[letter.error for letter in batch.dead_letters]} {letters}"
    assert counts["received"] == sum(found.values())
    assert reason_of(batch, decoded) == case.get("reason")
    assert strange(batch) == case.get("unknown", {})
    if "watermark" in case:
        us = decoded.watermark_us if decoded else None
        assert (None if us is None else instant_text(us)) == case["watermark"]


@pytest.mark.parametrize("case", cases())
def test_what_is_applied_is_sent_and_nothing_else(case: Case) -> None:
    """A message is whole or nothing: frames carry as many changes as were counted as applied."""
    batch, counts, _ = play(case)
    assert len(sent(batch)) == counts["applied"]
    if batch.dead_letters:
        (letter,) = batch.dead_letters
        assert (letter.value, letter.key) == (content(case, "value"), content(case, "key"))
        assert letter.reason != "internal_error"
        assert letter.hint


def strange(batch: Batch) -> dict[str, str]:
    """Records of which the control axis is told that they have unknown symbols, with the fields."""
    return {change.key: change.asserted["fields"] for out in batch.frames if out.axis is Axis.CONTROL
            for change in out.frame.changes if change.entity == SYMBOL}


def reason_of(batch: Batch, decoded: Decoded | None) -> str | None:
    """Why a message was not applied."""
    if batch.dead_letters:
        return batch.dead_letters[0].reason
    waits = [parked.need for parked in batch.parked.values() if parked is not None]
    return waits[0] if waits else decoded.filtered if decoded else None


def test_the_table_is_sound() -> None:
    """Members are those that are described, names are unique, and every fate has its reason."""
    seen: set[tuple[str, str]] = set()
    for case in (param.values[0] for param in cases()):
        assert case.keys() <= MEMBERS, case["name"]
        assert (case["format"], case["name"]) not in seen, case["name"]
        assert ("reason" in case) == (case["fate"] not in ("applied", {})), case["name"]
        seen.add((case["format"], case["name"]))


def test_a_message_that_is_cut_is_refused_or_says_the_same() -> None:
    """No case decodes to something else when bytes are missing; only DecodeError may come."""
    for case in (param.values[0] for param in cases()):
        decoder, record = codec_of(case), record_of(case)
        for cut in range(0, len(record.value or b""), 7):
            try:
                decoder.decode(record._replace(value=(record.value or b"")[:cut]))
            except DecodeError:
                continue
            assert case["fate"] == "dead_lettered", f"{case['name']}: cut at {cut} it is read"
