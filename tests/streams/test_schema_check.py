"""`tieout schemas check|register`: contracts that hold, contracts that are broken, and how the command says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from avro_firm import DATE, MILLIS, column, envelope, key, precise

from tieout.codecs.avro_schema import WriterSchema
from tieout.codecs.framing import unframe
from tieout.reconcilers.outcomes import Output
from tieout.schemas import avsc
from tieout.streams.cli.main import main
from tieout.streams.outputs import encoders
from tieout.streams.registry import Registry
from tieout.streams.registry_memory import MemoryRegistry, shared
from tieout.streams.schema_check import broken_outputs, register_outputs, subject_of
from tieout.streams.settings import Settings, load
from tieout.streams.worker import StartError, output_ids

TOPIC = "psa.public.rate"
MAPPING = """
name = "firm"
version = 1
[[map]]
entity = "rate"
table = "public.rate"
columns = { %s }
[map.fields]
rate_id = "code"
rate = { from = "price", as = "rate", ccy = "GBP" }
effective_from = "starts_on"
"""
V1 = [column("code", "string"), column("price", precise(2)), column("starts_on", DATE), column("note", "string")]
SCALED = [column("code", "string"), column("price", precise(4)), column("starts_on", DATE), column("note", "string")]
UNITS = [column("code", "string"), column("price", precise(2)), column("starts_on", MILLIS)]
TEXT = [column("code", "string"), column("price", "string"), column("starts_on", DATE)]
RENAMED = [column("code", "string"), column("cost", precise(2)), column("starts_on", DATE)]
ALIASED = [column("code", "string"), column("cost", precise(2), aliases=["price"]), column("starts_on", DATE)]
UNREAD = [column("code", "string"), column("price", precise(2)), column("starts_on", DATE), column("note", "int")]


class Firm:
    """A folder with a configuration and a mapping, and a registry in process."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.url = folder, f"mock://{name}"
        self.registry = Registry(shared(self.url))
        self.config = folder / "tieout.toml"
        self.configure()

    def configure(self, pins: str = "", registry: str | None = None) -> None:
        (self.folder / "firm.toml").write_text(MAPPING % pins)
        self.config.write_text(f"""
[registry]
url = "{registry or self.url}"
timeout_ms = 200
[sources.rates]
system = "PSA"
topic = "{TOPIC}"
format = "debezium-avro"
mapping = "firm"
[sources.canonical]
system = "TIME"
topic = "time"
""")

    def register(self, *versions: Any, part: str = "value", make: Any = envelope) -> None:
        subject = f"{TOPIC}-{part}"
        self.registry.require(subject, "NONE")
        for columns in versions:
            self.registry.register(subject, json.dumps(make(columns, "public.rate")))

    def run(self, *words: str) -> int:
        return main(["schemas", words[0], "--config", str(self.config), *words[1:]])


@pytest.fixture
def firm(tmp_path: Path) -> Firm:
    return Firm(tmp_path, tmp_path.as_posix().strip("/"))


CHECKS = [
    # what                             versions          pins                     broken at
    ("one version",                    [V1],             "",                      []),
    ("an unread column changes",       [V1, UNREAD],     "",                      []),
    ("another scale",                  [V1, SCALED],     "",                      ["price"]),
    ("another scale, accepted",        [V1, SCALED],     'price = "decimal(4)"',  []),
    ("another scale, pinned",          [V1, SCALED],     'price = "decimal(2)"',  ["price", "rate"]),
    ("and back",                       [V1, SCALED, V1], "",                      ["price"]),
    ("days to milliseconds",           [V1, UNITS],      "",                      ["starts_on"]),
    ("decimal to string",              [V1, TEXT],       "",                      ["price"]),
    ("renamed without alias",          [V1, RENAMED],    "",                      ["price"]),
    ("renamed with an alias",          [V1, ALIASED],    "",                      []),
    ("a pin that never held",          [V1],             'price = "decimal_text"', ["rate"]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "versions", "pins", "places"), CHECKS, ids=[row[0] for row in CHECKS])
def test_sources(firm: Firm, capsys: pytest.CaptureFixture[str], what: str, versions: Any, pins: str, places: list[str]
                 ) -> None:
    firm.register(*versions)
    firm.configure(pins)
    assert firm.run("check", "-o", "json") == (12 if places else 0)
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["place"] for row in rows] == places
    assert all(row["subject"] == f"{TOPIC}-value" and row["why"] for row in rows)


def test_a_key_that_changes_is_other_records(firm: Firm, capsys: pytest.CaptureFixture[str]) -> None:
    firm.register([column("id", "long", null=False)], [column("id", "string", null=False)], part="key", make=key)
    assert firm.run("check") == 12
    assert f"{TOPIC}-key" in capsys.readouterr().out


def test_a_schema_that_is_to_come_is_checked_before_it_is_registered(firm: Firm, tmp_path: Path) -> None:
    firm.register(V1)
    file = tmp_path / "next.avsc"
    file.write_text(json.dumps(envelope(SCALED, "public.rate")))
    assert firm.run("check") == 0
    assert firm.run("check", "--source", "rates", "--candidate", str(file)) == 12
    file.write_text(json.dumps(envelope(ALIASED, "public.rate")))
    assert firm.run("check", "--source", "rates", "--candidate", str(file)) == 0
    assert firm.run("check", "--candidate", str(file)) == 2
    assert firm.run("check", "--source", "nobody") == 2
    assert firm.run("check", "--source", "rates", "--candidate", str(tmp_path / "gone.avsc")) == 1


