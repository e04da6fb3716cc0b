"""Settings: layers and their precedence, and errors that say where, what and what instead, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tieout.streams.settings import ConfigError, load

GOOD = """\
clock = "log"

[kafka]
partitions = 2

[kafka.client]
bootstrap.servers = "a:1,b:2"

[sources.Time-EMEA]
system = "TIME"
topic = "raw.time"
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "tieout.toml"
    file.write_text(text)
    return file


def problems(text: str, folder: Path, **env: str) -> dict[str, tuple[str, str, str, str | None]]:
    """The problems of a configuration by key: (where, found, expected, nearest)."""
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text), env)
    return {p.key: (p.where.rpartition("/")[2], p.found, p.expected, p.nearest) for p in caught.value.problems}


def test_the_file_is_read_and_the_rest_has_defaults(tmp_path: Path) -> None:
    """What the file says holds, what it does not say has its default."""
    settings = load(write(tmp_path, GOOD), {})
    assert settings.clock == "log"
    assert settings.kafka.client == {"bootstrap.servers": "a:1,b:2"}
    assert settings.sources["Time-EMEA"].format == "canonical"
    assert (settings.checkpoint.interval_ms, settings.ingest.frame_changes) == (500, 500)


def test_environment_wins_over_secrets_and_secrets_over_the_file(tmp_path: Path) -> None:
    """Each layer overrides the one before it, key by key."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "tieout_kafka__partitions").write_text("3\n")
    (secrets / "TIEOUT_KAFKA__REPLICATION").write_text("3\n")
    env = {"TIEOUT_SECRETS_DIR": str(secrets), "TIEOUT_KAFKA__PARTITIONS": "8"}
    settings = load(write(tmp_path, GOOD), env)
    assert (settings.kafka.partitions, settings.kafka.replication) == (8, 3)


@pytest.mark.parametrize(
    ("variable", "key"),
    [
        ("TIEOUT_KAFKA__CLIENT__SASL_PASSWORD", "sasl.password"),
        ("TIEOUT_KAFKA__CLIENT__SSL_CA_LOCATION", "ssl.ca.location"),
        ("TIEOUT_KAFKA__CLIENT__SSL__CA__LOCATION", "ssl.ca.location"),
    ],
)
def test_a_variable_spells_librdkafkas_dotted_names(variable: str, key: str, tmp_path: Path) -> None:
    """A variable cannot hold a dot: underscores stand for it."""
    assert load(write(tmp_path, GOOD), {variable: "x"}).kafka.client[key] == "x"


def test_a_variable_reaches_a_source_whose_name_it_cannot_spell(tmp_path: Path) -> None:
    """Case and hyphens of a source's name do not matter to a variable."""
    settings = load(write(tmp_path, GOOD), {"TIEOUT_SOURCES__TIME_EMEA__TOPIC": "other"})
    assert {name: source.topic for name, source in settings.sources.items()} == {"Time-EMEA": "other"}


def test_a_file_variable_gives_the_files_content(tmp_path: Path) -> None:
    """`…_FILE` names a file, as container platforms mount secrets."""
    (tmp_path / "password").write_text("s3cret\n")
    env = {"TIEOUT_KAFKA__CLIENT__SASL_PASSWORD_FILE": str(tmp_path / "password")}
    assert load(write(tmp_path, GOOD), env).kafka.client["sasl.password"] == "s3cret"


def test_policy_values_from_variables_are_typed(tmp_path: Path) -> None:
    """No model coerces the policy, so a variable's text is read as TOML."""
    assert load(write(tmp_path, GOOD), {"TIEOUT_POLICY__BILL_FROM_LIST": "true"}).policy == {"bill_from_list": True}


def test_a_policy_that_the_engine_refuses_is_a_located_problem(tmp_path: Path) -> None:
    """The policy's own check is part of the configuration's, with the line of the key."""
    found = problems(GOOD + "[policy]\nbill_from_lst = true\n", tmp_path)
    where, said, _, _ = found["policy.bill_from_lst"]
    assert where == "tieout.toml:13"
    assert "did you mean 'bill_from_list'?" in said


BAD = """\
clok = "log"
[kafka]
partitions = 0
[kafka.client]
bootstrap.servers = ""
[sources.erp]
system = "EPR"
topc = "raw.erp"
[checkpoint]
interval_ms = "soon"
"""


