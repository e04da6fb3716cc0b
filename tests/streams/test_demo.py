"""The demo's parts: the children, the generated configuration, what it says when it cannot go on, and the whole."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tieout.streams import app, crew
from tieout.streams.cli.main import main
from tieout.streams.crew import Crew, Ended, is_free, readable
from tieout.streams.demo import Demo, DemoFailed, Stall, State, configuration, load, prepare
from tieout.streams.demo_report import line, values
from tieout.streams.simulate.facts import TOPICS

SERVER = ["http.server", "0", "--bind", "127.0.0.1"]  # a module that runs until it is told to end


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Crew]:
    """A crew whose children are gone when the test is over."""
    found = Crew(tmp_path)
    yield found
    found.stop(grace_s=5)


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_children_run_until_they_are_stopped(children: Crew) -> None:
    children.start("sink", SERVER)
    children.start("api", SERVER)
    assert children.ended() is None
    assert set(children.stop(grace_s=10)) == {"sink", "api"}
    assert all(child.poll() is not None for child in children.children.values())


def test_a_child_that_ends_is_noticed_with_its_code_and_its_last_words(children: Crew) -> None:
    children.start("sink", SERVER)
    children.start("worker", ["tieout.streams.app", "nonsense"])
    wait_until(lambda: children.ended() == Ended("worker", 2))
    assert "invalid choice: 'nonsense'" in children.tail("worker")


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    config = tmp_path / "tieout.toml"
    config.write_text(configuration(f"127.0.0.1:{crew.free_port()}", tmp_path, crew.free_port()), encoding="utf-8")
    code = ("import pathlib, sys, time; from tieout.streams.crew import Crew; c = Crew(pathlib.Path(sys.argv[1])); "
            "c.start('sink', ['tieout.streams.app', 'sink', '--config', sys.argv[2]], {'TIEOUT_OPS__PORT': '0'}); "
            "print(c.children['sink'].pid, flush=True); time.sleep(60)")
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(config)], stdout=subprocess.PIPE,
                              text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    log = tmp_path / "sink.log"
    wait_until(lambda: "metrics and probes" in log.read_text(encoding="utf-8"))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not Path(f"/proc/{child}").exists() or "State:\tZ" in Path(f"/proc/{child}/status").read_text())


def wait_until(holds: Callable[[], bool], seconds: float = 40) -> None:
    """Fail unless it holds within so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_log_lines_are_made_readable() -> None:
    assert readable('{"event": "it broke", "level": "error", "exception": "Traceback\\n  ...\\nKeyError: 1"}') == (
        "ERROR    it broke <- KeyError: 1")
    assert readable('{"event": "hello", "level": "info"}') == "INFO     hello"
    assert readable("Traceback (most recent call last):") == "Traceback (most recent call last):"
    assert readable("[1, 2]") == "[1, 2]"


def test_ports_of_several_roles_are_in_a_row_or_any() -> None:
    assert [app.ops_port(9464, place)["TIEOUT_OPS__PORT"] for place in range(3)] == ["9464", "9465", "9466"]
    assert app.ops_port(0, 2) == {"TIEOUT_OPS__PORT": "0"}


