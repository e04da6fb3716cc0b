"""Dead letters: nothing of a record is lost on the way, and the commands that work on them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tieout.streams.cli.dlq import app
from tieout.streams.deadletters import ATTEMPT, CONNECT, Letter, Status, letter_of, marked, overtaken
from tieout.streams.embedded import EmbeddedBroker
from tieout.streams.topics import DEAD_LETTER

WAIT_S = 20.0
LETTERS = (("erp.ax", 3, "not_json"), ("erp.ax", 8, "key_missing"), ("time.kimai", 1, "not_json"))
ALL = ["erp.ax/0/3", "erp.ax/0/8", "time.kimai/0/1"]

texts = st.text(max_size=8)
names = st.sampled_from(["h", "trace", "__debezium.newkey"])
own_headers = st.lists(st.tuples(names, st.none() | st.binary(max_size=4)))
letters = st.builds(
    Letter, topic=st.sampled_from(["erp.ax", "a/b"]), partition=st.integers(0, 9), offset=st.integers(0, 2**40),
    ts_us=st.integers(-1_000, 2**50), key=st.none() | st.binary(max_size=5), value=st.none() | st.binary(max_size=9),
    headers=own_headers.map(tuple), reason=texts, hint=texts, message=texts, error=texts, source=texts, object=texts,
)


@given(letters)
def test_a_letter_survives_its_headers(letter: Letter) -> None:
    assert letter_of(letter.to_headers(), letter.value) == letter


def test_the_headers_are_those_of_kafka_connect_and_ours() -> None:
    letter = Letter("erp.ax", 1, 42, 5_000, b"k", b"{", (("h", b"x"),), "not_json", "look", "found '{'", "NotJson",
                    "ERP/ax")
    headers = dict(letter.to_headers())
    assert headers[f"{CONNECT}topic"] == b"erp.ax"
    assert headers[f"{CONNECT}partition"] == b"1"
    assert headers[f"{CONNECT}offset"] == b"42"
    assert headers[f"{CONNECT}exception.class.name"] == b"NotJson"
    assert headers[f"{CONNECT}exception.message"] == b"found '{'"
    assert (headers["tieout_reason"], headers["tieout_hint"]) == (b"not_json", b"look")
    assert letter.origin == "erp.ax/1/42"
    assert marked(letter.to_headers()) is None


def test_what_is_no_letter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"header __connect.errors.topic is missing"):
        letter_of([("h", b"x")], b"")


# --- the commands -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A broker with three dead letters of two topics, and a configuration that leads to it."""
    with EmbeddedBroker(topics={DEAD_LETTER: 1, "erp.ax": 1, "time.kimai": 1}) as broker:
        writer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        for topic, offset, reason in LETTERS:
            letter = Letter(topic, 0, offset, 1_772_442_000_000_000, b"k", f"{topic}:{offset}".encode(), (("h", b"x"),),
                            reason, "look at it", "found nothing", "NotJson", "ERP/ax", "invoice")
            writer.produce(DEAD_LETTER, letter.value, letter.origin, headers=letter.to_headers())  # type: ignore[arg-type]
        assert writer.flush(WAIT_S) == 0
        config = tmp_path / "tieout.toml"
        config.write_text(f'[kafka.client]\n"bootstrap.servers" = "{broker.bootstrap}"\nlog_level = 0\n')
        yield broker.bootstrap, config


def dlq(cluster: tuple[str, Path], *arguments: str) -> Result:
    command, *rest = arguments
    return CliRunner().invoke(app, [command, "--config", str(cluster[1]), *rest])


