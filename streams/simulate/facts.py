"""Facts that a source commits, and the canonical CloudEvents they become on raw topics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from zlib import crc32

from tieout.streams.simulate.instants import iso

TIME: Final = "TIME/kimai"
PSA: Final = "PSA/certinia"
ERP: Final = "ERP/ax"
SCHED: Final = "SCHED/float"
CRM: Final = "CRM/salesforce"
HCM: Final = "HCM/workday"


class Topic(NamedTuple):
    """A raw topic: one group of objects of one source."""

    name: str
    source: str
    partitions: int
    entities: tuple[str, ...]


TOPICS: Final = (
    Topic("raw.time.entries", TIME, 2, ("time_entry",)),
    Topic("raw.time.projects", TIME, 1, ("project",)),
    Topic("raw.psa.entries", PSA, 2, ("time_entry",)),
    Topic("raw.psa.projects", PSA, 1, ("project", "wbs_task", "staffing_demand", "rate")),
    Topic("raw.psa.assignments", PSA, 1, ("assignment",)),
    Topic("raw.erp.masters", ERP, 1, ("legal_entity", "cost_centre", "customer", "contract", "contract_line",
                                      "billing_cycle", "rate")),
    Topic("raw.erp.projects", ERP, 1, ("project",)),
    Topic("raw.erp.forecasts", ERP, 1, ("assignment",)),
    Topic("raw.erp.labour", ERP, 2, ("posted_labour",)),
    Topic("raw.erp.invoices", ERP, 1, ("invoice", "invoice_line", "coverage")),
    Topic("raw.sched.plan", SCHED, 1, ("project", "assignment")),
    Topic("raw.crm.opportunities", CRM, 1, ("opportunity",)),
    Topic("raw.hcm.workers", HCM, 1, ("resource", "calendar_day", "leave")),
)
_ROUTE: Final = {(topic.source, entity): topic for topic in TOPICS for entity in topic.entities}


@dataclass(slots=True)
class Fact:
    """One commit in one source. Stories change it before it is put on the wire."""

    source: str
    entity: str
    subject: str
    at: int  # commit instant, microseconds UTC
    data: dict[str, Any] = field(default_factory=dict)
    verb: str = "upserted"


@dataclass(frozen=True, slots=True)
class Event:
    """A fact with its order token, ready to be delivered."""

    topic: str
    partition: int
    source: str
    subject: str
    entity: str
    at: int
    body: dict[str, Any]
    fact: Fact


def events_of(facts: Iterable[Fact]) -> list[Event]:
    """The events in commit order; tokens rise within each source."""
    counters: dict[str, int] = {}
    events = []
    for fact in sorted(facts, key=lambda fact: fact.at):  # stable: facts of one instant keep the order of their story
        number = counters[fact.source] = counters.get(fact.source, 0) + 1
        topic = _ROUTE[fact.source, fact.entity]
        events.append(Event(topic.name, crc32(fact.subject.encode()) % topic.partitions, fact.source, fact.subject,
                            fact.entity, fact.at, _body(fact, number), fact))
    return events


def _body(fact: Fact, number: int) -> dict[str, Any]:
    return {
        "specversion": "1.0", "id": f"{fact.source.partition('/')[0].lower()}-{number:08d}", "source": fact.source,
        "type": f"tieout.{fact.entity}.{fact.verb}", "subject": fact.subject, "time": iso(fact.at),
        "sequence": f"{number:012d}", "data": fact.data,
    }


def observed(topic: Topic, partition: int, through: int) -> dict[str, Any]:
    """The watermark event of a topic partition: everything committed until `through` has been delivered."""
    name = f"{topic.name}-{partition}"
    return {
        "specversion": "1.0", "id": f"observed-{name}-{through}", "source": topic.source,
        "type": "tieout.source.observed", "subject": name, "time": iso(through), "data": {"through": iso(through)},
    }
