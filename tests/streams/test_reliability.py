"""The page on retries and bounds says what settings and code say; and bounds that nothing else tests hold."""

from __future__ import annotations

import asyncio
import importlib
import re
import tracemalloc
from typing import Any
from unittest.mock import Mock

import pytest
from brokers import ROOT

from tieout.reconcilers.changes import Change, Op
from tieout.reconcilers.entities import Axis
from tieout.streams import audit, ingest, worker
from tieout.streams.api import reader
from tieout.streams.audit import Tally
from tieout.streams.checkpoint import Checkpointer, Held
from tieout.streams.identity import Identity, home_row, id_row
from tieout.streams.outbox import DeliveryFailed
from tieout.streams.settings import Checkpoint, Retry, Settings
from tieout.streams.sinks import source
from tieout.streams.stretches import _RECORDS_KEPT, Orders
from tieout.streams.tables import Place

PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
FIGURE = re.compile(r"`([\w/]+\.(?:py:)?\w+)` \(([\d., a-zA-Z]+)\)")
NAMED = FIGURE.findall(PAGE)


def value_of(name: str) -> Any:
    """The default of a setting, or a constant of a module."""
    if ".py:" in name:
        path, _, constant = name.partition(".py:")
        return getattr(importlib.import_module(f"tieout.{path.replace('/', '.')}"), constant)
    section, _, key = name.partition(".")
    return getattr(getattr(Settings(), section), key)


@pytest.mark.parametrize(("name", "said"), NAMED)
def test_a_figure_on_the_page_is_the_codes_figure(name: str, said: str) -> None:
    value = value_of(name)
    expected = value if isinstance(value, tuple) else (value,)
    assert tuple(float(number) for number in re.findall(r"[\d.]+", said)) == expected


def test_every_retry_setting_is_on_the_page_and_the_pattern_finds_them() -> None:
    assert len(NAMED) > 40
    assert {f"retry.{name}" for name in Retry.model_fields} <= {name for name, _ in NAMED}


def test_what_the_page_names_as_proof_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/]+(?:\.py)?)/?`", PAGE))
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).exists()] == []


# --- what waits for brokers, registry and store takes its figures from the settings ---------------------


def test_roles_wait_as_long_as_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.model_validate({"retry": {"brokers_s": 7, "registry_s": 0.25}})
    for name in ("Consumer", "Producer", "Ends"):
        monkeypatch.setattr(ingest, name, Mock())
    role = ingest.IngestRole(settings)
    role._outbox._producer.flush.return_value = 1  # type: ignore[attr-defined]  # a mock
    with pytest.raises(DeliveryFailed, match=r"no answer in 7 s"):
        role._outbox._flush()
    role._consumer.consume.return_value = []  # type: ignore[attr-defined]
    role._idle()
    assert role._consumer.consume.call_args.args == (1, 0.25)  # type: ignore[attr-defined]


# --- bounds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [ingest._consumer_options(Settings()), reader.CONFIG], ids=["ingest", "api"])
def test_consumers_read_ahead_16_megabytes_at_the_most(options: dict[str, Any]) -> None:
    assert options["queued.max.messages.kbytes"] == 16_384


def test_the_sink_reads_ahead_as_much_and_takes_a_batch_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Mock()
    monkeypatch.setattr(source, "Consumer", consumer)
    output = source.OutputReader(Settings())
    assert consumer.call_args.args[0]["queued.max.messages.kbytes"] == source.PREFETCH_KB
    consumer.return_value.consume.return_value = []
    output.consume(10_000, 0.1)
    assert consumer.return_value.consume.call_args.args == (10_000, 0.1)


def test_the_worker_fetches_so_many_frames() -> None:
    conf = worker.faust_app(Settings()).conf
    assert (conf.stream_buffer_maxsize, conf.broker_max_poll_records) == (worker._FRAMES_QUEUED,) * 2


def test_an_agent_waits_at_twice_a_checkpoint_of_changes() -> None:
    async def waits(pending: int) -> bool:
        checkpointer, place = Checkpointer(Checkpoint(changes=100)), Place(Axis.PROJECT, 0)
        checkpointer.held[place] = Held(Mock(pending_changes=pending), Mock())
        try:
            await asyncio.wait_for(checkpointer.room(place), 0.05)
        except TimeoutError:
            return True
        return False

    assert [asyncio.run(waits(pending)) for pending in (99, 100, 199, 200, 1_000)] == [False, False, False, True, True]


def test_order_tokens_of_so_many_records_are_remembered() -> None:
    orders = Orders()
    for number in range(_RECORDS_KEPT + 10):
        orders.went_back(Change("time_entry", str(number), Op.UPSERT, "TIME/k", str(number), number, "1"))
    assert len(orders._last) == _RECORDS_KEPT


def test_event_ids_are_forgotten_after_three_days() -> None:
    tally = Tally()
    for hour in range(200):
        for number in range(3):
            tally.event(0, hour, f"{hour}-{number}")
    assert len(tally._seen) == audit._IDS_KEPT_H + 1
    assert sum(map(len, tally._seen.values())) == 3 * (audit._IDS_KEPT_H + 1)


def test_a_row_of_the_id_map_costs_what_the_page_says() -> None:
    [said] = re.findall(r"at (\d+) bytes a row", PAGE)
    tracemalloc.start()
    identity = Identity()
    for number in range(50_000):
        identity.restore(id_row("time_entry", "PSA/certinia", f"a1B5f{number:012d}"), f"TIME:{number:012d}")
        identity.restore(home_row("time_entry", f"TIME:{number:012d}"), f"ACME-{number % 500:05d}")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.7 * int(said) < held / len(identity.rows) < 1.3 * int(said)
