"""What the addresses take: filters by dimension, and a refusal of every parameter that they do not know."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Final

from fastapi import Query, Request

from tieout.streams.api.encoding import micros
from tieout.streams.api.problems import Problem, unknown_dimension, unknown_parameter
from tieout.streams.api.values import Scope
from tieout.streams.sinks.catalogue import Kpi, Unit

Filter = Annotated[list[str] | None, Query(description="Only this value; repeat the parameter for several.")]

_STEP: Final = re.compile(r"^([1-9][0-9]{0,3})(m|h|d|w)$")
_STEP_US: Final = {"m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000}


def known_parameters(request: Request) -> None:
    """Refuse a misspelled parameter: ignoring it would give the number of another scope."""
    route = request.scope["route"]
    operation = request.app.openapi()["paths"].get(route.path, {}).get(request.method.lower(), {})
    allowed = [item["name"] for item in operation.get("parameters", ()) if item["in"] == "query"]
    for name in request.query_params:
        if name not in allowed:
            raise unknown_parameter(name, allowed)


def scope(
    le_code: Filter = None,
    region: Filter = None,
    practice: Filter = None,
    project_code: Filter = None,
    billing_cycle_id: Filter = None,
    currency: Filter = None,
    state: Filter = None,
    hold_code: Filter = None,
) -> Scope:
    """The filters of a request by dimension."""
    given = {
        "le_code": le_code, "region": region, "practice": practice, "project_code": project_code,
        "billing_cycle_id": billing_cycle_id, "currency": currency, "state": state, "hold_code": hold_code,
    }  # fmt: skip
    return Scope({name: tuple(values) for name, values in given.items() if values})


def dimensions(kpi: Kpi) -> tuple[str, ...]:
    """The dimensions by which a KPI can be filtered and broken down."""
    money = Unit.MONEY in (kpi.unit, *kpi.measures.values())
    return (*kpi.dimensions, "currency") if money and "currency" not in kpi.dimensions else kpi.dimensions


def check_dimensions(kpi: Kpi, names: Iterable[str]) -> None:
    """Refuse a dimension that the KPI does not have."""
    for name in names:
        if name not in dimensions(kpi):
            raise unknown_dimension(kpi.id, name, dimensions(kpi))


def step_us(step: str) -> int:
    """A step such as '15m', '1h', '1d' or '1w' in microseconds."""
    found = _STEP.match(step)
    if found is None:
        raise Problem(
            422, "invalid-parameter", "Invalid parameter", f"step: expected a number and m, h, d or w; found {step!r}.",
            parameter="step", did_you_mean="1h",
        )  # fmt: skip
    return int(found[1]) * _STEP_US[found[2]]


def instant_us(at: datetime | None, name: str) -> int | None:
    """An instant of a request in microseconds; without a zone it is refused, since it would be guessed."""
    if at is not None and at.tzinfo is None:
        raise Problem(
            422, "invalid-parameter", "Invalid parameter",
            f"{name}: expected an instant with its zone; found {at.isoformat()!r}.",
            parameter=name, did_you_mean=f"{at.isoformat()}Z",
        )  # fmt: skip
    return micros(at)
