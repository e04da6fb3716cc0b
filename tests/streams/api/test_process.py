"""The process: topics into memory through a broker, and a graceful end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from api_firm import UK, Firm
from confluent_kafka import Consumer, Producer

from tieout.codecs.avro import row_encoder
from tieout.reconcilers.outcomes import Outcome, Output
from tieout.schemas import avsc
from tieout.streams.api.live import OUTPUTS, Live
from tieout.streams.api.reader import Reader
from tieout.streams.embedded import EmbeddedBroker
from tieout.streams.topics import output_topic

ENCODE = {output: row_encoder(avsc(output.value), number) for number, output in enumerate(OUTPUTS, 1)}


def until(passes: Callable[[], Any], within_s: float = 30.0) -> Any:
    """Wait for a condition; what it gave is returned."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if found := passes():
            return found
        time.sleep(0.05)
    pytest.fail(f"not within {within_s} s: {passes}")


@pytest.fixture
def broker(embedded: EmbeddedBroker) -> EmbeddedBroker:
    for output in OUTPUTS:
        embedded.create(output_topic(output), 2)
    return embedded


def produce(broker: EmbeddedBroker, outcomes: list[Outcome]) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for outcome in outcomes:
        value = None if outcome.row is None else ENCODE[outcome.output](outcome.row)
        producer.produce(output_topic(outcome.output), value, outcome.key)
    assert producer.flush(20) == 0


def taken(firm: Firm) -> list[Outcome]:
    """The outcomes so far that the API reads."""
    found = [outcome for outcome in firm.outcomes if outcome.output in OUTPUTS]
    firm.outcomes.clear()
    return found


@contextmanager
def reading(broker: EmbeddedBroker) -> Iterator[tuple[Live, Reader]]:
    live = Live()
    reader = Reader(live, {"bootstrap.servers": broker.bootstrap, "group.id": "tieout-api"})
    reader.start()
    try:
        yield live, reader
    finally:
        reader.stop()


def test_topics_are_read_from_the_beginning_and_followed(broker: EmbeddedBroker, furnished: Firm) -> None:
    produce(broker, taken(furnished))
    with reading(broker) as (live, reader):
        until(live.ready.is_set)
        assert reader.ready().ok
        assert live.sums("unbilled_value").keys() == furnished.live.sums("unbilled_value").keys()
        assert {total.numerator for total in live.sums("unbilled_hours").values()} == {1_539_001}
        assert live.finding("f-2") == furnished.live.finding("f-2")
        assert len(live.sources()) == 6
        furnished.cell("unbilled_hours", 0, "s", gone=True, state="READY", billing_cycle_id="2026-03", **UK)
        produce(broker, taken(furnished))
        until(lambda: {total.numerator for total in live.sums("unbilled_hours").values()} == {639_001})


def test_a_broken_record_is_left_out_and_the_rest_read(broker: EmbeddedBroker, furnished: Firm) -> None:
    topic = output_topic(Output.FINDING_STATE)
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for value in (b"", b"\x01junk", b"\x00\x00\x00\x00\x01\xff\xff"):
        producer.produce(topic, value, b"bad")
    assert producer.flush(20) == 0
    produce(broker, taken(furnished))
    with reading(broker) as (live, _reader):
        until(live.ready.is_set)
        assert {row["finding_id"] for row in live.findings()} == {"f-1", "f-2", "f-3", "f-4"}


def test_missing_topics_are_waited_for_and_named(embedded: EmbeddedBroker) -> None:
    with reading(embedded) as (live, reader):
        until(lambda: "waiting for topics" in reader.ready().detail)
        assert "tieout.kpi.state.v1" in reader.ready().detail
        for output in OUTPUTS:
            embedded.create(output_topic(output), 1)  # would fail if asking had made it
        until(live.ready.is_set)
        assert reader.alive().ok


def test_a_topic_that_lost_its_beginning_is_refused(broker: EmbeddedBroker, furnished: Firm) -> None:
    class Shortened:
        """A consumer of a topic whose oldest rows are gone, as the embedded broker drops them after 5 MB."""

        def __init__(self, config: dict[str, Any]) -> None:
            self._consumer = Consumer(config)

        def get_watermark_offsets(self, *_args: Any, **_named: Any) -> tuple[int, int]:
            return 7, 9

        def __getattr__(self, name: str) -> Any:
            return getattr(self._consumer, name)

    reader = Reader(Live(), {"bootstrap.servers": broker.bootstrap, "group.id": "tieout-api"}, consumer=Shortened)
    reader.start()
    until(lambda: "begins at 7, expected 0" in reader.ready().detail)
    assert not reader.ready().ok
    reader.stop()


def get(url: str) -> tuple[int, bytes] | None:
    try:
        with urlopen(url, timeout=5) as response:
            return response.status, response.read()
    except HTTPError as error:
        return error.code, error.read()
    except (URLError, OSError):
        return None


PROGRAM = """
import logging, sys
from tieout.streams.api.server import run
from tieout.streams.settings import load
logging.basicConfig(stream=sys.stderr, level="INFO", format="%(message)s")
sys.exit(run(load(sys.argv[1], env={})))
"""


def configure(folder: Path, bootstrap: str, port: int) -> None:
    (folder / "tieout.toml").write_text(
        f"""clock = "log"
[kafka.client]
"bootstrap.servers" = "{bootstrap}"
[api]
port = {port}
[ops]
port = 0
[sink]
publish_dir = "{folder}"
"""
    )


@contextmanager
def process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The API as a process of its own, configured by a file in the folder, and its address."""
    log = folder / "log"
    with log.open("w") as out:
        child = subprocess.Popen([sys.executable, "-c", PROGRAM, folder / "tieout.toml"], stderr=out, text=True)
    try:
        line = until(lambda: next((at for at in log.read_text().splitlines() if at.startswith("listening on ")), None))
        yield child, line.removeprefix("listening on ")
    finally:
        child.kill()
        child.wait()
        print(log.read_text())  # shown when a test fails


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_ends_its_streams_and_exits_0(
    broker: EmbeddedBroker, furnished: Firm, tmp_path: Path, number: signal.Signals
) -> None:
    produce(broker, taken(furnished))
    configure(tmp_path, broker.bootstrap, port=0)
    with process(tmp_path) as (child, url):
        until(lambda: (get(f"{url}/readyz") or (0,))[0] == 200)
        assert json.loads((get(f"{url}/v1/kpis/unbilled_hours") or (0, b""))[1])["exact"] == "427.5003"
        with urlopen(f"{url}/v1/stream", timeout=10) as stream:
            assert stream.readline() == b"retry: 3000\n"
            child.send_signal(number)
            while stream.readline():  # the stream ends by itself
                pass
        assert child.wait(timeout=20) == 0


def test_a_taken_port_is_said_and_exits_1(broker: EmbeddedBroker, tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken_port:
        taken_port.bind(("127.0.0.1", 0))
        taken_port.listen()
        port = taken_port.getsockname()[1]
        configure(tmp_path, broker.bootstrap, port)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, tmp_path / "tieout.toml"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "TIEOUT_API__PORT" in done.stderr
