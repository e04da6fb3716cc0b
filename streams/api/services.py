"""What the addresses work with, made once by the composition of the process and handed to each request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import Depends, Request

from tieout.streams.api.access import Access
from tieout.streams.api.answers import Rendered
from tieout.streams.api.freshness import Judge
from tieout.streams.api.hub import Hub
from tieout.streams.api.limits import Buckets
from tieout.streams.api.live import Live
from tieout.streams.api.problems import unknown_kpi
from tieout.streams.api.publisher import Publisher
from tieout.streams.api.snapshot import Snapshot
from tieout.streams.api.values import Values
from tieout.streams.sinks.catalogue import Kpi

Probe = Callable[[Literal["live", "ready", "started"]], tuple[bool, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the API; `probe` answers for the process as a whole."""

    live: Live
    judge: Judge
    values: Values
    hub: Hub
    publisher: Publisher
    snapshot: Snapshot
    catalogue: Mapping[str, Kpi]
    probe: Probe
    rendered: Rendered = field(default_factory=Rendered)
    access: Access = field(default_factory=Access)
    buckets: Buckets = field(default_factory=Buckets)
    cors_origins: tuple[str, ...] = ()
    frame_ancestors: tuple[str, ...] = ("'self'",)

    def kpi(self, kpi: str) -> Kpi:
        """The KPI of an id; a 404 problem names the nearest one."""
        if kpi not in self.catalogue:
            raise unknown_kpi(kpi, list(self.catalogue))
        return self.catalogue[kpi]


def services(request: Request) -> Services:
    """The services of the application that a request is for."""
    found: Services = request.app.state.services
    return found


Parts = Annotated[Services, Depends(services)]
