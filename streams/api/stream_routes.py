"""The live stream and the probes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import StreamingResponse

from tieout.streams.api import models
from tieout.streams.api.access import Caller, Who
from tieout.streams.api.encoding import to_json
from tieout.streams.api.hub import FOLLOWERS_MAX, Event
from tieout.streams.api.parameters import known_parameters
from tieout.streams.api.problems import Problem
from tieout.streams.api.services import Parts, Services
from tieout.streams.metrics import exposition, gauge

router = APIRouter(dependencies=[Depends(known_parameters)], responses=models.PROBLEMS)

_NO_STORE = {"Cache-Control": "no-store"}


@router.get("/v1/stream", tags=["Stream"], summary="Changes as they happen", response_class=Response)
async def stream(
    parts: Parts,
    kpis: Annotated[str | None, Query(description="Only these KPIs, separated by commas; default all.")] = None,
    last_event_id: Annotated[str | None, Header(description="Sent by browsers when they reconnect.")] = None,
) -> StreamingResponse:
    """Server-sent events: `kpi`, `finding`, `findings`, `source`, `freshness` and `reset`; in silence, a comment.

    A new follower gets every value first. One that returns with `Last-Event-ID` gets what it missed, or `reset` and
    every value again when that is no longer kept.
    """
    wanted = None if kpis is None else [parts.kpi(kpi.strip()).id for kpi in kpis.split(",")]
    if parts.hub.followers >= FOLLOWERS_MAX:
        detail = f"{FOLLOWERS_MAX} streams are open here, the most there may be: poll /v1/kpis, or ask another process."
        raise Problem(503, "too-many-streams", "Too many streams", detail, {"Retry-After": "60"})
    headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
    return StreamingResponse(_follow(parts, wanted, last_event_id), 200, headers, "text/event-stream")


async def _follow(parts: Services, wanted: list[str] | None, last_event_id: str | None) -> AsyncIterator[bytes]:
    def wants(event: Event) -> bool:
        return wanted is None or event.name != "kpi" or event.subject in wanted

    clients = gauge("tieout_stream_clients")
    clients.inc()
    parts.hub.followers += 1
    try:
        async with aclosing(parts.hub.follow(last_event_id, lambda: parts.publisher.start(wanted), wants)) as events:
            async for event in events:
                yield event
    finally:
        clients.dec()
        parts.hub.followers -= 1


def _probe(parts: Services, who: Caller, probe: Literal["live", "ready", "started"]) -> Response:
    """The state for everybody, what was looked at (addresses of brokers, say) for operators."""
    ok, body = parts.probe(probe)
    if "ops" not in who.scopes:
        body = {"status": body["status"]}
    return Response(to_json(body), 200 if ok else 503, _NO_STORE, "application/json")


@router.get("/livez", tags=["Operations"], summary="Whether the process should go on", response_model=dict[str, Any])
def livez(parts: Parts, who: Who) -> Response:
    """503 only when the process should be restarted."""
    return _probe(parts, who, "live")


@router.get("/readyz", tags=["Operations"], summary="Whether it should get requests", response_model=dict[str, Any])
def readyz(parts: Parts, who: Who) -> Response:
    """503 until every state topic has been read to its end, and while the brokers are out of reach."""
    return _probe(parts, who, "ready")


@router.get("/startupz", tags=["Operations"], summary="Whether it has been ready once", response_model=dict[str, Any])
def startupz(parts: Parts, who: Who) -> Response:
    """503 until it was ready for the first time."""
    return _probe(parts, who, "started")


@router.get("/metrics", tags=["Operations"], summary="Prometheus metrics", response_class=Response)
def metrics() -> Response:
    """All metric families of the process."""
    body, media_type = exposition()
    return Response(body, 200, _NO_STORE, media_type)
