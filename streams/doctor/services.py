"""What speaks HTTP: the schema registry and Kafka Connect with its connectors; and whose clock differs from ours."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tieout.codecs.errors import SchemasUnreachable
from tieout.streams.clock import now_us
from tieout.streams.connect.plan import Running, Step, plan, status
from tieout.streams.connect.rest import ConnectRefused, ConnectUnreachable, Rest
from tieout.streams.doctor.cluster import ASK_S, metadata
from tieout.streams.doctor.records import AHEAD_S, MARGIN_S, newest_records
from tieout.streams.health import Check, State
from tieout.streams.registry import open_registry
from tieout.streams.schema_check import NotRegistered, registered_ids

if TYPE_CHECKING:
    from tieout.streams.settings import Settings


def registry(settings: Settings) -> Iterator[Check]:
    """Whether the schema registry answers as one, and has what outputs name; nothing where none is configured."""
    known = open_registry(settings)
    if known is None:
        return
    try:
        subjects = known.subjects()
    except SchemasUnreachable as error:
        yield Check("registry", State.FAIL, str(error),
                    "start it, or correct registry.url: Apicurio's ends in /apis/ccompat/v7")  # fmt: skip
    else:
        yield Check("registry", State.OK, f"{settings.registry.url}, {len(subjects)} subjects")
        if settings.registry.outputs:
            yield _outputs(settings)


def _outputs(settings: Settings) -> Check:
    """Whether a worker could start that writes the registry's ids."""
    try:
        ids = registered_ids(settings)
    except NotRegistered as error:
        return Check("schemas of outputs", State.FAIL, str(error), "tieout schemas register")
    except SchemasUnreachable as error:
        return Check("schemas of outputs", State.FAIL, str(error), "ask again: it answered a moment ago")
    return Check("schemas of outputs", State.OK, f"{len(ids)} registered")


def connect(settings: Settings) -> Iterator[Check]:
    """Whether Kafka Connect answers, runs what the configuration says, and its tasks run."""
    if settings.connect.url is None:
        if settings.connectors:
            yield Check("connect", State.WARN, "connectors are configured, Kafka Connect's address is not",
                        "connect.url")  # fmt: skip
        return
    rest = Rest(settings.connect)
    try:
        yield Check("connect", State.OK, f"{rest.url}, Apache Kafka {rest.version()}")
        parts, differences = list(status(rest, settings)), plan(rest, settings)
    except ConnectUnreachable as error:
        yield Check("connect", State.FAIL, error.found, "start it, or correct connect.url")
        return
    except ConnectRefused as error:
        yield Check("connect", State.FAIL, str(error), "connect.username and connect.password, or its own log")
        return
    yield from (_part(part) for part in parts if part.ours)
    for each in differences:
        if each.step in (Step.CHANGE, Step.REFUSE):
            keys = ", ".join(key.name for key in each.keys[:5])
            yield Check(f"connector {each.name}", State.WARN, f"differs from the configuration in {keys}",
                        "tieout connectors plan, then tieout connectors apply")  # fmt: skip


def _part(part: Running) -> Check:
    label = f"connector {part.name} {part.part}"
    if part.well:
        return Check(label, State.OK, f"running on {part.worker}")
    idle = part.state in ("PAUSED", "STOPPED", "UNASSIGNED", "RESTARTING")
    found = f"{part.state}: {part.trace}" if part.trace else part.state
    remedy = "tieout connectors apply" if part.state == "MISSING" else "tieout connectors status"
    return Check(label, State.WARN if idle else State.FAIL, found, remedy)


def clocks(settings: Settings) -> Iterator[Check]:
    """Our clock against the services' and the newest records': a record from the future was stamped by a fast clock."""
    ahead: dict[str, float] = dict(_services_ahead(settings))
    known = metadata(settings) if settings.clock == "wall" else None
    if known is not None:
        topics = {topic for source in settings.sources.values() for topic in (source.topic, source.heartbeat) if topic}
        for sample in newest_records(settings, known, topics).values():
            seconds = (sample.ts_us - now_us()) / 1e6
            if seconds > AHEAD_S:
                ahead[f"records of {sample.topic}"] = seconds
    off = {what: seconds for what, seconds in ahead.items() if abs(seconds) > AHEAD_S}
    if not off:
        if ahead or known is not None:
            yield Check("clock", State.OK, _offsets(ahead) or "no record is from the future")
        return
    worst = max(map(abs, off.values()))
    yield Check("clock", State.FAIL if worst > MARGIN_S else State.WARN, _offsets(off),
                "let NTP set the clocks of brokers, databases and this machine")  # fmt: skip


def _offsets(ahead: dict[str, float]) -> str:
    return ", ".join(f"{what} {seconds:+,.0f} s" for what, seconds in ahead.items())


def _services_ahead(settings: Settings) -> Iterator[tuple[str, float]]:
    """How far each service's clock is ahead of ours, from the date in its answer."""
    addresses = [("Kafka Connect", settings.connect.url), *(("registry", url) for url in _registries(settings))]
    for what, url in addresses:
        if url is None:
            continue
        try:
            with urlopen(url, timeout=ASK_S) as answer:
                date = answer.headers.get("Date")
        except HTTPError as error:
            date = error.headers.get("Date")
        except (URLError, TimeoutError, ConnectionError):
            continue  # its own check says that it does not answer
        if date:
            yield what, parsedate_to_datetime(date).timestamp() + 0.5 - now_us() / 1e6


def _registries(settings: Settings) -> list[str]:
    addresses = (settings.registry.url or "").split(",")
    return [each.strip().rstrip("/") for each in addresses if each.strip().startswith("http")]