def test_a_taken_port_is_said_with_the_way_on(taken_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert not is_free("127.0.0.1", taken_port)
    assert main(["demo", "--port", str(taken_port), "--no-stay"]) == 1
    said = capsys.readouterr().err
    assert f"Port {taken_port} on 127.0.0.1 is taken" in said
    assert f"tieout demo --port {taken_port + 1}" in said


def test_the_generated_configuration_reads_every_topic(tmp_path: Path) -> None:
    file = tmp_path / "tieout.toml"
    file.write_text(configuration("127.0.0.1:4711", tmp_path, 8099), encoding="utf-8")
    settings = load(file)
    assert settings.clock == "log"
    assert settings.api.port == 8099
    assert settings.kafka.client["bootstrap.servers"] == "127.0.0.1:4711"
    assert {(f"{s.system}/{s.instance}", s.topic) for s in settings.sources.values()} == {
        (topic.source, topic.name) for topic in TOPICS}


def test_a_run_removes_what_an_earlier_one_left_and_nothing_else(tmp_path: Path) -> None:
    for name in ("truth.json", "tieout.duckdb", "notes.txt"):
        (tmp_path / name).write_text("old")
    prepare(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["logs", "notes.txt", "pub"]


def test_a_stall_names_the_role_that_stands_still() -> None:
    stall = Stall(Crew(), limit_s=0.05)
    stall.saw("worker", 10)
    stall.saw("worker", 9)
    time.sleep(0.06)
    with pytest.raises(DemoFailed, match="worker stands still") as failed:
        stall.saw("worker", 9)
    assert failed.value.role == "worker"


def test_a_role_that_ends_fails_the_demo_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "command", lambda role, config: ["tieout.streams.app", "nonsense"])
    assert main(["demo", "--port", "0", "--no-stay", "--folder", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert "ended with 2" in said
    assert "invalid choice" in said


def test_plain_progress_is_one_line() -> None:
    state = State("playing", "2026-03-17T10:20:00Z", 1_200, 24_000, held=True, tiles={"unbilled hours": "1,112.5"})
    assert line(state) == "playing four weeks · 2026-03-17 10:20Z · 1,200 of 24,000 records · waiting for readers"
    assert values(state) == ["1,112.5 unbilled hours"]


@pytest.mark.timeout(400)
def test_the_whole_demo_is_green(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-m", "tieout.streams.cli.main", "demo", "--port", "0", "--folder", str(folder)],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    assert "0 invented" in done.stdout
    assert "17 of 17 KPIs equal" in done.stdout
    assert {file.name for file in folder.glob("logs/*.log")} == {f"{role}.log" for role in (*app.PIPELINE, "simulate")}
    assert Demo(folder, 0, 1.0, 1, lambda state: None).truth_file.exists()
    assert crew.free_port() > 0


def test_a_demo_that_was_started_in_the_background_ends_when_it_is_told_to(tmp_path: Path) -> None:
    """Shells start such a process with Ctrl-C ignored; SIGTERM is another matter."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as the child inherits it
    try:
        demo = subprocess.Popen(
            [sys.executable, "-m", "tieout.streams.cli.main", "demo", "--port", "0", "--folder", str(tmp_path / "run")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        until_s = time.monotonic() + 60
        while not list(tmp_path.glob("run/logs/worker.log")) and time.monotonic() < until_s:
            time.sleep(0.1)
        demo.terminate()
        assert demo.wait(30) == 130
    finally:
        demo.kill()


def test_up_stops_everything_when_one_role_fails(tmp_path: Path) -> None:
    config = tmp_path / "tieout.toml"
    config.write_text(configuration(f"127.0.0.1:{crew.free_port()}", tmp_path, crew.free_port()), encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "tieout.streams.cli.main", "up", "--config", str(config)],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=90,
                          env={**os.environ, "TIEOUT_OPS__PORT": "0"})
    assert done.returncode in (1, 4)
    assert "stopping the others" in done.stderr


def test_a_capture_is_written_without_any_configuration(tmp_path: Path) -> None:
    file, truth = tmp_path / "four-weeks.jsonl.gz", tmp_path / "truth.json"
    assert main(["run", "simulate", "--capture", str(file), "--truth", str(truth)]) == 0
    assert file.stat().st_size > 100_000
    assert truth.exists()
    assert not list(tmp_path.glob("*.part"))


def test_a_wrong_configuration_is_code_3(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "tieout.toml"
    config.write_text("clok = 'log'\n", encoding="utf-8")
    for words in (["run", "ingest"], ["run", "simulate"], ["up"]):
        assert main([*words, "--config", str(config)]) == 3
        assert "clock" in capfd.readouterr().err
