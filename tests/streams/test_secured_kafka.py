"""TLS and SCRAM on Apache Kafka: every role and command from one block, clear refusals, and no secret anywhere.

The canaries are passwords, tokens, keys and a person's address. Every process runs with them, and then everything
that anybody could read is searched: what the processes wrote, their titles, metrics, probes, the commands' output.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import aiokafka
import pytest
from brokers import KafkaCluster, Secured, Unavailable
from confluent_kafka import Producer
from secure import Authority

from tieout.streams.crew import Crew, free_port
from tieout.streams.demo import configuration
from tieout.streams.settings import Settings, load

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("secured")]

USER = "tieout-role"
PASSWORD = "canaryPassword-kafka-8f3a"
READER, OPERATOR = "tieout_canaryTokenReader-77aa", "tieout_canaryTokenOperator-77bb"
EMBED_KEY = "canaryEmbedKey-0123456789abcdefghijk"
PERSON = "canary.person@example.com"
ROLES = ("ingest", "worker", "sink", "api", "audit")


@dataclass
class Place:
    """A secured cluster, the files that clients need, and the environment that holds where the secrets are."""

    folder: Path
    cluster: KafkaCluster
    ca: Path
    other_ca: Path
    port: int = field(default_factory=free_port)

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ, "TIEOUT_SECRETS_DIR": str(self.folder / "secrets"), "TIEOUT_OPS__PORT": "0",
            "TIEOUT_CONFIG": str(self.folder / "tieout.toml"),
        }  # fmt: skip

    def settings(self, **changed: str) -> Settings:
        variables = {f"TIEOUT_KAFKA__CLIENT__{name.upper()}": value for name, value in changed.items()}
        return load(self.folder / "tieout.toml", {"TIEOUT_SECRETS_DIR": str(self.folder / "secrets"), **variables})

    def command(self, *words: str, **changed: str) -> subprocess.CompletedProcess[str]:
        """Run a command; `changed` are settings of the client."""
        variables = {f"TIEOUT_KAFKA__CLIENT__{name.upper()}": value for name, value in changed.items()}
        return subprocess.run(
            [sys.executable, "-m", "tieout.streams.cli.main", *words], env=self.env | variables, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip

    def write(self) -> None:
        """The configuration without secrets, and the secrets as files."""
        text = configuration(self.cluster.secure_bootstrap, self.folder, self.port)
        client = f'"security.protocol" = "SASL_SSL"\n"sasl.username" = "{USER}"\n"ssl.ca.location" = "{self.ca}"\n'
        tokens = "".join(
            f'[api.tokens.{name}]\nsha256 = "{sha256(secret.encode()).hexdigest()}"\nscopes = ["{scope}"]\n'
            for name, secret, scope in (("reader", READER, "kpi:read"), ("operator", OPERATOR, "ops"))
        )
        (self.folder / "tieout.toml").write_text(text.replace("\n\n[sink]", f"\n{client}\n[sink]", 1) + "\n" + tokens)
        (self.folder / "pub").mkdir()
        secrets = self.folder / "secrets"
        secrets.mkdir()
        (secrets / "TIEOUT_KAFKA__CLIENT__SASL_PASSWORD").write_text(PASSWORD)
        (secrets / "TIEOUT_API__EMBED_KEYS__A").write_text(EMBED_KEY)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One broker with a secured listener for the module."""
    folder = tmp_path_factory.mktemp("secured")
    authority, other = Authority(folder), Authority(folder, "other")
    try:
        cluster = KafkaCluster(1, secured=Secured(authority.issue(), {USER: PASSWORD})).__enter__()
    except Unavailable as error:
        pytest.skip(str(error))
    made = Place(folder, cluster, authority.certificate, other.certificate)
    made.write()
    yield made
    cluster.close()


WRONG = {
    "password": ({"sasl_password": "canaryPassword-wrong"}, "refused the login", "sasl.password"),
    "ca": ({"ssl_ca_location": "{other_ca}"}, "certificate verify failed", "ssl.ca.location"),
}

BECOME = """
import sys
from tieout.streams.app import become, simulate
from tieout.streams.settings import load
codes = [become(role, load()) for role in ("ingest", "worker", "sink", "api", "audit")]
print(codes + [simulate(None, seed=1, hours_per_s=1.0, truth=None, capture=None)])
"""