@pytest.mark.parametrize(
    ("key", "where", "found", "expected", "nearest"),
    [
        ("clok", "tieout.toml:1", "an unknown key", "one of clock, kafka,", "clock"),
        ("kafka.partitions", "tieout.toml:3", "0", "greater than 0", None),
        ("kafka.client", "tieout.toml:4", "{'bootstrap.servers': ''}", '"bootstrap.servers" is missing', None),
        ("sources.erp.system", "tieout.toml:7", "'EPR'", "one of ERP, PSA,", "ERP"),
        ("sources.erp.topc", "tieout.toml:8", "an unknown key", "one of system, instance,", "sources.erp.topic"),
        ("sources.erp.topic", "tieout.toml", "nothing", "no default", None),
        ("checkpoint.interval_ms", "tieout.toml:10", "'soon'", "a valid integer", None),
        ("ops.prot", "TIEOUT_OPS__PROT", "an unknown key", "one of host, port", "ops.port"),
        ("api.port", "TIEOUT_API__PORT", "'99999'", "less than or equal to 65535", None),
    ],
)
def test_every_problem_is_named_with_place_and_remedy(
    key: str, where: str, found: str, expected: str, nearest: str | None, tmp_path: Path
) -> None:
    """One bad file and two bad variables: each problem is there, none hides another."""
    all_problems = problems(BAD, tmp_path, TIEOUT_OPS__PROT="1", TIEOUT_API__PORT="99999")
    assert len(all_problems) == 9
    got_where, got_found, got_expected, got_nearest = all_problems[key]
    assert (got_where.removesuffix(" of"), got_found, got_nearest) == (where, found, nearest)
    assert expected in got_expected


@pytest.mark.parametrize(
    ("text", "where", "expected"),
    [
        ("clock = \n", "tieout.toml:1", "valid TOML"),
        ("kafka = 3\n", "tieout.toml:1", "a valid dictionary"),
    ],
)
def test_a_file_of_the_wrong_shape_is_one_problem(text: str, where: str, expected: str, tmp_path: Path) -> None:
    """Broken TOML and a scalar for a table are located too."""
    ((found_where, _, found_expected, _),) = problems(text, tmp_path).values()
    assert found_where == where
    assert expected in found_expected


def test_a_missing_file_is_a_problem_with_its_name(tmp_path: Path) -> None:
    """A file that was asked for and is not there is no reason to start with defaults."""
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        load(tmp_path / "absent.toml", {})


def test_a_secret_is_not_shown_in_an_error(tmp_path: Path) -> None:
    """The value of a password stays out of the message."""
    text = '[kafka.client]\nbootstrap.servers = "a:1"\nsasl.password = ["hunter2"]\n'
    ((_, found, expected, _),) = problems(text, tmp_path).values()
    assert (found, expected) == ("(hidden)", "text, a number, true or false")


def test_one_topic_cannot_be_read_in_two_formats(tmp_path: Path) -> None:
    """Two sources on one topic must agree on its format."""
    text = GOOD + '[sources.b]\nsystem = "PSA"\ntopic = "raw.time"\nformat = "debezium-json"\n'
    ((_, _, expected, _),) = problems(text, tmp_path).values()
    assert expected == "raw.time: canonical in sources.Time-EMEA, debezium-json in sources.b"


def test_faust_gets_the_same_brokers(tmp_path: Path) -> None:
    """Faust prints its broker address, so it is made of the servers alone."""
    settings = load(write(tmp_path, GOOD), {})
    assert settings.faust_broker() == "aiokafka://a:1;aiokafka://b:2"
    assert settings.faust_credentials() is None


def test_producers_send_one_request_at_a_time(tmp_path: Path) -> None:
    """Several in flight can lose the first on a new partition, so the customer's setting does not get through."""
    client = "max.in.flight.requests.per.connection = 5\nsession.timeout.ms = 6000\n"
    settings = load(write(tmp_path, GOOD.replace('"a:1,b:2"\n', f'"a:1,b:2"\n{client}')), {})
    producer = settings.kafka_producer({"linger.ms": 2})
    assert producer["max.in.flight.requests.per.connection"] == 1
    assert producer["enable.idempotence"] is True
    assert producer["linger.ms"] == 2
    assert "session.timeout.ms" not in producer
