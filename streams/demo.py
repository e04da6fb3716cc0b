"""The demo: this process holds the broker, the roles and the simulator are its children, and at the end it judges.

The run is over when everything written has gone through every role; then the findings are compared with the truth and
the streamed KPIs with those that SQL computes from the rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any, Final

from tieout.streams import app, clock
from tieout.streams.crew import Crew, answers, free_port
from tieout.streams.demo_gauges import Gauges
from tieout.streams.simulate.facts import TOPICS
from tieout.streams.simulate.role import read_truth
from tieout.streams.simulate.verdict import Row, Verdict, judge

if TYPE_CHECKING:
    from tieout.streams.settings import Settings
    from tieout.streams.sinks.reader import Snapshot

HOST: Final = "127.0.0.1"
_READY_S: Final = 60.0
_STALLED_S: Final = 40.0
_POLL_S: Final = 0.25
PARTITIONS: Final = 4


class DemoFailed(Exception):
    """A role ended or nothing moves any more; `role` names whose log says why."""

    def __init__(self, role: str, what: str) -> None:
        super().__init__(what)
        self.role = role


@dataclass(slots=True)
class State:
    """What is shown while the demo runs. `stage`: starting, playing, settling or done."""

    stage: str = "starting"
    at: str = ""
    written: int = 0
    total: int = 0
    held: bool = False
    tiles: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Result:
    """What the demo found: the verdict, KPIs that differ from SQL, and every KPI's total."""

    verdict: Verdict
    differing: dict[str, int]
    kpis: list[tuple[str, str, Any, str]]  # title, measure, value, unit
    entries: int
    seconds: float

    @property
    def good(self) -> bool:
        """Whether the demo shows what it claims."""
        return self.verdict.good and not any(self.differing.values())


@dataclass(slots=True)
class Demo:
    """One run in `folder`; `show(state)` is called a few times a second."""

    folder: Path
    port: int
    hours_per_s: float
    seed: int
    show: Callable[[State], None]
    state: State = field(default_factory=State)

    @property
    def url(self) -> str:
        """Where the API listens."""
        return f"http://{HOST}:{self.port}"

    @property
    def truth_file(self) -> Path:
        """What must be found, written before the first record."""
        return self.folder / "truth.json"

    @contextmanager
    def running(self) -> Iterator[Crew]:
        """The broker and all roles, ready; they stop at the end."""
        from tieout.streams.embedded import EmbeddedBroker

        prepare(self.folder)
        with EmbeddedBroker() as broker:
            config = self.folder / "tieout.toml"
            config.write_text(configuration(broker.bootstrap, self.folder, self.port), encoding="utf-8")
            for name, partitions in topics(load(config)):
                broker.create(name, partitions)
            crew = Crew(self.folder / "logs")
            try:
                self._start(crew, config)
                yield crew
            finally:
                crew.stop()

    def play(self, crew: Crew) -> Result:
        """The four weeks and the verdict; raises DemoFailed."""
        config = self.folder / "tieout.toml"
        begun_s = clock.monotonic_s()
        crew.start("simulate", ["tieout.streams.app", "simulate", "--config", str(config), "--truth",
                                str(self.truth_file), "--seed", str(self.seed), "--hours-per-second",
                                str(self.hours_per_s)])
        gauges = Gauges(load(config))
        try:
            self._until_played(crew, gauges)
            self._until_settled(crew, gauges)
        finally:
            gauges.close()
        self.state.stage = "done"
        self.show(self.state)
        return self._result(load(config), clock.monotonic_s() - begun_s)

    def _start(self, crew: Crew, config: Path) -> None:
        ports = {role: free_port() for role in app.PIPELINE}
        for role, port in ports.items():
            crew.start(role, app.command(role, config), {"TIEOUT_OPS__PORT": str(port)})
        deadline_s = clock.monotonic_s() + _READY_S
        waiting = list(ports)
        while waiting:
            self._watch(crew)
            waiting = [role for role in waiting if not answers(f"http://{HOST}:{ports[role]}/readyz")]
            if waiting and clock.monotonic_s() > deadline_s:
                raise DemoFailed(waiting[0], f"{', '.join(waiting)} not ready after {_READY_S:.0f} s")

    def _until_played(self, crew: Crew, gauges: Gauges) -> None:
        self.state.stage = "playing"
        progress = Stall(crew)
        while (code := crew.children["simulate"].poll()) is None:
            self._watch(crew)
            self._look(crew)
            progress.saw("ingest", (self.state.written, gauges.read_by("ingest")))
        if code:
            raise DemoFailed("simulate", f"the simulator ended with {code}")
        del crew.children["simulate"]

    def _until_settled(self, crew: Crew, gauges: Gauges) -> None:
        """Each role in turn has read everything that was there when the one before it had."""
        self.state.stage = "settling"
        for role in ("ingest", "worker", "sink"):
            ends = gauges.ends(role)
            progress = Stall(crew)
            while (left := gauges.unread(role, ends)) > 0:
                self._watch(crew)
                self.show(self.state)
                progress.saw(role, left)

    def _watch(self, crew: Crew) -> None:
        """Wait a little; DemoFailed when a role has ended."""
        sleep(_POLL_S)
        ended = crew.ended()
        if ended and (ended.role, ended.code) != ("simulate", 0):
            raise DemoFailed(ended.role, f"{ended.role} ended with {ended.code}")

    def _look(self, crew: Crew) -> None:
        lines = [line for line in crew.tail("simulate", 3).splitlines() if line.startswith("{")]
        if lines:
            said = json.loads(lines[-1])
            self.state.at, self.state.held = said["at"], said["held"]
            self.state.written, self.state.total = said["written"], said["total"]
        self.show(self.state)

    def _result(self, settings: Settings, seconds: float) -> Result:
        from tieout.streams.sinks.publish import SNAPSHOT
        from tieout.streams.sinks.reader import Snapshot

        with Snapshot(settings.sink.publish_dir / SNAPSHOT) as snapshot:
            findings: list[Row] = list(snapshot.query("SELECT * FROM v1.finding").dicts())
            ((entries,),) = snapshot.query("SELECT count(*) FROM v1.time_entry").rows
            return Result(judge(read_truth(self.truth_file), findings), differing_kpis(snapshot), kpi_totals(snapshot),
                          entries, seconds)


