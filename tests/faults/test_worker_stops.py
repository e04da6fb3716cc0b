"""SIGTERM at any instant: the worker ends with 0 within 20 s, and nothing is lost or comes twice."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from faults import harness
from faults.harness import HOLDS_S, SEED, Feed, wait_applied, wait_until
from faults.test_worker_faults import FRAMES_A_SECOND, holds, holds_count

from tieout.streams.settings import Settings

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.timeout(1_800)]

STOPS = int(os.environ.get("TIEOUT_TEST_STOPS", "5"))
WITHIN_S = 20.0
ROWS = 20_000  # a partition, so that a restore takes a while


@pytest.mark.parametrize("snapshots", [False, True], ids=["changelogs", "snapshots"])
def test_sigterm_at_random_points(shared: Settings, tmp_path: Path, snapshots: bool) -> None:
    """Under load, on its way up, while it restores, in the middle of checkpoints (they follow each other at once)."""
    chance = random.Random(SEED)
    feed = Feed(shared, SEED)
    for partition in range(shared.kafka.partitions):
        for first in range(0, ROWS, 1_000):
            feed.send_keys(partition, [f"R{partition}-{number}" for number in range(first, first + 1_000)])
    more = {"KAFKA__CLIENT__GROUP_INSTANCE_ID": "worker-0", "CHECKPOINT__INTERVAL_MS": "20"}
    feed.send(1)  # delivered, all of it
    if snapshots:
        more["CHECKPOINT__SNAPSHOT_DIR"] = str(tmp_path / "tables")
    took: list[float] = []
    where = {"starting": 0, "restoring": 0, "working": 0}
    with harness.workers(shared, tmp_path, 1, **more) as (worker,):
        wait_applied(shared, [worker])
        with feed.running(FRAMES_A_SECOND):
            for stop in range(STOPS):
                if stop % 3 == 0:
                    wait_until(lambda: holds(worker), HOLDS_S, "the worker holds partitions", worker.tail)
                elif stop % 3 == 1:
                    wait_until(lambda: "metrics and probes on" in worker.log_now(), HOLDS_S, "it is up", worker.tail)
                time.sleep(chance.uniform(0.0, 2.0))
                begun, log = time.monotonic(), worker.log_now()
                working = "holding " in log
                where["working" if working else "restoring" if "metrics and probes on" in log else "starting"] += 1
                code = worker.stop(WITHIN_S)
                took.append(time.monotonic() - begun)
                assert code in (0, -15) if "metrics and probes on" not in log else code == 0, worker.tail()
                worker.start()
        wait_applied(shared, [worker])
        report = harness.verdict(shared, feed.sent)
    took.sort()
    print(f"\n{STOPS} stops {where}, {report}, p50 {took[len(took) // 2]:.1f} s, max {took[-1]:.1f} s")


def test_a_quick_restart_of_a_static_member_moves_no_partitions(shared: Settings, tmp_path: Path) -> None:
    """The other worker is not asked to let go of anything: it restores once."""
    feed = Feed(shared, SEED)
    feed.send(5)
    first = harness.worker(shared, tmp_path, 0, KAFKA__CLIENT__GROUP_INSTANCE_ID="worker-0")
    second = harness.worker(shared, tmp_path, 1, KAFKA__CLIENT__GROUP_INSTANCE_ID="worker-1")
    try:
        wait_applied(shared, [first, second])
        wait_until(lambda: holds(first) and holds(second), HOLDS_S, "both hold partitions", second.tail)
        time.sleep(2.0)  # the second one may have joined an assignment later
        before = holds_count(second)
        assert first.stop(WITHIN_S) == 0
        first.start()
        wait_until(lambda: holds(first), HOLDS_S, "it holds partitions again", first.tail)
        feed.send(5)
        wait_applied(shared, [first, second])
        assert holds_count(second) == before, second.tail()
        harness.verdict(shared, feed.sent)
    finally:
        first.close()
        second.close()
