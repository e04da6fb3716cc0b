"""The API's process: reads the state topics, serves HTTP, ends in order on SIGTERM."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from types import FrameType

import uvicorn

from tieout.streams import clock
from tieout.streams.api.access import Access, start_problems
from tieout.streams.api.app import create_app
from tieout.streams.api.freshness import Judge
from tieout.streams.api.hub import Hub
from tieout.streams.api.limits import Buckets
from tieout.streams.api.live import Live
from tieout.streams.api.publisher import Publisher
from tieout.streams.api.reader import Reader
from tieout.streams.api.services import Probe, Services
from tieout.streams.api.snapshot import Snapshot
from tieout.streams.api.values import Values
from tieout.streams.dependencies import LOOK_S, BrokerWatch, expect
from tieout.streams.ops import OpsServer
from tieout.streams.settings import ConfigError, Settings
from tieout.streams.sinks.catalogue import BY_ID
from tieout.streams.sinks.publish import SNAPSHOT

log = logging.getLogger(__name__)

CONFIGURATION = 3
_DRAIN_S = 5  # for answers under way when the process is told to stop


class _Server(uvicorn.Server):
    """Uvicorn that ends the endless streams first: they would hold up its shutdown."""

    hub: Hub

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called on SIGTERM and SIGINT."""
        super().handle_exit(sig, frame)
        self.hub.close_from_signal()


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; returns 0, or 1 when the address cannot be bound and 3 when it may not."""
    if problems := start_problems(settings.api):
        log.critical("%s", ConfigError(problems))
        return CONFIGURATION
    if not settings.api.tokens:
        log.warning("open without tokens on %s: whoever reaches it reads it", settings.api.host)
    live = Live()
    expect("api")
    reader = Reader(live, settings.kafka_client({"group.id": settings.group("api")}))
    with BrokerWatch(settings), OpsServer(settings.ops, "api") as ops:
        ops.check("reader", reader.alive, "live")
        ops.check("topics", reader.ready, "ready")
        services = compose(live, settings, ops.probe)
        try:
            listening = _bind(settings.api.host, settings.api.port)
        except OSError as error:
            log.error("%s: %s (set TIEOUT_API__PORT, 0 takes any free port)", error.strerror, error.filename)
            return 1
        reader.start()
        ended = threading.Event()
        threading.Thread(target=_watch, args=(services.snapshot, ended), name="snapshot-watch", daemon=True).start()
        try:
            _serve(services, listening)
        finally:
            ended.set()
            reader.stop()
            services.snapshot.close()
    return 0


def _watch(snapshot: Snapshot, ended: threading.Event) -> None:
    """Whether there is a snapshot, also while nobody asks for it."""
    while not ended.is_set():
        snapshot.look()
        ended.wait(LOOK_S)


def compose(live: Live, settings: Settings, probe: Probe) -> Services:
    """The services over live rows and the published snapshot."""
    judge = Judge(live, wall=settings.clock == "wall")
    values = Values(live, judge, BY_ID)
    hub = Hub(epoch=clock.now_us())
    api = settings.api
    snapshot = Snapshot(settings.sink.publish_dir / SNAPSHOT, limit_s=api.query_ms / 1_000, most_rows=api.rows)
    return Services(
        live, judge, values, hub, Publisher(values, hub), snapshot, BY_ID, probe, access=Access.of(api),
        buckets=Buckets(api.requests_per_minute), cors_origins=tuple(api.cors_origins),
        frame_ancestors=tuple(api.frame_ancestors),
    )  # fmt: skip


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from None
    return listening


def _serve(services: Services, listening: socket.socket) -> None:
    config = uvicorn.Config(
        create_app(services), log_config=None, access_log=False, server_header=False, lifespan="on",
        timeout_graceful_shutdown=_DRAIN_S,
    )  # fmt: skip
    server = _Server(config)
    server.hub = services.hub
    # Uvicorn raises the signal again when it has ended; with the default action that would be a death by signal.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    log.info("listening on http://%s:%s", *listening.getsockname()[:2])
    try:
        server.run(sockets=[listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
