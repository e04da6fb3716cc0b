"""The worker axis outside the engine: who is sent there, and how its answer comes back."""

from __future__ import annotations

from collections.abc import Iterable

from firm import change, invoice
from ingest_records import event, record

from tieout.codecs.formats import codec
from tieout.codecs.records import RawRecord
from tieout.reconcilers.changes import Change, Op
from tieout.reconcilers.engine import READS
from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import Outcome, Output
from tieout.reconcilers.routing import COVERED, covered_invoice, partition_of, standing
from tieout.streams.identity import Identity
from tieout.streams.outputs import encoders
from tieout.streams.pipeline import Batch, Pipeline, Reading
from tieout.streams.standings import STANDINGS, of_outcomes, of_records

WIDE = 3
TOLD = {"entry_key": "TIME:9", "held": True, "pending": False, "released_at": None, "version": 41, "as_of": 7}


def pipeline() -> Pipeline:
    stated = {"TIME/kimai": ["time/0"], "PSA/c": ["psa/0"]}
    return Pipeline({}, sources=stated, partitions=WIDE, producer="p", reads=READS,
                    otherwise=Reading(codec("canonical", {})))


def time_entry(offset: int, topic: str = "time", source: str = "TIME/kimai", **data: object) -> RawRecord:
    said = {"origin_system": "TIME", "origin_id": "9", **data}
    return record(topic, offset, event("time_entry.upserted", source, "9", said))


def places(batch: Batch, axis: Axis) -> set[int]:
    """Partitions of an axis that got a change."""
    return {outgoing.partition for outgoing in batch.frames if outgoing.axis is axis and outgoing.frame.changes}


def test_an_entry_goes_to_its_project_and_to_its_worker() -> None:
    batch = pipeline().take([time_entry(0, worker_no="W7", project_code="ACME")])
    assert places(batch, Axis.PROJECT) == {partition_of("ACME", WIDE)}
    assert places(batch, Axis.WORKER) == {partition_of("W7", WIDE)}
    assert batch.xref["worker|TIME:9"] == "W7"


def test_it_stays_with_the_worker_that_its_own_system_named_first() -> None:
    ingest = pipeline()
    early = ingest.take([time_entry(0, "psa", "PSA/c", worker_no="W8", project_code="ACME")])
    assert places(early, Axis.WORKER) == set()  # it waits for the entry's own system
    later = ingest.take([time_entry(0, worker_no="W7", project_code="ACME"), time_entry(1, worker_no="W9")])
    assert places(later, Axis.WORKER) == {partition_of("W7", WIDE)}


def test_an_entry_of_nobody_is_on_no_partition_of_workers() -> None:
    assert places(pipeline().take([time_entry(0, project_code="ACME")]), Axis.WORKER) == set()


def test_masters_go_everywhere_and_invoices_not_to_workers() -> None:
    head = {"le_code": "UK", "invoice_no": "I"}
    batch = pipeline().take([record("erp", 0, event("resource.upserted", "ERP/ax", "W7", {"worker_no": "W7"}))])
    assert places(batch, Axis.WORKER) == places(batch, Axis.PROJECT) == set(range(WIDE))
    batch = pipeline().take([record("erp", 0, event("invoice.upserted", "ERP/ax", "I", head))])
    assert (places(batch, Axis.WORKER), places(batch, Axis.PROJECT)) == (set(), set(range(WIDE)))


def test_a_standing_comes_back_as_it_was_written_and_goes_to_every_partition() -> None:
    value = encoders()[Output.STANDING](TOLD)
    written = [RawRecord(STANDINGS, 0, 5, 0, b"TIME:9", value), RawRecord(STANDINGS, 0, 6, 0, b"TIME:9", None)]
    (back,) = of_records(written)
    assert [back] == of_outcomes([Outcome(Output.STANDING, "TIME:9", TOLD)]) == [standing(TOLD)]
    assert (back.key, back.seq, dict(back.asserted)) == (
        "TIME:9", "00000000000000000041", {"held": True, "pending": False, "released_at": None})
    batch = pipeline().deliver([back])
    assert places(batch, Axis.PROJECT) == set(range(WIDE))
    assert places(batch, Axis.WORKER) == set()


def sent(identity: Identity, changes: Iterable[Change]) -> list[int]:
    return [change.commit_us for change in changes if identity.learn_cover(change)]


def test_an_invoice_is_said_to_be_covered_once_and_again_when_it_was_so_before() -> None:
    first, *_ = (item for item in invoice("I1", "2026-03-02", covers={"E1": 3_600}) if item.entity == "coverage")
    second = change("ERP", "coverage", "2026-03-03", le_code="UK01", invoice_no="I1", line_no=1, target="TIME:E2")
    assert sent(Identity(), [first, second, first]) == [first.commit_us]
    assert sent(Identity(), [second, first]) == [second.commit_us, first.commit_us]
    implied = covered_invoice(first)
    assert (implied.entity, implied.key, implied.op) == (COVERED, "UK01:I1", Op.UPSERT)
    assert implied.commit_us == first.commit_us
