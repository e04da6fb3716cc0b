"""The whole play: four weeks of records and their truth, the same for the same seed."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tieout.streams.simulate import (
    plant_doubts,
    plant_invoices,
    plant_plans,
    plant_rates,
    plant_time,
    spare_doubts,
    spare_plans,
    spare_time,
)
from tieout.streams.simulate.delivery import Record, deliver
from tieout.streams.simulate.facts import Event, Fact, events_of
from tieout.streams.simulate.firm import build_firm
from tieout.streams.simulate.masters import load
from tieout.streams.simulate.scene import Scene
from tieout.streams.simulate.truth import Truth
from tieout.streams.simulate.weeks import bill, log_time

SEED = 24_017


@dataclass(frozen=True, slots=True)
class Story:
    """Everything a run needs: raw records in order of delivery, and what must come of them."""

    records: list[Record]
    events: list[Event]
    truth: Truth
    entries: int


def tell(seed: int = SEED, *, faults: bool = True) -> Story:
    """Write the play; without `faults` it is the healthy baseline alone."""
    scene = set_scene(seed)
    if faults:
        plant(scene)
    bill(scene)
    return _played(scene, seed)


def set_scene(seed: int) -> Scene:
    """The firm with its masters, plans and ordinary timesheets."""
    firm = build_firm()
    plant_rates.raise_prices(firm)
    spare_plans.agree_own_prices(firm)
    scene = Scene(firm, Random(seed), Truth(seed))
    load(scene)
    log_time(scene)
    return scene


def plant(scene: Scene) -> None:
    """All faults and look-alikes; those that need all entries of a price come first."""
    spare_plans.spare_prices(scene)
    plant_rates.plant_mismatches(scene)
    plant_rates.plant_missing(scene)
    plant_time.plant_late(scene)
    plant_time.plant_differences(scene)
    plant_time.plant_unassigned(scene)
    plant_plans.plant_projects(scene)
    plant_plans.plant_reflections(scene)
    plant_plans.plant_drift(scene)
    plant_plans.plant_unpriced_plans(scene)
    plant_plans.plant_outages(scene)
    spare_plans.spare_projects(scene)
    spare_plans.spare_plans(scene)
    spare_plans.spare_cards(scene)
    spare_plans.spare_lags(scene)
    spare_time.spare_unassigned(scene)
    spare_time.spare_late(scene)
    spare_time.spare_differences(scene)
    spare_time.spare_states(scene)
    spare_time.spare_deliveries(scene)
    plant_doubts.plant_ambiguous(scene)
    plant_doubts.plant_outside(scene)
    plant_doubts.plant_duplicates(scene)
    plant_invoices.plant_invoices(scene)
    plant_time.plant_gaps(scene)
    plant_time.plant_symbols(scene)
    spare_doubts.spare_ambiguous(scene)
    spare_doubts.spare_outside(scene)
    spare_doubts.spare_duplicates(scene)
    plant_invoices.spare_invoices(scene)


def _played(scene: Scene, seed: int) -> Story:
    facts = [*scene.facts, *(fact for entry in scene.entries for fact in entry.facts())]
    events = events_of(facts)
    by_fact = {id(event.fact): event for event in events}

    def placed(pairs: list[tuple[Fact, int]]) -> list[tuple[Event, int]]:
        return [(by_fact[id(fact)], delay) for fact, delay in pairs]

    records = deliver(events, Random(seed + 1), scene.outages, placed(scene.again), placed(scene.late))
    return Story(records, events, scene.truth, len(scene.entries))
