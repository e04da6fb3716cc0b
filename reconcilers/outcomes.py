"""What `apply` returns: rows for the output topics, keyed, flat, typed as `schemas/avro/<topic>.avsc` says."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple


class Output(StrEnum):
    """An output topic; the value is its schema's name, the topic is `tieout.<value>.v1`."""

    FINDING_STATE = "finding.state"  # findings now, by finding_id; a tombstone never
    FINDING_EVENTS = "finding.events"  # every step of a finding, append-only
    TIME_ENTRY_STATE = "time_entry.state"  # quantities, value, state and holds, by entry_key and project_code
    BILLING_DECISION = "billing_decision.events"  # READY, HELD[reasons], … whenever an entry's state changes
    KPI_STATE = "kpi.state"  # KPI cells, by KPI, dimensions, axis and partition
    SOURCE_STATE = "source.state"  # watermark, counts and state of each source object
    STANDING = "standing.state"  # internal: what the worker axis says about a time entry, for the entry's home

    __hash__ = str.__hash__  # the one of enums is written in Python, and every outcome is looked up several times


STATE_OUTPUTS = (Output.FINDING_STATE, Output.TIME_ENTRY_STATE, Output.KPI_STATE, Output.SOURCE_STATE,
                 Output.STANDING)

PUBLISHED = tuple(output for output in Output if output is not Output.STANDING)  # what readers are told


class Outcome(NamedTuple):
    """One row for one output topic. `row` None is a tombstone (state topics only)."""

    output: Output
    key: str
    row: Mapping[str, Any] | None
