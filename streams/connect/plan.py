"""What Connect runs against what the configuration says: the differences, making it so, and how it runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tieout.streams.connect.debezium import Config, config_of, feeds
from tieout.streams.connect.rest import ConnectRefused, Rest
from tieout.streams.connect.sections import is_reference
from tieout.streams.layers import is_secret

if TYPE_CHECKING:
    from tieout.streams.settings import Settings

# With another value of these a connector does not find its position: it begins anew, or misses what came between.
_IDENTITY: Final = ("connector.class", "topic.prefix", "database.dbname", "database.names", "slot.name")
_SOON: Final = "not begun yet: ask again in some seconds"
_CREDENTIAL: Final = re.compile(r"(?i)\b(password|secret|token)\s*=\s*[^\s&;,]+")


class Step(StrEnum):
    """What `plan` says about one connector."""

    CREATE = "create"  # it is not there
    CHANGE = "change"  # some of its keys differ
    REFUSE = "refuse"  # a key differs that its position hangs on: only with --restart-from-nothing
    UNCHANGED = "unchanged"
    FOREIGN = "not ours"  # it runs there and our configuration does not name it: left alone


class Key(NamedTuple):
    """One key that differs; None where a side does not have it. Never a secret."""

    name: str
    found: str | None
    expected: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One connector: what would be done with it, and why."""

    name: str
    step: Step
    keys: tuple[Key, ...]
    config: Config


class Running(NamedTuple):
    """A connector or one of its tasks as Connect reports it."""

    name: str
    part: str  # 'connector', 'task 0'
    state: str  # RUNNING, FAILED, PAUSED, STOPPED, UNASSIGNED, RESTARTING; MISSING: not there
    worker: str
    trace: str  # the first line and, where there is one, the cause at its end
    ours: bool

    @property
    def well(self) -> bool:
        """Whether it does its work, or is none of our business."""
        return self.state == "RUNNING" or not self.ours


class PlanRefused(Exception):
    """A change would lose a connector's position, or Connect finds configurations wrong; nothing was changed."""

    def __init__(self, problems: list[str], advice: str) -> None:
        self.problems = problems
        super().__init__("\n".join((*problems, advice, "nothing was changed")))


def plan(rest: Rest, settings: Settings) -> list[Difference]:
    """Every configured connector and every other one that runs there."""
    there = rest.configs()
    wanted = {name: config_of(feed, settings) for name, feed in feeds(settings).items()}
    ours = [compare(name, config, there.get(name)) for name, config in wanted.items()]
    return ours + [Difference(name, Step.FOREIGN, (), {}) for name in sorted(there.keys() - wanted.keys())]


def compare(name: str, wanted: Config, found: Config | None) -> Difference:
    """One connector against what Connect has under its name."""
    if found is None:
        keys = tuple(Key(key, None, shown(key, value)) for key, value in wanted.items())
        return Difference(name, Step.CREATE, keys, wanted)
    keys = tuple(_differing(wanted, {key: value for key, value in found.items() if key != "name"}))
    if not keys:
        return Difference(name, Step.UNCHANGED, (), wanted)
    step = Step.REFUSE if any(key.name in _IDENTITY for key in keys) else Step.CHANGE
    return Difference(name, step, keys, wanted)


def _differing(wanted: Config, found: Config) -> Iterator[Key]:
    for name in dict.fromkeys((*wanted, *found)):
        old, new = found.get(name), wanted.get(name)
        if old != new:
            yield Key(name, None if old is None else shown(name, old), None if new is None else shown(name, new))


def shown(name: str, value: str) -> str:
    """A value for people: a secret that stands in clear is hidden, a reference to one is not."""
    return "(hidden)" if is_secret(name) and not is_reference(value) else value


def validate(rest: Rest, differences: list[Difference], *, from_nothing: bool) -> list[Difference]:
    """The differences that `apply` carries out, all found right by Connect; raises PlanRefused with every problem."""
    chosen = [each for each in differences if each.step in (Step.CREATE, Step.CHANGE, Step.REFUSE)]
    refused = [f"{each.name}: {key.name}: found {key.found}, expected {key.expected}"
               for each in chosen if each.step is Step.REFUSE and not from_nothing
               for key in each.keys if key.name in _IDENTITY]  # fmt: skip
    if refused:
        raise PlanRefused(refused, "the connector would not find its position: give it another name, or begin anew "
                                   "with --restart-from-nothing (then re-read its tables)")
    problems = [f"{each.name}: {problem}" for each in chosen for problem in _problems(rest, each)]
    if problems:
        raise PlanRefused(problems, "Kafka Connect refuses this")
    return chosen


def _problems(rest: Rest, difference: Difference) -> Iterator[str]:
    try:
        found = rest.validate(difference.name, difference.config)
    except ConnectRefused as error:
        kind, installed = difference.config["connector.class"], rest.plugins()
        if kind in installed:
            yield str(error)
            return
        yield f"connector.class: {kind} is not installed on the workers: put it on their plugin.path and restart them"
        return
    for name, errors in found.items():
        for each in errors:
            yield f"{name}: {redacted(' '.join(each.split()))}"


def apply(rest: Rest, differences: list[Difference]) -> None:
    """Give Connect the configurations; each was validated before."""
    for each in differences:
        rest.put(each.name, each.config)


def status(rest: Rest, settings: Settings) -> Iterator[Running]:
    """Every configured connector with its tasks, those that are missing, and what else runs there."""
    states, there = rest.states(), rest.configs()
    names = [*settings.connectors, *sorted(there.keys() - settings.connectors.keys())]
    for name in names:
        ours = name in settings.connectors
        if name in states:
            yield from _parts(name, states[name], ours=ours)
        else:
            missing = Running(name, "connector", "MISSING", "", "", ours)
            yield missing._replace(state="UNASSIGNED", trace=_SOON) if name in there else missing


def _parts(name: str, state: Mapping[str, Any], *, ours: bool) -> Iterator[Running]:
    yield _running(name, "connector", state["connector"], ours)
    for task in state["tasks"]:
        yield _running(name, f"task {task['id']}", task, ours)
    if not state["tasks"] and state["connector"]["state"] == "RUNNING":
        yield Running(name, "task 0", "UNASSIGNED", "", _SOON, ours)


def _running(name: str, part: str, state: Mapping[str, Any], ours: bool) -> Running:
    return Running(name, part, state["state"], state.get("worker_id", ""), cause(state.get("trace", "")), ours)


def cause(trace: str) -> str:
    """A stack trace in a line: what was thrown, and what lies at its bottom where that is another thing."""
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    if not lines:
        return ""
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return redacted(lines[0] if not causes or causes[-1] in lines[0] else f"{lines[0]} <- {causes[-1]}")


def redacted(text: str) -> str:
    """A foreign message without what looks like a credential in a connection string."""
    return _CREDENTIAL.sub(r"\1=(hidden)", text)
