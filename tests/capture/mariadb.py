"""MariaDB on loopback for tests, and what Kimai does in it: rows of one statement, which share a position in the log.

Debezium's connector for MySQL reads it (the one for MariaDB is not among PyPI's jars). It asks newer servers in words
that MariaDB does not know, so the server says that it is MySQL 5.7; the log and its rows are MariaDB's own.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final, Self

import pymysql
from brokers import Served, Unavailable, die_with_parent, free_ports
from capture.server import SERVANT

POSES_AS: Final = "5.7.10-log"
SYSTEM_TABLES: Final = ("mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql")
_SHARE: Final = Path("/usr/share/mysql")
_START_S: Final = 60.0
_STOP_S: Final = 20.0


class MariaServer(Served):
    """One server in a folder of its own that ends with the test run; use it as a context manager."""

    def __init__(self) -> None:
        found = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if found is None:
            raise Unavailable("MariaDB is not here: apt-get install mariadb-server-core")
        self._program = found
        self._folder = Path(tempfile.mkdtemp(prefix="tieout-mariadb-"))
        self._user = SERVANT if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        (self.port,) = free_ports(1)

    def start(self) -> Self:
        """Make its system tables and start; raises Unavailable with what MariaDB said when it does not."""
        data = self._folder / "data"
        data.mkdir()
        if self._user is not None:
            for folder in (self._folder, data):
                os.chown(folder, pwd.getpwnam(self._user).pw_uid, -1)
        statements = "CREATE DATABASE mysql;\nUSE mysql;\n" + "".join((_SHARE / name).read_text() for name in SYSTEM_TABLES)
        command = [self._program, "--no-defaults", f"--datadir={data}"]
        made = subprocess.run([*command, "--bootstrap"], input=statements.encode(), capture_output=True, cwd=self._folder,
                              user=self._user, check=False)
        if made.returncode:
            raise Unavailable(f"MariaDB could not make its tables: {made.stderr.decode(errors='replace')[-800:]}")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self._folder / 's'}",
                 "--skip-grant-tables", "--log-bin=binlog", "--binlog-format=ROW", "--binlog-row-image=FULL",
                 "--binlog-annotate-row-events=OFF", "--server-id=1", f"--version={POSES_AS}", "--default-time-zone=+00:00",
                 "--innodb-flush-log-at-trx-commit=0"],
                stdout=log, stderr=log, cwd=self._folder, user=self._user, preexec_fn=die_with_parent,
            )  # fmt: skip
        self._wait()
        return self

    @property
    def log(self) -> Path:
        """What the server says."""
        return self._folder / "server.log"

    def connect(self) -> pymysql.connections.Connection[Any]:
        """A connection; statements commit one by one unless told otherwise."""
        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", autocommit=True)

    def close(self) -> None:
        """Kill it and remove its data."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(_STOP_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self.connect().close()
                return
            except pymysql.Error as error:
                if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                    said = self.log.read_text(errors="replace")[-800:]
                    raise Unavailable(f"MariaDB did not start ({error}); the end of its log:\n{said}") from None
            time.sleep(0.1)


TABLES: Final = ("kimai2_users", "kimai2_projects", "kimai2_timesheet")
_TIMESHEET: Final = """INSERT INTO kimai2_timesheet (id, user, project_id, start_time, end_time, duration, description, rate,
    timezone, billable, date_tz, break) VALUES """