def test_a_registry_that_is_down_is_unreachable(firm: Firm, capsys: pytest.CaptureFixture[str]) -> None:
    firm.configure(registry="http://127.0.0.1:1")
    assert firm.run("check") == 4
    assert "schema registry unreachable" in capsys.readouterr().err


def test_without_a_registry_our_own_are_checked_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "tieout.toml"
    config.write_text('[sources.rates]\nsystem = "PSA"\ntopic = "x"\nformat = "debezium-flat"\nmapping = "kimai"\n')
    assert main(["schemas", "check", "--config", str(config)]) == 0
    assert "those of rates not at all" in capsys.readouterr().err
    assert main(["schemas", "register", "--config", str(config)]) == 3


def test_our_schemas_are_registered_once_and_stay_readable(firm: Firm, capsys: pytest.CaptureFixture[str]) -> None:
    assert firm.run("register", "--dry-run") == 0
    assert firm.registry.subjects() == []
    capsys.readouterr()
    for _ in range(2):
        assert firm.run("register", "-o", "json") == 0
        rows = json.loads(capsys.readouterr().out)["rows"]
        assert [row["id"] for row in rows] == list(range(1, len(Output) + 1))
    assert firm.run("check") == 0


def test_ids_that_are_not_the_workers_are_said(firm: Firm, capsys: pytest.CaptureFixture[str]) -> None:
    firm.register(V1)
    assert firm.run("register") == 0
    assert "the worker writes ids from 1" in capsys.readouterr().err


@pytest.mark.parametrize("output", Output)
def test_a_schema_that_older_records_do_not_fit_is_refused(firm: Firm, output: Output) -> None:
    """An earlier version without one of our required fields: what it wrote could not be read."""
    older = {**avsc(output.value), "fields": avsc(output.value)["fields"][1:]}
    firm.registry.register(subject_of(output), json.dumps(older))
    (broken,) = broken_outputs(firm.registry)
    lost = avsc(output.value)["fields"][0]["name"]
    assert (broken.subject, broken.version, broken.place) == (subject_of(output), 1, lost)
    assert firm.run("register") == 12
    assert len(firm.registry.versions(subject_of(output))) == 1


def test_registering_demands_compatibility_with_all_versions() -> None:
    memory = MemoryRegistry()
    assert len(list(register_outputs(Registry(memory)))) == len(Output)
    assert set(memory._demands.values()) == {"BACKWARD_TRANSITIVE"}


# -- ids of outputs ----------------------------------------------------------------------------------------------------


def with_outputs(firm: Firm, outputs: str = "true") -> Settings:
    text = firm.config.read_text()
    firm.config.write_text(text.replace("timeout_ms = 200", f"timeout_ms = 200\noutputs = {outputs}"))
    return load(firm.config)


def test_outputs_carry_the_ids_of_the_registry(firm: Firm, capsys: pytest.CaptureFixture[str]) -> None:
    """A registry that has other schemas first gives ours other ids: records name those, and are read with them."""
    firm.register(V1)
    settings = with_outputs(firm)
    assert firm.run("register") == 0
    assert "ids from 1" not in capsys.readouterr().err
    ids = output_ids(settings)
    assert ids is not None
    assert list(ids.values()) == list(range(2, len(Output) + 2))
    row = {"event_id": "1", "entry_key": "TIME:1", "project_code": "P", "decision": "READY", "previous": None,
           "reasons": "", "unbilled_s": 1, "unbilled_minor": 1, "currency": "GBP", "at": 1}
    framed = unframe(encoders(ids)[Output.BILLING_DECISION](row))
    written = WriterSchema(firm.registry.schema(framed.schema_id))
    assert written.read(framed.payload) == row
    assert unframe(encoders()[Output.BILLING_DECISION](row)) == (list(Output).index(Output.BILLING_DECISION) + 1,
                                                                 framed.payload)


def test_a_worker_does_not_start_with_ids_that_nobody_knows(firm: Firm) -> None:
    settings = with_outputs(firm)
    with pytest.raises(StartError, match=f"{len(Output)} schemas .* `tieout schemas register`") as refused:
        output_ids(settings)
    assert refused.value.code == 3
    firm.run("register")
    firm.registry.require(subject_of(Output.KPI_STATE), "NONE")
    assert output_ids(settings) is not None


def test_a_worker_does_not_start_while_the_registry_is_away(firm: Firm) -> None:
    firm.configure(registry="http://127.0.0.1:1")
    with pytest.raises(StartError, match=r"registry\.outputs needs it") as refused:
        output_ids(with_outputs(firm))
    assert refused.value.code == 4


def test_ids_without_a_registry_are_a_mistake(firm: Firm) -> None:
    settings = with_outputs(firm)
    settings = settings.model_copy(update={"registry": settings.registry.model_copy(update={"url": None})})
    with pytest.raises(StartError, match="needs the address") as refused:
        output_ids(settings)
    assert refused.value.code == 3


def test_a_registry_of_sources_alone_is_not_asked(firm: Firm) -> None:
    firm.configure(registry="http://127.0.0.1:1")
    assert output_ids(with_outputs(firm, "false")) is None
