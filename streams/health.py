"""Is the whole thing well: broker, topics, readers and snapshot, each with a state, a measured value and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from tieout.reconcilers.engine import TABLES
from tieout.streams.clock import now_us
from tieout.streams.cluster import Refused, admin
from tieout.streams.lag import lags
from tieout.streams.settings import Settings
from tieout.streams.topics import Step, desired, plan

_ASK_S: Final = 5.0
_BEHIND: Final = 1_000  # records; more than a frame's worth of every partition
_SNAPSHOT_S: Final = 60.0


class State(StrEnum):
    """What a check found."""

    OK = "ok"
    WARN = "warn"  # it works, and somebody should look
    FAIL = "fail"  # it does not work


class Check(NamedTuple):
    """One check: what was looked at, how it is, what was measured, and what to do where it is not well."""

    name: str
    state: State
    found: str
    remedy: str = ""


def healthy(checks: list[Check]) -> bool:
    """Whether nothing failed."""
    return all(check.state is not State.FAIL for check in checks)


def checks(settings: Settings) -> list[Check]:
    """Look at everything; without a broker the checks that need one are left out."""
    broker = _guarded("broker", lambda: _broker(settings))
    found = [broker]
    if broker.state is State.OK:
        found += [_guarded("topics", lambda: _topics(settings)), *_readers(settings)]
    return [*found, _guarded("snapshot", lambda: _snapshot(settings))]


def _guarded(name: str, look: Callable[[], Check]) -> Check:
    """A check that cannot be made has failed, and says why."""
    try:
        return look()
    except Exception as error:
        return Check(name, State.FAIL, f"{type(error).__name__}: {error}")


def _broker(settings: Settings) -> Check:
    from confluent_kafka import KafkaException

    servers = settings.kafka.client["bootstrap.servers"]
    try:
        brokers = admin(settings, within_s=_ASK_S).list_topics(timeout=_ASK_S).brokers
    except Refused as error:
        return Check("broker", State.FAIL, str(error), "correct kafka.client")
    except KafkaException:
        return Check("broker", State.FAIL, f"no answer from {servers}", "start it, or correct kafka.client")
    return Check("broker", State.OK, f"{servers}, {len(brokers)} broker{'' if len(brokers) == 1 else 's'}")


def _topics(settings: Settings) -> Check:
    from confluent_kafka.admin import AdminClient

    differences = plan(AdminClient(settings.kafka_client({"log_level": 0})), desired(settings, TABLES))
    if not differences:
        return Check("topics", State.OK, "as they must be")
    refused = [each for each in differences if each.step is not Step.CONFIGURE]
    found = f"{len(differences)} differ, {(refused or differences)[0]}"
    return Check("topics", State.FAIL if refused else State.WARN, found, "tieout topics plan, then tieout topics apply")


def _readers(settings: Settings) -> Iterator[Check]:
    from confluent_kafka import KafkaException

    behind: dict[str, int] = {}
    try:
        for each in lags(settings):
            behind[each.role] = behind.get(each.role, 0) + each.behind
    except KafkaException as error:
        yield Check("readers", State.FAIL, error.args[0].str(), "tieout lag")
    for role, records in behind.items():
        state = State.OK if records <= _BEHIND else State.WARN
        yield Check(role, state, f"{records} records behind", "" if state is State.OK else "tieout lag --partitions")


def _snapshot(settings: Settings) -> Check:
    from tieout.streams.sinks.publish import SNAPSHOT

    path = settings.sink.publish_dir / SNAPSHOT
    if not path.exists():
        return Check("snapshot", State.FAIL, f"{path} is not there", "tieout run sink")
    age_s = now_us() / 1e6 - path.stat().st_mtime
    state = State.OK if age_s <= max(_SNAPSHOT_S, 10 * settings.sink.publish_every_s) else State.WARN
    return Check("snapshot", state, f"{path}, {age_s:.0f} s old", "" if state is State.OK else "is the sink running?")
