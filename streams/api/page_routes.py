"""Pages for people: the overview and the documentation. No script, style or font comes from another host."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from tieout.streams.api import models, overview, reference
from tieout.streams.api.parameters import known_parameters
from tieout.streams.api.services import Parts

router = APIRouter(dependencies=[Depends(known_parameters)], tags=["Pages"], responses=models.PROBLEMS)

Theme = Annotated[Literal["auto", "light", "dark"], Query(description="auto follows the reader's system.")]

_HTML: Final = "text/html; charset=utf-8"


def environment() -> Environment:
    """Templates that escape everything and stop at a name that is not there."""
    made = Environment(
        loader=PackageLoader("tieout.streams.api", "templates"), autoescape=select_autoescape(default=True),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters.update(overview.FILTERS)
    made.policies["json.dumps_kwargs"] = {"sort_keys": False}  # the order of states is their meaning
    return made


_pages: Final = environment()


@router.get("/", summary="The overview page", response_class=Response)
def overview_page(parts: Parts, theme: Theme = "auto") -> Response:
    """The numbers now, the open findings by money, the sources; updates itself."""
    return _page("overview.html", theme, **overview.context(parts))


@router.get("/docs", summary="This documentation", response_class=Response)
def docs_page(request: Request, theme: Theme = "auto") -> Response:
    """Every address with its parameters and shapes, drawn from the OpenAPI document."""
    return _page("docs.html", theme, **reference.context(request.app.openapi()))


@router.get("/favicon.ico", include_in_schema=False)
def favicon() -> Response:
    """Browsers ask for it whatever a page says."""
    return Response(status_code=308, headers={"Location": "/static/icon.svg"})


def _page(name: str, theme: str, **context: Any) -> Response:
    html = _pages.get_template(name).render(theme=theme, **context)
    return Response(html, 200, {"Cache-Control": "no-cache"}, _HTML)

