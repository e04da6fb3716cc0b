"""A made-up firm for the API's tests: rows as the worker would publish them, and an application over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from tieout.reconcilers.outcomes import Outcome, Output
from tieout.schemas import avsc
from tieout.streams.api.access import Access
from tieout.streams.api.app import create_app
from tieout.streams.api.embeds import EmbedKeys
from tieout.streams.api.freshness import Judge
from tieout.streams.api.hub import Hub
from tieout.streams.api.live import DIMENSIONS, OUTPUTS, Live, Record
from tieout.streams.api.publisher import Publisher
from tieout.streams.api.services import Services
from tieout.streams.api.snapshot import Snapshot
from tieout.streams.api.values import Values
from tieout.streams.sinks.catalogue import BY_ID
from tieout.streams.sinks.publish import Publisher as SnapshotPublisher
from tieout.streams.sinks.store import Store

NOON = 1_773_144_000_000_000  # 2026-03-10T12:00:00Z in microseconds
MINUTE = 60_000_000
DAY = 86_400_000_000
TODAY = NOON // DAY

UK: dict[str, Any] = {"le_code": "UK01", "region": "EMEA", "practice": "DATA", "project_code": "ACME-24017"}
US: dict[str, Any] = {"le_code": "US01", "region": "AMER", "practice": "CLOUD", "project_code": "PAC-100"}


def blank(output: Output, **given: Any) -> dict[str, Any]:
    """A row of an output with null or zero in every field that is not given; an unknown field is an error."""
    fields = avsc(output.value)["fields"]
    unknown = given.keys() - {item["name"] for item in fields}
    assert not unknown, f"{output}: no field {unknown}"
    return {item["name"]: given.get(item["name"], _nothing(item["type"])) for item in fields}


def _nothing(kind: Any) -> Any:
    if isinstance(kind, list):
        return None
    return {"string": "", "boolean": False}.get(str(kind), 0)


@dataclass
class Firm:
    """Rows go in by name; `services` and `app` are made of what they leave behind."""

    folder: Path
    wall: bool = False
    live: Live = field(default_factory=Live)
    outcomes: list[Outcome] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)  # of embed tokens

    def __post_init__(self) -> None:
        self.judge = Judge(self.live, wall=self.wall)
        self.values = Values(self.live, self.judge, BY_ID)
        self.hub = Hub(epoch=0xABC, kept=64)
        self.publisher = Publisher(self.values, self.hub, interval_s=0.05)
        self.snapshot = Snapshot(self.folder / "analytics.duckdb")
        self.ready = True

    def app(self, **parts: Any) -> FastAPI:
        """The application over these rows, open unless `access` says otherwise; other parts of Services by name."""
        given = {"access": Access(keys=EmbedKeys(self.keys))} | parts
        return create_app(
            Services(
                self.live, self.judge, self.values, self.hub, self.publisher, self.snapshot, BY_ID,
                lambda probe: (self.ready or probe == "live", {"status": "ok", "probe": probe}), **given,
            )
        )  # fmt: skip

    def cell(
        self,
        kpi: str,
        numerator: int,
        unit: str,
        *,
        partition: int = 0,
        gone: bool = False,
        measure: str = "VALUE",
        **dims: Any,
    ) -> str:
        """Put a KPI cell (or with `gone` its tombstone) and return its key."""
        key = "|".join(map(str, [kpi, measure, partition, *(dims.get(name) for name in DIMENSIONS)]))
        row = blank(
            Output.KPI_STATE, kpi=kpi, measure=measure, axis="project", partition=partition, numerator=numerator,
            unit=unit, **({"as_of": NOON} | dims),
        )  # fmt: skip
        self.put(Output.KPI_STATE, key, None if gone else row)
        return key

    def finding(self, finding_id: str, **given: Any) -> None:
        """Put a finding."""
        row = {
            "code": "TIME_LATE_TO_ERP", "check_no": "27", "entity": "time_entry", "business_key": f"TIME:{finding_id}",
            "systems": "TIME|PSA|ERP", "episode": 1, "occurrences": 1, "status": "OPEN", "severity": "HIGH",
            "queue": "finance.EMEA", "onset_at": NOON - 3 * DAY, "deadline_at": NOON - 2 * DAY,
            "opened_at": NOON - 2 * DAY, "entries_count": 1, "entries": f"TIME:{finding_id}",
            "explanation": "7.50 h approved, nothing in the ERP.",
            "rule_version": "27.1", "updated_at": NOON, **UK,
        }  # fmt: skip
        row |= {"currency": "GBP"} if given.get("impact_minor") else {}
        self.put(Output.FINDING_STATE, finding_id, blank(Output.FINDING_STATE, finding_id=finding_id, **(row | given)))

    def step(self, finding_id: str, step: str, at: int) -> None:
        """Put a step in the life of a finding; only the store has these."""
        row: dict[str, Any] = {"event_id": f"{finding_id}-{step}", "finding_id": finding_id, "step": step}
        row |= {"code": "TIME_LATE_TO_ERP", "status": "OPEN", "at": at, "actor": "tieout", "episode": 1}
        self.put(Output.FINDING_EVENTS, str(row["event_id"]), blank(Output.FINDING_EVENTS, **row))

    def entry(self, entry_key: str, **given: Any) -> None:
        """Put a time entry; only the store has these."""
        row = {
            "entry_key": entry_key,
            "worker_no": "W1001",
            "state": "READY",
            "updated_at": NOON,
            "work_date": TODAY - 5,
        }
        self.put(Output.TIME_ENTRY_STATE, entry_key, blank(Output.TIME_ENTRY_STATE, **(row | given)))

    def put(self, output: Output, key: str, row: dict[str, Any] | None) -> None:
        """Put a row where the worker would: in memory when its topic is read there, and in what is published."""
        self.outcomes.append(Outcome(output, key, row))
        if output in OUTPUTS:
            self.live.apply([Record(output, key, row)])

    def publish(self) -> None:
        """Write everything so far into a store and publish its snapshot, as the sink does."""
        with Store(self.folder / "store" / "tieout.duckdb") as store:
            store.write(self.outcomes)
            assert SnapshotPublisher(self.folder, 0.0).publish(store)
        self.outcomes.clear()

    def source(self, name: str, *, behind_us: int = 5_000_000, thing: str = "*", **given: Any) -> None:
        """Put a source as it stands at noon."""
        system, instance = name.split("/")
        row: dict[str, Any] = {
            "source": name, "system": system, "instance": instance, "object": thing, "watermark_at": NOON - behind_us,
            "last_event_at": NOON - behind_us, "state": "FRESH", "limit_s": 600, "received": 1_200, "as_of": NOON,
        }  # fmt: skip
        row |= given
        self.put(Output.SOURCE_STATE, f"{name}|{thing}", blank(Output.SOURCE_STATE, **row))

    def furnish(self) -> None:
        """A small firm with hours in two countries and currencies, some held, and a few findings."""
        for system in ("ERP", "PSA", "TIME", "SCHED", "HCM", "CRM"):
            self.source(f"{system}/main")
        cells: list[tuple[dict[str, str], str, int, int, str, str | None, int]] = [
            (UK, "GBP", 900_000, 3_750_000, "READY", None, 0),
            (UK, "GBP", 180_000, 750_000, "HELD", "H22", 1),
            (UK, "GBP", 54_001, 225_004, "APPROVED_PENDING", None, 1),
            (US, "USD", 360_000, 2_000_050, "READY", None, 2),
            (US, "USD", 45_000, 0, "HELD", "H01", 2),
        ]
        for place, currency, seconds, minor, state, hold, partition in cells:
            self._unbilled(place, currency, seconds, minor, state, hold, partition)
        self.cell("assignment_sync_rate", 115, "count", denominator=118, **UK)
        self.cell("unsynchronised_assignments", 3, "count", **UK)
        for state, code, count in (("HIGH", "TIME_LATE_TO_ERP", 2), ("CRITICAL", "RATE_MISSING", 1)):
            self.cell("open_findings", count, "count", state=state, hold_code=code, **UK)
        self.cell("events", 7, "count", measure="DUPLICATE", source="TIME/main", object="time_entry")
        self.cell("events", 1_190, "count", measure="APPLIED", source="TIME/main", object="time_entry")
        self.finding("f-1", impact_s=27_000, impact_minor=112_500)
        self.finding(
            "f-2",
            impact_s=144_000,
            impact_minor=600_000,
            currency="USD",
            severity="CRITICAL",
            code="RATE_MISSING",
            **US,
        )
        self.finding("f-3", impact_s=7_200, impact_minor=-30_000, status="ACK", facet="QTY", code="TIME_QTY_MISMATCH")
        self.finding("f-4", impact_s=3_600, impact_minor=15_000, status="RESOLVED_AUTO", resolved_at=NOON)
        self.live.ready.set()

    def _unbilled(
        self,
        place: dict[str, str],
        currency: str,
        seconds: int,
        minor: int,
        state: str,
        hold: str | None,
        partition: int,
    ) -> None:
        """Two entries that add up to so much, and the cells that say so."""
        dims: dict[str, Any] = {**place, "billing_cycle_id": "2026-03", "state": state}
        for n, (part_s, part_minor) in enumerate(
            ((seconds // 3, minor // 3), (seconds - seconds // 3, minor - minor // 3))
        ):
            held = {"held_s": part_s, "held_minor": part_minor, "top_hold": hold, "holds": hold} if hold else {}
            self.entry(
                f"TIME:{partition}{state}{n}", approved_s=part_s, unbilled_s=part_s, unbilled_minor=part_minor,
                unpriced_s=part_s if hold == "H01" else 0, currency=currency, **dims, **held,
            )  # fmt: skip
        dims["partition"] = partition
        self.cell("unbilled_hours", seconds, "s", **dims)
        self.cell("unbilled_value", minor, "minor", currency=currency, **dims)
        if hold:
            self.cell("held_hours", seconds, "s", hold_code=hold, **dims)
            self.cell("held_value", minor, "minor", currency=currency, hold_code=hold, **dims)
        if hold == "H01":
            self.cell("unpriced_hours", seconds, "s", **dims)


def http(app: FastAPI) -> httpx.AsyncClient:
    """A client whose requests go straight to the application."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app, raise_app_exceptions=False), base_url="http://api.test"
    )
