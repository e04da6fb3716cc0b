"""Who owns which attribute: the order in which systems are believed, from a versioned table."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from tieout.reconcilers.entities import ENTITIES, SYSTEMS

# The shipped matrix, as a firm would write its own; text, so that reading it needs no file.
DEFAULT_TOML: Final = """\
# Which system's word counts for an attribute, first to last. The commercial master is the ERP by default; a
# PSA-first firm lists PSA first in [contract], [contract_line] and [rate]. Raise `version` with every change:
# findings carry it.
version = 1

[default]
"*" = ["ERP", "PSA", "HCM", "CRM", "SCHED", "TIME"]

[project]
"*" = ["ERP", "PSA", "CRM", "SCHED", "TIME"]
name = ["PSA", "ERP", "CRM", "SCHED", "TIME"]
pm_worker_no = ["PSA", "ERP", "CRM", "SCHED", "TIME"]
start = ["PSA", "ERP", "SCHED", "TIME"]
end = ["PSA", "ERP", "SCHED", "TIME"]
allow_time_without_assignment = ["PSA", "ERP", "TIME", "SCHED"]
practice = ["PSA", "ERP", "SCHED", "TIME"]

[resource]
"*" = ["HCM", "PSA", "SCHED", "TIME", "ERP"]
role_code = ["PSA", "HCM", "SCHED", "ERP"]

[calendar_day]
"*" = ["HCM", "PSA", "SCHED", "TIME"]

[assignment]
"*" = ["SCHED", "PSA", "ERP"]
bill_rate = ["PSA", "ERP", "SCHED"]
billable = ["PSA", "ERP", "SCHED"]

[rate]
"*" = ["ERP", "PSA", "CRM", "HCM"]

[time_entry]
"*" = ["TIME", "PSA", "ERP"]
billable = ["PSA", "TIME", "ERP"]
billable_s = ["PSA"]
source_rate = ["PSA", "TIME"]

[opportunity]
"*" = ["CRM", "PSA", "ERP"]

[staffing_demand]
"*" = ["PSA", "SCHED", "CRM"]
"""


class Orders(dict[str, tuple[str, ...]]):
    """The orders of an entity's attributes, looked up once each."""

    def __init__(self, rows: Mapping[str, tuple[str, ...]], otherwise: tuple[str, ...]) -> None:
        super().__init__()
        self._rows, self._otherwise = rows, otherwise

    def __missing__(self, attribute: str) -> tuple[str, ...]:
        found = self[attribute] = self._rows.get(attribute) or self._rows.get("*") or self._otherwise
        return found


@dataclass(frozen=True, slots=True)
class Ownership:
    """For an entity's attribute, the systems in the order in which their word counts."""

    version: int
    table: Mapping[str, Mapping[str, tuple[str, ...]]]
    _orders: dict[str, Orders] = field(default_factory=dict, compare=False, repr=False)

    def orders(self, entity: str) -> Orders:
        """For each attribute of an entity the systems from the owner down; others are never believed for it."""
        found = self._orders.get(entity)
        if found is None:
            found = self._orders[entity] = Orders(self.table.get(entity, {}), self.table["default"]["*"])
        return found

    def order(self, entity: str, attribute: str) -> tuple[str, ...]:
        """Systems from the owner down; a system that is not named is never believed for the attribute."""
        return self.orders(entity)[attribute]

    def owner(self, entity: str, attribute: str) -> str:
        """The system whose word is the truth."""
        return self.order(entity, attribute)[0]


def ownership_problems(table: Mapping[str, Any]) -> list[str]:
    """Everything wrong with an ownership table, one sentence each."""
    problems = [] if isinstance(table.get("version"), int) else ["ownership: 'version' must be an integer"]
    for entity, rows in table.items():
        if entity == "version":
            continue
        if entity != "default" and entity not in ENTITIES:
            problems.append(f"ownership: [{entity}] is not an entity; there are {', '.join(ENTITIES)}")
            continue
        for attribute, systems in rows.items():
            if attribute != "*" and entity != "default" and attribute not in ENTITIES[entity].attributes:
                problems.append(f"ownership: [{entity}] has no attribute '{attribute}'")
            problems += [f"ownership: {entity}.{attribute} names '{name}', expected one of {', '.join(SYSTEMS)}"
                         for name in systems if name not in SYSTEMS]
            if not systems:
                problems.append(f"ownership: {entity}.{attribute} has no owner")
    return problems


def from_table(table: Mapping[str, Any]) -> Ownership:
    """The matrix of a parsed TOML table, over the default one; ValueError lists every problem."""
    if problems := ownership_problems(table):
        raise ValueError("; ".join(problems))
    merged: dict[str, dict[str, tuple[str, ...]]] = {}
    for layer in (_default_table(), table):
        for entity, rows in layer.items():
            if entity != "version":
                merged.setdefault(entity, {}).update({name: tuple(systems) for name, systems in rows.items()})
    return Ownership(table["version"], merged)


@cache
def default() -> Ownership:
    """The shipped matrix."""
    return from_table(_default_table())


@cache
def _default_table() -> dict[str, Any]:
    return tomllib.loads(DEFAULT_TOML)
