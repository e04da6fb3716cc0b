"""What the worker axis says about time entries, on its way back to their homes: ingest reads it and frames it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final

from tieout.codecs.avro import RowReader
from tieout.codecs.framing import unframe
from tieout.codecs.records import RawRecord
from tieout.reconcilers.changes import Change
from tieout.reconcilers.outcomes import Outcome, Output
from tieout.reconcilers.routing import standing
from tieout.schemas import avsc
from tieout.streams.topics import output_topic

STANDINGS: Final = output_topic(Output.STANDING)


def of_records(records: Iterable[RawRecord]) -> Iterator[Change]:
    """The standings that the worker's records hold; DecodeError when somebody else writes to the topic."""
    for record in records:
        if record.value is not None:
            yield standing(_reader().read(unframe(record.value).payload))


def of_outcomes(outcomes: Iterable[Outcome]) -> list[Change]:
    """The standings among outcomes, where there is no topic between."""
    return [standing(outcome.row) for outcome in outcomes if outcome.output is Output.STANDING and outcome.row]


@cache
def _reader() -> RowReader:
    return RowReader(avsc(Output.STANDING.value))