def origins(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [row["origin"] for row in json.loads(result.stdout)["rows"]]


def arrived(bootstrap: str, topic: str) -> list[tuple[Any, Any, Any, int]]:
    """Key, value, headers and timestamp of what is in a raw topic."""
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": "look", "log_level": 0})
    low, high = reader.get_watermark_offsets(TopicPartition(topic, 0), WAIT_S)
    reader.assign([TopicPartition(topic, 0, low)])
    messages = reader.consume(high - low, WAIT_S) if high > low else []
    reader.close()
    return [(m.key(), m.value(), m.headers(), m.timestamp()[1]) for m in messages if m.error() is None]


def test_list_filters(cluster: tuple[str, Path]) -> None:
    assert origins(dlq(cluster, "list", "-o", "json")) == ALL
    assert origins(dlq(cluster, "list", "-o", "json", "--reason", "not_json")) == ["erp.ax/0/3", "time.kimai/0/1"]
    assert origins(dlq(cluster, "list", "-o", "json", "--topic", "erp.ax")) == ["erp.ax/0/3", "erp.ax/0/8"]


def test_every_output_has_the_same_rows(cluster: tuple[str, Path]) -> None:
    as_csv = list(csv.DictReader(dlq(cluster, "list", "-o", "csv").stdout.splitlines()))
    as_lines = [json.loads(line) for line in dlq(cluster, "list", "-o", "jsonl").stdout.splitlines()]
    assert [row["origin"] for row in as_csv] == [row["origin"] for row in as_lines]
    assert "look at it" in dlq(cluster, "list").stdout


def test_show_tells_everything_about_one(cluster: tuple[str, Path]) -> None:
    shown = json.loads(dlq(cluster, "show", "erp.ax/0/3", "-o", "json", "--detail").stdout)
    assert shown["schema"] == "tieout.dlq.show/v1"
    assert (shown["payload"], shown["key"], shown["headers"]) == ("erp.ax:3", "k", ["h: x"])
    assert (shown["message"], shown["hint"]) == ("found nothing", "look at it")
    masked = json.loads(dlq(cluster, "show", "erp.ax/0/3", "-o", "json").stdout)
    assert (masked["payload"], masked["key"], masked["headers"]) == ("*** (8 bytes)", "*** (1 bytes)", "***")
    missing = dlq(cluster, "show", "erp.ax/0/4")
    assert missing.exit_code == 2
    assert "no dead letter of erp.ax/0/4" in missing.stderr


def test_a_dry_run_sends_nothing(cluster: tuple[str, Path]) -> None:
    assert origins(dlq(cluster, "replay", "--all", "--dry-run", "-o", "json")) == ALL
    assert arrived(cluster[0], "erp.ax") == []
    assert len(origins(dlq(cluster, "list", "-o", "json"))) == 3


def test_a_replay_sends_the_record_as_it_was_and_only_once(cluster: tuple[str, Path]) -> None:
    assert origins(dlq(cluster, "replay", "erp.ax/0/8", "--force", "-o", "json")) == ["erp.ax/0/8"]
    assert origins(dlq(cluster, "replay", "erp.ax/0/8", "-o", "json")) == []
    assert arrived(cluster[0], "erp.ax") == [
        (b"k", b"erp.ax:8", [("h", b"x"), ("tieout_replayed_from", b"erp.ax/0/8"), ("tieout_attempt", b"1")],
         1_772_442_000_000)]
    assert origins(dlq(cluster, "list", "-o", "json")) == ["erp.ax/0/3", "time.kimai/0/1"]
    assert len(origins(dlq(cluster, "list", "-o", "json", "--replayed"))) == 3


def test_a_replay_keeps_the_order_of_a_key(cluster: tuple[str, Path]) -> None:
    """Both letters of the ERP have one key: the later one alone would overtake the earlier."""
    refused = dlq(cluster, "replay", "erp.ax/0/8")
    assert refused.exit_code == 1
    assert "erp.ax/0/8 would overtake erp.ax/0/3" in refused.stderr
    assert arrived(cluster[0], "erp.ax") == []
    assert len(origins(dlq(cluster, "replay", "--topic", "erp.ax", "-o", "json"))) == 2
    assert [value for _, value, _, _ in arrived(cluster[0], "erp.ax")] == [b"erp.ax:3", b"erp.ax:8"]


def test_what_is_parked_can_be_replayed_and_what_is_dropped_cannot(cluster: tuple[str, Path]) -> None:
    assert origins(dlq(cluster, "park", "erp.ax/0/3", "--note", "waits for AX, Ann", "-o", "json")) == ["erp.ax/0/3"]
    assert origins(dlq(cluster, "drop", "time.kimai/0/1", "--note", "a test entry, Bob", "-o", "json")) == [ALL[2]]
    assert origins(dlq(cluster, "list", "-o", "json")) == ALL[:2]
    rows = json.loads(dlq(cluster, "list", "--replayed", "-o", "json").stdout)["rows"]
    assert [(row["status"], row["note"]) for row in rows] == [
        ("PARKED", "waits for AX, Ann"), ("OPEN", ""), ("DROPPED", "a test entry, Bob")]
    assert origins(dlq(cluster, "replay", "--all", "-o", "json")) == ALL[:2]
    assert arrived(cluster[0], "time.kimai") == []


def test_a_decision_wants_a_reason(cluster: tuple[str, Path]) -> None:
    assert dlq(cluster, "drop", "--all").exit_code == 2
    assert "--note is empty" in dlq(cluster, "drop", "--all", "--note", " ").stderr
    assert origins(dlq(cluster, "drop", "--all", "--note", "x", "--dry-run", "-o", "json")) == ALL
    assert origins(dlq(cluster, "list", "-o", "json")) == ALL


def test_a_record_that_fails_again_and_again_is_not_sent_for_ever(cluster: tuple[str, Path]) -> None:
    tired = Letter("erp.ax", 0, 20, 0, None, b"x", ((ATTEMPT, b"5"),), "not_json", "look")
    writer = Producer({"bootstrap.servers": cluster[0], "log_level": 0})
    writer.produce(DEAD_LETTER, tired.value, tired.origin, headers=tired.to_headers())  # type: ignore[arg-type]
    assert writer.flush(WAIT_S) == 0
    refused = dlq(cluster, "replay", tired.origin)
    assert refused.exit_code == 1
    assert "replayed 5 times" in refused.stderr
    assert origins(dlq(cluster, "replay", tired.origin, "--force", "-o", "json")) == [tired.origin]


def test_only_open_letters_of_the_same_key_are_overtaken() -> None:
    def letter(offset: int, key: bytes | None, status: Status = Status.OPEN) -> Letter:
        return Letter("t", 0, offset, 0, key, b"", (), "r", "h", status=status)

    every = [letter(1, b"a", Status.DROPPED), letter(2, b"a"), letter(3, b"b"), letter(4, b"a"), letter(5, None),
             letter(6, None)]  # fmt: skip
    assert overtaken(every, [every[3]]) == {"t/0/4": "t/0/2"}
    assert overtaken(every, [every[1], every[3]]) == {}
    assert overtaken(every, [every[2], every[5]]) == {}


def test_a_replay_wants_to_be_told_what(cluster: tuple[str, Path]) -> None:
    result = dlq(cluster, "replay")
    assert result.exit_code == 2
    assert "nothing chosen" in result.stderr