@pytest.mark.parametrize("wrong", WRONG)
def test_what_the_cluster_refuses_ends_every_role_and_command_with_the_reason(place: Place, wrong: str) -> None:
    """Exit code 4, which of the two was not accepted, which setting to look at, and never its value."""
    changed, said, setting = WRONG[wrong]
    given = {name: value.format(other_ca=place.other_ca) for name, value in changed.items()}
    variables = {f"TIEOUT_KAFKA__CLIENT__{name.upper()}": value for name, value in given.items()}
    roles = subprocess.run(
        [sys.executable, "-c", BECOME], env=place.env | variables, capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip
    assert roles.stdout.strip() == "[4, 4, 4, 4, 4, 4]", roles.stderr[-2000:]
    assert roles.stderr.count(said) == 6, roles.stderr
    command = place.command("topics", "plan", **given)
    assert command.returncode == 4
    for text in (roles.stderr, command.stderr):
        assert said in text
        assert setting in text
        assert "canary" not in text.replace(str(place.folder), ""), "a password is never repeated"


def test_fausts_own_client_verifies_as_well(place: Place) -> None:
    """The worker has two clients: what one refuses, the other does not accept."""
    async def connect(settings: Settings) -> str:
        credentials = settings.faust_credentials()
        client = aiokafka.AIOKafkaProducer(
            bootstrap_servers=place.cluster.secure_bootstrap, security_protocol=credentials.protocol.value,
            sasl_mechanism=credentials.mechanism.value, sasl_plain_username=credentials.username,
            sasl_plain_password=credentials.password, ssl_context=credentials.ssl_context,
        )  # fmt: skip
        try:
            await client.start()
            return "connected"
        except Exception as error:
            return type(error).__name__
        finally:
            await client.stop()

    assert asyncio.run(connect(place.settings())) == "connected"
    for changed in ({"sasl_password": "wrong"}, {"ssl_ca_location": str(place.other_ca)}):
        assert asyncio.run(connect(place.settings(**changed))) != "connected"


def test_a_certificate_of_another_name_is_not_the_broker(place: Place) -> None:
    """The broker's certificate is for 127.0.0.1: under another name somebody stands in between."""
    bootstrap = place.cluster.secure_bootstrap.replace("127.0.0.1", "localhost")
    refused = place.command("topics", "plan", bootstrap_servers=bootstrap)
    assert (refused.returncode, "ssl.ca.location" in refused.stderr) == (4, True), refused.stderr


def test_every_role_and_command_works_and_no_secret_shows(place: Place) -> None:
    """The whole pipeline over SASL_SSL, with a search for the canaries in everything that can be read."""
    seen: dict[str, str] = {}

    def run(*words: str, code: int = 0) -> str:
        done = place.command(*words)
        seen[" ".join(words)] = done.stdout + done.stderr
        assert done.returncode == code, done.stderr[-2000:]
        return done.stdout

    run("config", "check")
    run("config", "show", "-o", "json")
    run("topics", "apply")
    crew = Crew(place.folder)
    env = {**place.env, "TIEOUT_LOG__LEVEL": "DEBUG"}
    try:
        crew.start("simulate", ["tieout.streams.app", "simulate", "--hours-per-second", "60"], env)
        for role in ROLES:
            crew.start(role, ["tieout.streams.app", role], env)
        poison(place, crew)
        url = f"http://127.0.0.1:{place.port}"
        until(lambda: number(url) > 0, crew)
        until((place.folder / "pub" / "analytics.duckdb").exists, crew)
        until(lambda: place.command("dlq", "list", "-o", "csv").stdout.count("\n") > 1, crew)
        run("status")
        run("lag")
        run("dlq", "show", "raw.time.entries/0/0")
        run("sql", "SELECT * FROM v1.dead_letter", "-o", "json")
        run("config", "check", "--online")
        for path in ("/v1/kpis/unbilled_hours", "/v1/findings", "/v1/sources", "/", "/v1/kpis/nonsense"):
            seen[path] = body(url + path, READER)
        seen["refused"] = body(f"{url}/v1/kpis?token={READER}", "canaryToken-unknown")
        for role in ROLES:
            seen[f"title of {role}"] = title(crew.children[role].pid)
            for path in ("/metrics", "/readyz", "/livez"):
                seen[f"{path} of {role}"] = body(ops_url(place.folder / f"{role}.log") + path)
        assert listening(crew.children["worker"].pid) == {int(ops_url(place.folder / "worker.log").rpartition(":")[2])}
    finally:
        codes = crew.stop()
    assert {codes[role] for role in ROLES} == {0}, codes
    for role in ("simulate", *ROLES):
        seen[f"log of {role}"] = (place.folder / f"{role}.log").read_text()
    assert all(seen[f"log of {role}"] for role in ROLES)
    assert [place_ for place_, text in seen.items() if any(form in text for form in forms())] == []
    assert [place_ for place_, text in seen.items() if PERSON in text] == []


def test_the_search_would_find_a_secret() -> None:
    """Each canary is found in the forms in which it could be written."""
    for secret in (PASSWORD, READER, EMBED_KEY):
        for text in (f"x={secret}", b64encode(secret.encode()).decode(), json.dumps({"a": secret})):
            assert any(form in text for form in forms())


def forms() -> list[str]:
    """The canaries as they are, and as base64 would show them."""
    plain = [PASSWORD, READER, OPERATOR, EMBED_KEY]
    return plain + [b64encode(secret.encode()).decode().rstrip("=")[:-2] for secret in plain]


def poison(place: Place, crew: Crew) -> None:
    """A record that no codec reads, with a person in it; the raw topics are the simulator's to make."""
    producer = Producer(place.settings().kafka_producer())
    until(lambda: "raw.time.entries" in producer.list_topics(timeout=10).topics, crew)
    bad = {"specversion": "1.0", "id": "bad", "source": "TIME/kimai", "type": "tieout.time_entry.upserted",
           "subject": "bad", "time": PERSON, "data": {"worker_no": PERSON, "name": PERSON}}  # fmt: skip
    for partition in range(len(producer.list_topics(timeout=10).topics["raw.time.entries"].partitions)):
        producer.produce("raw.time.entries", json.dumps(bad), b"bad", partition)
    assert producer.flush(20) == 0


def until(holds: Callable[[], Any], crew: Crew | None = None, seconds: float = 60) -> None:
    """Wait for a condition; a child that ended early is told with its last words."""
    deadline = time.monotonic() + seconds
    while not holds():
        ended = crew and crew.ended()
        if ended and crew and (ended.role, ended.code) != ("simulate", 0):
            pytest.fail(f"{ended.role} ended with {ended.code}:\n{crew.tail(ended.role)}")
        if time.monotonic() > deadline:
            pytest.fail("\n".join(f"{role}: {crew.tail(role, 4)}" for role in crew.children) if crew else "in vain")
        time.sleep(0.3)


def body(url: str, token: str = "") -> str:
    """Headers and body of an answer, whatever its status."""
    try:
        answer = urlopen(Request(url, headers={"Authorization": f"Bearer {token}"} if token else {}), timeout=10)
    except HTTPError as error:
        answer = error
    with answer:
        return f"{answer.headers}{answer.read().decode()}"


def number(url: str) -> float:
    """The unbilled hours that the API shows; 0 while it has none."""
    try:
        return float(json.loads(body(f"{url}/v1/kpis/unbilled_hours", READER).rpartition("\n")[2]).get("value") or 0)
    except OSError:
        return 0.0


def ops_url(log: Path) -> str:
    """Where a role's metrics are, as it says itself."""
    lines = (json.loads(line)["event"] for line in log.read_text().splitlines() if "metrics and probes on" in line)
    return str(next(lines)).removeprefix("metrics and probes on ")


def title(pid: int) -> str:
    """What `ps` shows of a process and of its threads."""
    names = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/comm")]
    return Path(f"/proc/{pid}/cmdline").read_text() + "\n".join(names)


def listening(pid: int) -> set[int]:
    """The TCP ports that a process listens on."""
    sockets = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()}
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            cells = line.split()
            if cells[3] == "0A" and f"socket:[{cells[9]}]" in sockets:
                ports.add(int(cells[1].rpartition(":")[2], 16))
    return ports
