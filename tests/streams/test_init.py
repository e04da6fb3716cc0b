"""`tieout init`: what it writes is valid, and nobody's work is lost."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tieout.streams.cli.exits import Exit
from tieout.streams.cli.main import main
from tieout.streams.scaffold import NewSource, Plan, Unusable, read_connector, read_source
from tieout.streams.settings import load
from tieout.streams.sources import readings


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory without any of our variables."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TIEOUT_")]:
        monkeypatch.delenv(name)
    return tmp_path


PSA = "PSA/certinia=psa.public.time_entry:debezium-json-schema"


@pytest.mark.parametrize("flags", [
    [],
    ["--brokers", "k1:9092,k2:9092"],
    ["--source", "TIME/kimai=kimai.timesheet:debezium-json:kimai", "--source", "ERP=raw.erp"],
    ["--source", PSA, "--connector", "psa=postgresql://tieout@psa-db:5433/psa", "--connect", "http://connect:8083"],
    ["--source", PSA, "--source", PSA.replace("public", "other"), "--source", PSA.replace("public", "third")],
    ["--connector", "ax=sqlserver://tieout@ax/AX", "--connector", "k=mysql://t@k/", "--connector", "m=mariadb://t@m/"],
], ids=lambda flags: " ".join(flags)[:40] or "nothing")  # fmt: skip
def test_what_is_written_is_valid(flags: list[str], here: Path) -> None:
    """It passes `config check`, its mappings can be read, and every flag is in it."""
    assert main(["init", *flags]) == Exit.OK
    assert main(["config", "check"]) == Exit.OK
    known = load(None, {})
    readings(known)
    assert (here / "mappings" / "example.toml").exists()
    assert len(known.sources) == flags.count("--source")
    assert len(known.connectors) == flags.count("--connector")
    if "--brokers" in flags:
        assert known.kafka.client["bootstrap.servers"] == "k1:9092,k2:9092"


def test_a_source_of_a_connector_has_its_heartbeat(here: Path) -> None:
    """And the connector the source's format; its password is looked up by Connect."""
    assert main(["init", "--source", PSA, "--connector", "psa=postgresql://tieout@psa-db/psa"]) == Exit.OK
    known = load(None, {})
    assert known.sources["psa_time_entry"].heartbeat == "__debezium-heartbeat.psa"
    assert known.connectors["psa"].format == "debezium-json-schema"
    assert known.connectors["psa"].password == "${env:PSA_PASSWORD}"


def test_nothing_is_overwritten_unasked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """tieout.toml only with --force, a mapping not even then: it is somebody's work."""
    assert main(["init", "--source", PSA]) == Exit.OK
    mine = here / "mappings" / "psa_time_entry.toml"
    mine.write_text("# mine\n")
    before = (here / "tieout.toml").read_text()
    assert main(["init", "--brokers", "other:9092"]) == Exit.FAILED
    assert "--force" in capsys.readouterr().err
    assert (here / "tieout.toml").read_text() == before
    assert main(["init", "--brokers", "other:9092", "--source", PSA, "--force"]) == Exit.OK
    assert "other:9092" in (here / "tieout.toml").read_text()
    assert mine.read_text() == "# mine\n"


def test_a_dry_run_writes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The text goes to standard output."""
    assert main(["init", "there", "--source", "ERP=raw.erp", "--dry-run"]) == Exit.OK
    assert 'topic = "raw.erp"' in capsys.readouterr().out
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(("flag", "value", "expected"), [
    ("--source", "ERB/x=topic", "expected SYSTEM/instance=topic"),
    ("--source", "ERP", "expected SYSTEM/instance=topic"),
    ("--source", "ERP=", "expected SYSTEM/instance=topic"),
    ("--source", "ERP=t:debezium-xml", "expected one of canonical"),
    ("--connector", "psa=oracle://u@h/d", "expected NAME=KIND"),
    ("--connector", "psa=postgresql://h/d", "expected NAME=KIND"),
    ("--connector", "psa=postgresql://u:hunter2@h/d", "expected none"),
])  # fmt: skip
def test_a_wrong_flag_is_explained(
    flag: str, value: str, expected: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the way that it is written; nothing is written, no password repeated."""
    assert main(["init", flag, value]) == Exit.USAGE
    error = capsys.readouterr().err
    assert expected in error
    assert "hunter2" not in error
    assert list(here.iterdir()) == []


def test_what_does_not_fit_together_is_not_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One connector writes one format: the same check as of a file that is read."""
    second = PSA.replace("time_entry:debezium-json-schema", "project:debezium-json")
    flags = ["--source", PSA, "--source", second, "--connector", "psa=postgresql://t@h/psa"]
    assert main(["init", *flags]) == Exit.CONFIGURATION
    assert "sources.psa_project.format" in capsys.readouterr().err
    assert not (here / "tieout.toml").exists()


@pytest.mark.parametrize(("text", "expected"), [
    ("TIME/kimai=a.b:debezium-json:kimai", NewSource("TIME", "kimai", "a.b", "debezium-json", "kimai")),
    ("erp=raw.erp", NewSource("ERP", "main", "raw.erp", "canonical", "")),
])  # fmt: skip
def test_a_source_is_read(text: str, expected: NewSource) -> None:
    """Instance, format and mapping may be left out."""
    assert read_source(text) == expected


def test_a_connector_is_read() -> None:
    """As an address without a password."""
    found = read_connector("psa-emea=postgresql://tieout@psa-db:5433/psa")
    assert (found.host, found.port, found.user, found.database) == ("psa-db", 5433, "tieout", "psa")
    assert found.variable == "PSA_EMEA_PASSWORD"
    with pytest.raises(Unusable):
        read_connector("a b=postgresql://u@h/d")


def test_sections_of_one_name_are_numbered() -> None:
    """Two tables of one name in two schemas."""
    sources = [read_source(PSA), read_source(PSA.replace("public", "other"))]
    assert list(Plan("k:1", sources).named()) == ["psa_time_entry", "psa_time_entry_2"]


def test_on_a_terminal_it_asks(here: Path) -> None:
    """Brokers, sources until there are no more, Connect; a wrong answer is asked for again."""
    answers = ["k1:9092", "TINE", "TIME", "kimai", "kimai.timesheet", "debezium-json", "kimai", "", ""]
    ours, theirs = pty.openpty()
    os.write(ours, ("\n".join(answers) + "\n").encode())
    command = [sys.executable, "-m", "tieout.streams.cli.main", "init"]
    done = subprocess.run(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == Exit.OK, done.stderr
    assert "expected one of ERP, PSA" in done.stderr
    known = load(here / "tieout.toml", {})
    assert known.kafka.client["bootstrap.servers"] == "k1:9092"
    assert known.sources["time_timesheet"].mapping == "kimai"
