"""What a firm may decide: tolerances, graces, limits and calendars. Data, versioned, checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, get_type_hints

from tieout.reconcilers import ownership
from tieout.reconcilers.timeline import BusinessCalendar


class PolicyError(ValueError):
    """A policy that cannot be used; `problems` has one sentence for each fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def _required() -> dict[str, list[str]]:
    return {"EXTERNAL": ["PSA", "SCHED", "TIME"], "INTERNAL": ["TIME"], "LEAVE": ["TIME"], "PRESALES": ["PSA", "TIME"]}


def _limits() -> dict[str, int]:
    # Three times the lag objective of the source's flows (domain model, section 1.7).
    return {"ERP": 5_400, "PSA": 5_400, "TIME": 5_400, "CRM": 5_400, "SCHED": 900, "HCM": 259_200}


@dataclass(frozen=True, slots=True)
class Policy:
    """A firm's decisions. Seconds are `_s`, basis points `_bp`, minor units `_minor`."""

    version: int = 1
    checks_off: tuple[str, ...] = ()  # codes of checks that the firm does not want
    ownership: ownership.Ownership = field(default_factory=ownership.default)
    day_s: int = 27_000  # a working day where no calendar row says otherwise
    default_tz: str = "UTC"  # of a legal entity that states none
    default_region: str = "global"
    bill_from_list: bool = False  # whether levels 8 and 9 may price an entry
    cost_checks: bool = False  # checks on cost rates, class RESTRICTED
    retro_policy: str = "BILL_DELTA"
    default_quantum_s: int = 60
    plan_tolerance_s: int = 3_600
    plan_tolerance_bp: int = 500
    rate_hold_bp: int = 100  # a rate that differs by more holds its entries
    rate_hold_major: int = 50  # so does a group whose impact is larger, in major units
    excess_bp: int = 11_000  # time logged beyond this share of the plan is check 30's
    day_limit_s: int = 57_600  # billable time of a worker on one day beyond which something is counted twice: 16 h
    double_days: int = 35  # entries made further apart are not taken for the same work
    materiality_minor: int = 1_000_000  # of a legal entity that states none
    planned_rate_days: int = 10  # how far ahead check 21 looks for assignments without a rate
    flap_days: int = 7  # a finding that returns within it continues its episode
    required_systems: Mapping[str, list[str]] = field(default_factory=_required)
    stale_after_s: Mapping[str, int] = field(default_factory=_limits)
    calendar: BusinessCalendar = field(default_factory=BusinessCalendar)

    @property
    def rule_version(self) -> str:
        """What findings carry: policy and ownership versions."""
        return f"p{self.version}.o{self.ownership.version}"

    @classmethod
    def from_mapping(cls, table: Mapping[str, Any]) -> Policy:
        """The policy of a configuration table; PolicyError names every fault at once."""
        names = {item.name for item in fields(cls)}
        problems: list[str] = []
        values: dict[str, Any] = {}
        for name, value in table.items():
            if name not in names:
                near = get_close_matches(name, sorted(names), 1)
                problems.append(f"policy.{name}: unknown key" + (f", did you mean '{near[0]}'?" if near else ""))
            elif name == "ownership":
                problems += ownership.ownership_problems(value)
                values[name] = value
            else:
                problems += _problem(name, value, get_type_hints(cls)[name])
                values[name] = value
        if problems:
            raise PolicyError(problems)
        if "ownership" in values:
            values["ownership"] = ownership.from_table(values["ownership"])
        if "checks_off" in values:
            values["checks_off"] = tuple(values["checks_off"])
        if "calendar" in values:
            values["calendar"] = _calendar(values["calendar"])
        for name, default in (("required_systems", _required()), ("stale_after_s", _limits())):
            if name in values:
                values[name] = {**default, **values[name]}
        return cls(**values)


def _problem(name: str, value: Any, expected: Any) -> list[str]:
    if expected in (int, str, bool):
        if type(value) is not expected:
            return [f"policy.{name}: found {value!r}, expected {expected.__name__}"]
        if expected is int and value < 0:
            return [f"policy.{name}: {value} is below the minimum 0"]
    elif name == "checks_off":
        if not isinstance(value, list | tuple) or not all(isinstance(code, str) for code in value):
            return [f"policy.{name}: found {value!r}, expected a list of codes of checks, e.g. [\"TIME_MISSING\"]"]
    elif not isinstance(value, Mapping):
        return [f"policy.{name}: found {value!r}, expected a table"]
    return []


def _calendar(table: Mapping[str, Any]) -> BusinessCalendar:
    default = BusinessCalendar()
    return BusinessCalendar(
        tuple(table.get("weekdays", default.weekdays)), table.get("opens", default.opens),
        table.get("closes", default.closes), frozenset(table.get("holidays", ())),
    )