class Stall:
    """Notices that a measure has not moved for too long."""

    def __init__(self, crew: Crew, limit_s: float = _STALLED_S) -> None:
        self._limit_s, self._since_s = limit_s, clock.monotonic_s()
        self._value: Any = None

    def saw(self, role: str, value: Any) -> None:
        """A measure of how far `role` is; DemoFailed when it has stood still."""
        now_s = clock.monotonic_s()
        if value != self._value:
            self._value, self._since_s = value, now_s
        elif now_s - self._since_s > self._limit_s:
            raise DemoFailed(role, f"nothing has moved for {self._limit_s:.0f} s: {role} stands still")


def prepare(folder: Path) -> None:
    """An empty folder for this run; only what earlier runs left in it is removed."""
    from shutil import rmtree

    for name in ("logs", "pub"):
        rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    for name in ("tieout.toml", "tieout.duckdb", "tieout.duckdb.wal", "truth.json"):
        (folder / name).unlink(missing_ok=True)


def load(config: Path) -> Settings:
    """The settings that the roles run with, variables of the environment aside."""
    from tieout.streams import settings

    return settings.load(config, env={})


def configuration(bootstrap: str, folder: Path, port: int) -> str:
    """The generated tieout.toml."""
    lines = [
        "# written by `tieout demo`; every raw topic of the simulated firm is a source", 'clock = "log"', "",
        "[kafka]", f"partitions = {PARTITIONS}", "[kafka.client]", f'"bootstrap.servers" = "{bootstrap}"', "",
        "[sink]", f'path = "{(folder / "tieout.duckdb").resolve()}"', f'publish_dir = "{(folder / "pub").resolve()}"',
        "publish_every_s = 1.0", "", "[api]", f'host = "{HOST}"', f"port = {port}", "",
        "[ingest]", "tick_ms = 250", "[log]", 'format = "json"', "",
    ]
    for topic in TOPICS:
        system, _, instance = topic.source.partition("/")
        lines += [f"[sources.{topic.name.removeprefix('raw.').replace('.', '_')}]", f'system = "{system}"',
                  f'instance = "{instance}"', f'topic = "{topic.name}"', 'format = "canonical"', ""]
    return "\n".join(lines)


def topics(settings: Settings) -> Iterator[tuple[str, int]]:
    """Every topic of the run with its partitions: ours, and the raw ones of the firm."""
    from tieout.reconcilers.engine import TABLES
    from tieout.streams.topics import desired

    yield from ((topic.name, topic.partitions) for topic in TOPICS)
    yield from ((topic.name, topic.partitions) for topic in desired(settings, TABLES))


def differing_kpis(snapshot: Snapshot) -> dict[str, int]:
    """How many cells of each KPI the stream and SQL have differently."""
    from tieout.streams.sinks.catalogue import KPIS

    counts = {}
    for kpi in KPIS:
        streamed, computed = f"SELECT * FROM v1.kpi WHERE kpi = '{kpi.id}'", f"SELECT * FROM {kpi.view}"
        either = f"(({streamed}) EXCEPT ({computed})) UNION ALL (({computed}) EXCEPT ({streamed}))"
        ((counts[kpi.id],),) = snapshot.query(f"SELECT count(*) FROM ({either})").rows
    return counts


def kpi_totals(snapshot: Snapshot) -> list[tuple[str, str, Any, str]]:
    """Title, measure, value and unit of every KPI, money by currency."""
    from tieout.streams.sinks.catalogue import KPIS, value

    totals = []
    for kpi in KPIS:
        total = "max" if kpi.id == "sync_lag" else "sum"
        rows = snapshot.query(
            f"SELECT measure, unit, {total}(numerator)::BIGINT, sum(denominator)::BIGINT FROM v1.kpi WHERE kpi = ? "
            "GROUP BY ALL ORDER BY ALL", [kpi.id]).rows
        totals += [(kpi.title, measure, value(unit, top, bottom), unit) for measure, unit, top, bottom in rows]
    return totals
