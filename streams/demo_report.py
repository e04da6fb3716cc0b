"""What the demo shows: live progress while it runs, and tables at its end."""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import Any, Final, Self
from urllib.error import URLError
from urllib.request import urlopen

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from tieout.streams import clock
from tieout.streams.demo import Result, State
from tieout.streams.simulate.verdict import spread

_PLAIN_EVERY_S: Final = 5.0
_TILES_EVERY_S: Final = 1.0
_TILES: Final = (("unbilled_hours", "unbilled hours"), ("held_hours", "held hours"), ("open_findings", "open findings"))
_STAGES: Final = {
    "starting": "starting broker, ingest, worker, sink and API",
    "playing": "playing four weeks",
    "settling": "letting the last records through",
    "done": "judging",
}


class Screen:
    """Progress on standard error: a live display on a terminal, a line every few seconds elsewhere."""

    def __init__(self, url: str, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._url = url
        self._next_tiles_s = 0.0
        self._next_line_s = 0.0
        self._stage = ""
        self._bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                             console=self._console)
        self._task: TaskID = self._bar.add_task("records", total=None)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal to whatever comes next."""
        if self._console.is_terminal:
            self._live.stop()

    def show(self, state: State) -> None:
        """Bring the display up to date."""
        now_s = clock.monotonic_s()
        if state.stage == "playing" and now_s >= self._next_tiles_s:
            self._next_tiles_s = now_s + _TILES_EVERY_S
            state.tiles = tiles(self._url)
        if self._console.is_terminal:
            self._live.update(self._display(state))
        elif now_s >= self._next_line_s or state.stage != self._stage:
            self._next_line_s, self._stage = now_s + _PLAIN_EVERY_S, state.stage
            plain = " · ".join([line(state), *values(state)])
            self._console.print(plain, highlight=False, markup=False, soft_wrap=True)

    def _display(self, state: State) -> Group:
        self._bar.update(self._task, completed=state.written, total=state.total or None)
        return Group(Text(line(state)), self._bar, Text("   ".join(values(state)), style="bold"))


def line(state: State) -> str:
    """One line of plain progress."""
    parts = [_STAGES[state.stage]]
    if state.stage == "playing" and state.total:
        parts += [state.at[:16].replace("T", " ") + "Z", f"{state.written:,} of {state.total:,} records"]
        parts += ["waiting for readers"] if state.held else []
    return " · ".join(parts)


def values(state: State) -> list[str]:
    """The live values, each with its name."""
    return [f"{value} {name}" for name, value in state.tiles.items()]


def tiles(url: str) -> dict[str, str]:
    """A few live values from the API by their name; none while it does not answer."""
    found = {}
    for kpi, name in _TILES:
        try:
            with urlopen(f"{url}/v1/kpis/{kpi}", timeout=1.0) as answer:
                value = json.load(answer).get("value")
        except (URLError, OSError, ValueError):
            continue
        if value is not None:
            found[name] = f"{value:,}" if isinstance(value, int | float) else str(value)
    return found


def print_result(result: Result, url: str, console: Console | None = None) -> None:
    """The KPIs, planted against caught by check, what is wrong, and where to look, on standard output."""
    console = console or Console(file=sys.stdout, highlight=False)
    console.print(_kpis(result))
    console.print(_faults(result))
    for complaint in result.verdict.complaints():
        console.print(Text(complaint, style="red"))
    for kpi, cells in result.differing.items():
        if cells:
            console.print(Text(f"{kpi}: {cells} cells differ between the stream and v1.kpi_{kpi}", style="red"))
    console.print(Text(summary(result), style="bold green" if result.good else "bold red"), soft_wrap=True)
    for path, what in (("/", "overview"), ("/v1/findings", "findings"), ("/docs", "the API")):
        console.print(f"  {url}{path}  {what}", markup=False)


def summary(result: Result) -> str:
    """The verdict in one sentence."""
    verdict = result.verdict
    kinds = spread(verdict.truth)
    equal = sum(1 for cells in result.differing.values() if not cells)
    return (f"{len(verdict.caught)} of {len(verdict.truth.planted)} planted faults caught, {len(verdict.invented)} "
            f"invented, {sum(kinds.values())} look-alikes of {len(kinds)} kinds; {equal} of {len(result.differing)} "
            f"KPIs equal in stream and SQL; {result.entries:,} time entries in {result.seconds:.0f} s")


def _kpis(result: Result) -> Table:
    table = Table(title="KPIs at the end of the four weeks", title_justify="left")
    table.add_column("KPI")
    table.add_column("value", justify="right")
    table.add_column("unit")
    for title, measure, value, unit in result.kpis:
        name = title if measure == "VALUE" else f"{title} ({measure.lower()})"
        table.add_row(name, _number(value), unit)
    return table


def _number(value: Any) -> str:
    return "" if value is None else f"{value:,}"


def _faults(result: Result) -> Table:
    table = Table(title="Planted faults and false alarms", title_justify="left")
    table.add_column("check")
    for name in ("planted", "caught", "false alarms"):
        table.add_column(name, justify="right")
    for check, score in result.verdict.scores().items():
        style = None if score.planted == score.caught and not score.false_alarms else "red"
        table.add_row(check, str(score.planted), str(score.caught), str(score.false_alarms), style=style)
    return table
