"""Whether connectors and sources say the same: topics, formats, heartbeats, and what each database needs."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from tieout.streams.connect.debezium import Feed, feeds, registry_url

if TYPE_CHECKING:
    from tieout.streams.settings import Settings, Source


class Disagreement(NamedTuple):
    """One thing that does not fit: the key to correct, what it says, what it should say, and the nearest such value."""

    key: str
    found: str
    expected: str
    nearest: str | None = None


def disagreements(settings: Settings) -> Iterator[Disagreement]:
    """Everything between `connectors` and the rest of the configuration that does not fit."""
    known = feeds(settings)
    for name, feed in known.items():
        yield from _alone(f"connectors.{name}", feed, settings)
        for source_name, source in settings.sources.items():
            if source.topic.startswith(f"{feed.prefix}."):
                yield from _source(f"sources.{source_name}", source, feed)
    yield from _shared(known)


def _alone(key: str, feed: Feed, settings: Settings) -> Iterator[Disagreement]:
    connector = feed.connector
    if connector.kind in ("postgresql", "sqlserver") and not connector.database:
        yield Disagreement(f"{key}.database", "nothing", f"the name of the database: {connector.kind} needs one")
    if connector.kind in ("mysql", "mariadb") and connector.server_id is None:
        yield Disagreement(f"{key}.server_id", "nothing", "a number that no server of the replication has")
    if not feed.tables:
        found = f"none, and no source reads a topic that begins with {feed.topic('')}"
        yield Disagreement(f"{key}.tables", found, "at least one table, or a source of one")
    for table in feed.tables:
        if table.count(".") != 1:
            expected = f"schema.table behind {feed.topic('')}"
            yield Disagreement(f"{key}.tables", f"{table!r} of a source's topic", expected)
    if connector.format == "debezium-avro" and registry_url(settings) is None:
        yield Disagreement("connect.registry_url", "nothing", f"the registry's address: {key} writes Avro")


def _source(key: str, source: Source, feed: Feed) -> Iterator[Disagreement]:
    topics = [feed.topic(table) for table in feed.tables]
    if source.topic not in (*topics, *feed.control_topics):
        near = get_close_matches(source.topic, topics, n=1)
        expected = f"a topic of connectors.{feed.name}: {', '.join(topics)}"
        yield Disagreement(f"{key}.topic", repr(source.topic), expected, near[0] if near else None)
    if source.format != feed.connector.format:
        yield Disagreement(f"{key}.format", repr(source.format),
                           f"{feed.connector.format}, as connectors.{feed.name} writes")  # fmt: skip
    if source.heartbeat != feed.heartbeat_topic:
        expected = f"{feed.heartbeat_topic}: without it the source looks stale when nothing happens"
        yield Disagreement(f"{key}.heartbeat", repr(source.heartbeat), expected)


def _shared(known: dict[str, Feed]) -> Iterator[Disagreement]:
    """What two connectors must not have in common."""
    seen: dict[tuple[str, ...], str] = {}
    for name, feed in known.items():
        connector = feed.connector
        taken: list[tuple[tuple[str, ...], str]] = [(("topic_prefix", feed.prefix), "a prefix")]
        if connector.kind == "postgresql":
            taken.append((("slot", connector.host, str(connector.port), feed.slot), "a slot"))
        if connector.server_id is not None:
            taken.append((("server_id", connector.host, str(connector.server_id)), "an id"))
        for what, kind in taken:
            other = seen.setdefault(what, name)
            if other != name:
                expected = f"{kind} that connectors.{other} has not"
                yield Disagreement(f"connectors.{name}.{what[0]}", repr(what[-1]), expected)