MASTERS: Final = (
    "CREATE DATABASE kimai CHARACTER SET utf8mb4",
    "USE kimai",
    """CREATE TABLE kimai2_users (id INT PRIMARY KEY AUTO_INCREMENT, username VARCHAR(180) NOT NULL, account VARCHAR(30),
       enabled TINYINT(1) NOT NULL)""",
    """CREATE TABLE kimai2_projects (id INT PRIMARY KEY AUTO_INCREMENT, number VARCHAR(10), order_number TINYTEXT, name VARCHAR(150)
       NOT NULL, start DATETIME, end DATETIME, visible TINYINT(1) NOT NULL, billable TINYINT(1) NOT NULL DEFAULT 1)""",
    """CREATE TABLE kimai2_timesheet (id INT PRIMARY KEY AUTO_INCREMENT, user INT NOT NULL, project_id INT NOT NULL,
       start_time DATETIME NOT NULL, end_time DATETIME, duration INT, description LONGTEXT, rate DOUBLE NOT NULL,
       exported TINYINT(1) NOT NULL DEFAULT 0, timezone VARCHAR(64) NOT NULL, billable TINYINT(1) DEFAULT 1, date_tz DATE NOT NULL,
       break INT NOT NULL DEFAULT 0)""",
    "INSERT INTO kimai2_users VALUES (1, 'anna', 'W101', 1), (2, 'bob', 'W102', 1), (3, 'root', '', 1)",
    """INSERT INTO kimai2_projects VALUES (1, 'acme 1', NULL, 'Acme', '2026-01-05 00:00:00', NULL, 1, 1),
       (2, '', 'BOLT-2', 'Bolt', NULL, '2026-12-31 00:00:00', 1, 1)""",
    _TIMESHEET + "(1, 1, 1, '2026-03-09 08:00:00', '2026-03-09 12:00:00', 14400, 'kick-off', 0.1, 'Europe/London', 1, '2026-03-09', 0)",
)
# Statements of one transaction each, unless a list says more.
STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (_TIMESHEET + ", ".join(f"({n}, {1 + n % 2}, {1 + n % 2}, '2026-03-{9 + n % 5:02d} 09:00:00', '2026-03-{9 + n % 5:02d} 16:30:00', "
                            f"27000, 'née 🎉 {n}', 787.5000000001, 'Europe/Berlin', 1, '2026-03-{9 + n % 5:02d}', 1800)" for n in range(2, 42)),),
    (_TIMESHEET + "(50, 1, 1, '2026-03-12 08:00:00', NULL, NULL, NULL, 0, 'Europe/London', 1, '2026-03-12', 0)",),
    ("UPDATE kimai2_timesheet SET end_time = '2026-03-12 11:00:00', duration = 10800 WHERE id = 50",),
    ("UPDATE kimai2_timesheet SET duration = duration - 900, break = break + 900 WHERE id BETWEEN 2 AND 21",),
    ("UPDATE kimai2_timesheet SET exported = 1, billable = 0 WHERE project_id = 2",),
    ("UPDATE kimai2_timesheet SET id = id + 1000 WHERE id BETWEEN 30 AND 33",),
    ("DELETE FROM kimai2_timesheet WHERE id BETWEEN 34 AND 36",
     _TIMESHEET + "(35, 2, 1, '2026-03-13 08:00:00', '2026-03-13 09:00:00', 3600, 'made again', 0, 'Europe/London', 1, '2026-03-13', 0)"),
    ("UPDATE kimai2_projects SET number = 'ACME-UK-1' WHERE id = 1", "UPDATE kimai2_users SET enabled = 0 WHERE id = 2"),
    ("UPDATE kimai2_timesheet SET project_id = 1, date_tz = '2026-03-14' WHERE id IN (3, 5, 7)",),
    ("ALTER TABLE kimai2_timesheet ADD COLUMN category VARCHAR(10) NOT NULL DEFAULT 'work'",),
    ("UPDATE kimai2_timesheet SET duration = duration + 60 WHERE id < 10",),
)


def connector(port: int) -> dict[str, str]:
    """The connector's configuration."""
    return {
        "connector.class": "io.debezium.connector.mysql.MySqlConnector", "database.port": str(port), "database.user": "root",
        "database.server.id": "184054", "topic.prefix": "kimai", "database.include.list": "kimai",
        "schema.history.internal": "io.debezium.relational.history.MemorySchemaHistory", "include.schema.changes": "true",
        "snapshot.locking.mode": "none", "database.ssl.mode": "disabled", "provide.transaction.metadata": "true",
        "time.precision.mode": "adaptive_time_microseconds",
    }  # fmt: skip
