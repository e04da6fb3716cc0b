"""The command line: immediate help, commands found by name, exit codes, messages on standard error."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from brokers import KafkaCluster

from tieout.streams.cli import main as cli
from tieout.streams.cli.exits import MEANING, Exit
from tieout.streams.cli.main import COMMANDS, main
from tieout.streams.layers import ConfigError, Problem


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory without any of our variables."""
    monkeypatch.chdir(tmp_path)
    for name in ("TIEOUT_CONFIG", "TIEOUT_KAFKA__CLIENT__BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def nowhere(folder: Path) -> None:
    """A configuration whose broker is not there."""
    (folder / "tieout.toml").write_text('[kafka.client]\nbootstrap.servers = "127.0.0.1:1"\n')


def test_help_is_immediate() -> None:
    """`tieout --help` imports nothing heavy: under 0.3 s, the best of five on a busy machine."""
    command = [sys.executable, "-m", "tieout.streams.cli.main", "--help"]
    took = []
    for _ in range(5):
        begun = time.perf_counter()
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        took.append(time.perf_counter() - begun)
    assert min(took) < 0.3
    assert all(name in text for name in COMMANDS)


def test_help_imports_no_framework() -> None:
    """What makes it immediate: none of the heavy packages is loaded."""
    program = "import sys\nfrom tieout.streams.cli.main import main\nmain(['--help'])\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"typer", "pydantic", "duckdb", "polars", "confluent_kafka", "faust"} & set(loaded) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each name in the list leads to a module that is there."""
    assert main([name, "--help"]) == Exit.OK
    assert f"Usage: tieout {name}" in capsys.readouterr().out


def test_a_misspelt_command_is_a_usage_error_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing on standard output, the nearest command on standard error."""
    assert main(["statsu"]) == Exit.USAGE
    out, err = capsys.readouterr()
    assert (out, err) == ("", "tieout: no command 'statsu': did you mean status?\n")


def test_an_unknown_option_is_a_usage_error() -> None:
    """The exit code that scripts expect from a wrong command line."""
    assert main(["lag", "--no-such-option"]) == Exit.USAGE


def test_no_command_prints_help_and_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """`tieout` alone did nothing, and a script should notice."""
    assert main([]) == Exit.USAGE
    assert capsys.readouterr().out.startswith("Usage: tieout COMMAND")


def test_exit_codes_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """Every code of the contract with its meaning."""
    assert main(["help", "exit-codes"]) == Exit.OK
    codes = [int(line.split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert codes == [0, 1, 2, 3, 4, 10, 11, 12, 130]
    assert set(MEANING) == set(Exit)


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (typer.Exit(Exit.DRIFT), Exit.DRIFT),
        (ConfigError([Problem("a", "b", "c", "d")]), Exit.CONFIGURATION),
        (FileNotFoundError(2, "No such file", "x.jsonl"), Exit.FAILED),
    ],
)
def test_what_a_command_raises_becomes_its_exit_code(raised: Exception, code: Exit) -> None:
    """Expected failures are codes and messages, not tracebacks."""
    app = typer.Typer()

    @app.command()
    def fails() -> None:
        raise raised

    assert cli.run(app, "tieout x", []) == code


def test_a_defect_keeps_its_traceback() -> None:
    """An exception that nobody foresaw is not dressed up as an ordinary failure."""
    app = typer.Typer()

    @app.command()
    def broken() -> None:
        raise KeyError("nobody foresaw this")

    with pytest.raises(KeyError):
        cli.run(app, "tieout x", [])


def test_an_interrupted_command_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is neither success nor failure."""

    def interrupted(_words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_dispatch", interrupted)
    assert main(["status"]) == Exit.INTERRUPTED


def test_config_check_exits_3_and_names_the_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message is for people, the code for scripts."""
    (here / "tieout.toml").write_text("clock = 'wal'\n")
    assert main(["config", "check"]) == Exit.CONFIGURATION
    out, err = capsys.readouterr()
    assert out == ""
    assert "clock   (tieout.toml:1)" in err
    assert "did you mean  wall ?" in err


def test_config_check_knows_librdkafkas_names(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt client setting is found without a broker."""
    (here / "tieout.toml").write_text('[kafka.client]\nbootstrap.servers = "a:1"\nsasl.usrname = "x"\n')
    assert main(["config", "check"]) == Exit.CONFIGURATION
    assert "sasl.usrname" in capsys.readouterr().err


def test_config_show_tells_origins_and_hides_secrets(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """File and line, variable, or default; never a password."""
    nowhere(here)
    monkeypatch.setenv("TIEOUT_KAFKA__CLIENT__SASL_PASSWORD", "hunter2")
    assert main(["config", "show", "-o", "json"]) == Exit.OK
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "tieout.config.show/v1"
    shown = {row["key"]: (row["value"], row["origin"]) for row in document["rows"]}
    assert shown["kafka.client.bootstrap.servers"] == ("127.0.0.1:1", "tieout.toml:2")
    assert shown["kafka.client.sasl.password"] == ("(hidden)", "TIEOUT_KAFKA__CLIENT__SASL_PASSWORD")
    assert shown["clock"] == ("wall", "default")


def test_config_schema_describes_every_section(capsys: pytest.CaptureFixture[str]) -> None:
    """An editor completes tieout.toml with it."""
    assert main(["config", "schema"]) == Exit.OK
    schema = json.loads(capsys.readouterr().out)
    assert {"clock", "kafka", "sources", "policy", "sink", "api", "checkpoint", "ops"} <= set(schema["properties"])


@pytest.mark.parametrize("command", [["topics", "plan"], ["lag"], ["status"]])
def test_a_broker_that_is_not_there_exits_4(
    command: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unreachable is told apart from unhealthy, and without a traceback."""
    nowhere(here)
    assert main(command) == Exit.UNREACHABLE
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.kafka
def test_topics_are_planned_applied_and_then_well(
    here: Path, kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """plan says 10 while something differs, a dry run changes nothing, apply brings it there."""
    monkeypatch.setenv("TIEOUT_KAFKA__CLIENT__BOOTSTRAP_SERVERS", kafka.bootstrap)
    assert main(["topics", "plan"]) == Exit.UNHEALTHY
    assert main(["topics", "apply", "--dry-run"]) == Exit.OK
    assert main(["topics", "plan"]) == Exit.UNHEALTHY
    assert main(["topics", "apply"]) == Exit.OK
    assert main(["topics", "plan"]) == Exit.OK
    capsys.readouterr()
    assert main(["status", "-o", "json"]) == Exit.UNHEALTHY  # there is no snapshot yet
    states = {row["check"]: row["state"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert (states["broker"], states["topics"], states["worker"], states["snapshot"]) == ("ok", "ok", "ok", "fail")
    assert main(["lag", "--fail-above", "0"]) == Exit.OK
