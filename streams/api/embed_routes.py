"""Tiles for other people's pages: permissions are signed here, and a tile says how sure its number is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from tieout.streams.api import models, overview
from tieout.streams.api.access import Who
from tieout.streams.api.answers import answer
from tieout.streams.api.embeds import LONGEST_S
from tieout.streams.api.encoding import instant, to_json
from tieout.streams.api.headers import framed_by
from tieout.streams.api.page_routes import Theme, environment
from tieout.streams.api.parameters import check_dimensions, known_parameters, scope
from tieout.streams.api.problems import Problem
from tieout.streams.api.services import Parts, Services
from tieout.streams.api.values import Scope

router = APIRouter(dependencies=[Depends(known_parameters)], tags=["Embeds"], responses=models.PROBLEMS)

_HTML: Final = "text/html; charset=utf-8"
_SVG: Final = "image/svg+xml"
_WORDS: Final[Mapping[str, str]] = {
    "FRESH": "Up to date", "STALE": "Stale: a source is behind", "UNKNOWN": "Unknown: not everything has been heard",
}  # fmt: skip
_SHOWN: Final = 6  # currencies or measures on a tile

Dimension = Literal[
    "le_code", "region", "practice", "project_code", "billing_cycle_id", "currency", "state", "hold_code"
]
KpiId = Annotated[str, Path(description="A KPI of the catalogue.", examples=["unbilled_hours"])]
In = Annotated[Scope, Depends(scope)]
Token = Annotated[str | None, Query(description="An embed token: it says the KPI and the scope.", max_length=4_000)]
_templates: Final = environment()


class Wish(BaseModel):
    """What an embed token is to permit."""

    model_config = ConfigDict(extra="forbid")

    kpi: str = Field(examples=["unbilled_hours"])
    scope: dict[Dimension, list[Annotated[str, Field(max_length=200)]]] = Field(
        default={}, description="Values by dimension; the reader cannot widen or change them.",
        examples=[{"le_code": ["UK01"]}], max_length=8,
    )  # fmt: skip
    ttl_s: int = Field(default=3_600, ge=60, le=LONGEST_S, description="Seconds until it expires, at most a day.")


class EmbedToken(BaseModel):
    """A signed permission, and where it leads."""

    token: str
    kpi: str
    scope: dict[str, list[str]]
    expires_at: str
    url: str
    svg: str


@router.post("/v1/embed-tokens", response_model=EmbedToken, summary="A signed permission for one tile")
def make_token(parts: Parts, wish: Wish) -> Response:
    """Sign a KPI and a locked scope for at most a day; whoever has the address sees that tile and nothing else."""
    kpi = parts.kpi(wish.kpi)
    within = Scope({str(name): tuple(values) for name, values in wish.scope.items() if values})
    check_dimensions(kpi, within.wanted)
    token, embed = parts.access.keys.sign(kpi.id, within, wish.ttl_s)
    body = {
        "token": token, "kpi": kpi.id, "scope": {name: list(values) for name, values in within.wanted.items()},
        "expires_at": instant(embed.expires_s * 1_000_000), "url": f"/embed/{kpi.id}?token={token}",
        "svg": f"/embed/{kpi.id}.svg?token={token}",
    }  # fmt: skip
    return Response(to_json(body), 200, {"Cache-Control": "no-store"}, "application/json")


@router.get("/embed/{kpi_id}.svg", summary="A tile as a picture", response_class=Response)
def tile_picture(
    request: Request, parts: Parts, who: Who, kpi_id: KpiId, within: In, token: Token = None
) -> Response:
    """Value, unit, state and how far it is complete, as SVG; for places that take pictures only."""
    return _tile(request, parts, who, kpi_id, within, "embed.svg", _SVG, "auto")


@router.get("/embed/{kpi_id}", summary="A tile for a frame", response_class=Response)
def tile_page(
    request: Request, parts: Parts, who: Who, kpi_id: KpiId, within: In, token: Token = None, theme: Theme = "auto"
) -> Response:
    """Value, unit, state and how far it is complete, without a script; it loads itself again every 30 s."""
    return _tile(request, parts, who, kpi_id, within, "embed.html", _HTML, theme)


def _tile(
    request: Request, parts: Services, who: Who, kpi_id: str, within: Scope, template: str, media_type: str, theme: str
) -> Response:
    kpi = parts.kpi(kpi_id)
    if who.embed is not None:
        within = _locked(who, kpi_id, within)
    check_dimensions(kpi, within.wanted)
    value = parts.values.value(kpi, within)
    html = _templates.get_template(template).render(theme=theme, **_context(value))
    response = answer(request, html.encode(), media_type)
    response.headers.update(framed_by(parts.frame_ancestors))
    return response


def _locked(who: Who, kpi_id: str, given: Scope) -> Scope:
    """The token's scope; its reader can neither change the KPI nor add a filter."""
    assert who.embed is not None
    if who.embed.kpi != kpi_id:
        raise Problem(403, "forbidden", "Not allowed", "The embed token is for another KPI.")
    if given.wanted:
        raise Problem(403, "forbidden", "Not allowed", f"The embed token locks the scope: {', '.join(given.wanted)}.")
    return who.embed.scope


def _context(value: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        {"number": overview.number(row["exact"]), "unit": row["unit"], "label": _label(row)} for row in value["rows"]
    ]
    fresh = value["freshness"]
    return {
        "title": value["title"], "id": value["id"], "rows": rows[:_SHOWN], "more": max(0, len(rows) - _SHOWN),
        "state": fresh["state"], "word": _WORDS[fresh["state"]], "note": fresh["note"],
        "complete": value["complete_through"],
        "scope": ", ".join(" or ".join(values) for values in value["scope"].values()),
    }  # fmt: skip


def _label(row: Mapping[str, Any]) -> str:
    return "" if row["measure"] == "VALUE" else row["measure"].lower().replace("_", " ")
