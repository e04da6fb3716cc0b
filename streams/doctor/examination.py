"""All checks at once, each with a time limit: what does not answer in time has failed, and holds up nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final, NamedTuple

from tieout.streams.clock import monotonic_s
from tieout.streams.doctor import cluster, local, records, services
from tieout.streams.doctor.local import configuration
from tieout.streams.health import Check, State
from tieout.streams.layers import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from tieout.streams.settings import Settings

LIMIT_S: Final = 20.0


class Look(NamedTuple):
    """Something to look at: the name under which it fails when it does not answer, and what finds the checks."""

    name: str
    find: Callable[[], Iterable[Check]]


def examine(path: Path | None, limit_s: float = LIMIT_S) -> list[Check]:
    """Every check, in the order of a person who looks for a cause; a wrong configuration is all there is to say."""
    from tieout.streams.settings import load

    try:
        settings = load(path)
    except ConfigError as error:
        return local.problems(error)
    return run(looks(settings), limit_s)


def looks(settings: Settings) -> list[Look]:
    """What there is to look at with this configuration."""
    return [
        Look("configuration", lambda: configuration(settings)),
        Look("broker", lambda: cluster.broker(settings)),
        Look("topics", lambda: cluster.topics(settings)),
        Look("raw topics", lambda: records.raw_topics(settings)),
        Look("sources", lambda: records.sources(settings)),
        Look("registry", lambda: services.registry(settings)),
        Look("connect", lambda: services.connect(settings)),
        Look("clock", lambda: services.clocks(settings)),
        Look("disk", lambda: local.disk(settings)),
    ]


def run(asked: Sequence[Look], limit_s: float) -> list[Check]:
    """Look at all of them at the same time; the checks come in the order of `asked`."""
    answers: SimpleQueue[tuple[int, list[Check]]] = SimpleQueue()
    for number, look in enumerate(asked):
        Thread(target=lambda n=number, each=look: answers.put((n, _guarded(each))), daemon=True).start()
    deadline_s = monotonic_s() + limit_s
    found: dict[int, list[Check]] = {}
    while len(found) < len(asked):
        try:
            number, checks = answers.get(timeout=max(0.0, deadline_s - monotonic_s()))
        except Empty:
            break
        found[number] = checks
    return [check for number, look in enumerate(asked) for check in found.get(number, [_late(look, limit_s)])]


def _guarded(look: Look) -> list[Check]:
    """A check that cannot be made has failed, and says why."""
    try:
        return list(look.find())
    except Exception as error:
        return [Check(look.name, State.FAIL, f"{type(error).__name__}: {error}", "look at the message")]


def _late(look: Look, limit_s: float) -> Check:
    """The check of what said nothing in time."""
    return Check(look.name, State.FAIL, f"no answer within {limit_s:g} s", "--timeout waits longer")
