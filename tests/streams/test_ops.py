"""The operations server: probes over HTTP, what each means, and what it says when it cannot start."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tieout.streams.ops import Answer, Heartbeat, OpsServer
from tieout.streams.settings import Ops


@pytest.fixture
def ops() -> Iterator[OpsServer]:
    with OpsServer(Ops(port=0), "worker") as server:
        yield server


def get(ops: OpsServer, path: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(ops.url + path, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def probe(ops: OpsServer, path: str) -> tuple[int, dict[str, Any]]:
    status, body = get(ops, path)
    return status, json.loads(body)


def test_a_process_without_checks_is_alive_and_ready(ops: OpsServer) -> None:
    """The server answers before anybody has added a check."""
    for path in ("/livez", "/readyz", "/startupz"):
        status, body = probe(ops, path)
        assert (status, body["status"], body["role"]) == (200, "ok", "worker")


def test_an_unready_process_is_not_a_dead_one(ops: OpsServer) -> None:
    """Recovery fails /readyz and says why; /livez stays."""
    ops.check("recovery", lambda: Answer(False, "812 records to read"))
    status, body = probe(ops, "/readyz")
    assert status == 503
    assert body["checks"]["recovery"] == {"ok": False, "detail": "812 records to read"}
    assert probe(ops, "/livez")[0] == 200


def test_started_stays_true_after_the_first_readiness(ops: OpsServer) -> None:
    """/startupz waits for the first readiness and then ignores later rebalances."""
    ready = [False]
    ops.check("kafka", lambda: ready[0])
    assert probe(ops, "/startupz")[0] == 503
    ready[0] = True
    assert probe(ops, "/startupz")[0] == 200
    ready[0] = False
    assert probe(ops, "/startupz")[0] == 200
    assert probe(ops, "/readyz")[0] == 503


def test_a_loop_that_hangs_is_dead() -> None:
    """A heartbeat that is too old fails, a fresh one passes."""
    heartbeat = Heartbeat(within_s=-1)
    heartbeat.beat()
    assert not heartbeat().ok
    assert Heartbeat(within_s=60)().ok


def test_a_check_that_raises_has_failed(ops: OpsServer) -> None:
    """An exception in a check is its detail, not a broken answer."""
    ops.check("disk", lambda: bool(1 / 0))
    status, body = probe(ops, "/readyz")
    assert status == 503
    assert body["checks"]["disk"]["detail"] == "ZeroDivisionError: division by zero"


def test_metrics_are_served(ops: OpsServer) -> None:
    """A scrape gets the families of this process."""
    status, body = get(ops, "/metrics")
    assert status == 200
    assert "# TYPE tieout_events_consumed_total counter" in body


def test_an_unknown_path_lists_the_known_ones(ops: OpsServer) -> None:
    """404 tells what there is."""
    status, body = probe(ops, "/health")
    assert (status, body["paths"]) == (404, ["/metrics", "/livez", "/readyz", "/startupz"])


def test_a_taken_port_is_named_with_the_remedy(ops: OpsServer) -> None:
    """Two processes on one port: the second says which port and what to set."""
    port = int(ops.url.rpartition(":")[2])
    with pytest.raises(OSError, match=rf"127\.0\.0\.1:{port} \(set TIEOUT_OPS__PORT"):
        OpsServer(Ops(port=port), "sink").start()
