"""Raw topics: are they there, do their newest records look like the configured format, how fresh are the sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from tieout.codecs.errors import ConfigurationError, DecodeError, SchemasUnreachable
from tieout.codecs.formats import NeedsSchemas
from tieout.codecs.recognise import UNKNOWN, WIDE_AVRO, Look, fits, recognise
from tieout.codecs.records import Headers, RawRecord
from tieout.reconcilers.policy import Policy
from tieout.streams.clock import monotonic_s, now_us
from tieout.streams.doctor.cluster import ASK_S, metadata
from tieout.streams.health import Check, State
from tieout.streams.sources import readings, source_name
from tieout.streams.topicread import Ends

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

    from tieout.codecs.formats import Codec
    from tieout.streams.settings import Settings, Source

_SAMPLE: Final = 20  # records from the end of a partition: the newest may be tombstones or transaction markers
AHEAD_S: Final = 2.0  # what clocks may differ by; HTTP says the time in whole seconds
MARGIN_S: Final = 60.0  # watermarks stay this far behind commits; a clock that is off by more defeats them
_QUIET_S: Final = 120.0  # a heartbeat or watermark this old is worth a look


class Sample(NamedTuple):
    """The newest record of a topic that has a value; its timestamp in microseconds."""

    topic: str
    partition: int
    offset: int
    ts_us: int
    value: bytes
    key: bytes | None = None
    headers: Headers = ()


def raw_topics(settings: Settings) -> Iterator[Check]:
    """Each raw topic: whether it is there and holds what its source's format says."""
    known = metadata(settings)
    if known is None:
        return
    newest = newest_records(settings, known, {source.topic for source in settings.sources.values()})
    codecs = _codecs(settings)
    for name, source in settings.sources.items():
        yield from _raw_topic(name, source, known, newest.get(source.topic), codecs.get(source.topic))


def _codecs(settings: Settings) -> dict[str, Codec]:
    """What reads each topic; none where a mapping is wrong, which is a check of its own."""
    try:
        return {topic: reading.codec for topic, reading in readings(settings).items()}
    except ConfigurationError:
        return {}


def _raw_topic(name: str, source: Source, known: Any, sample: Sample | None, codec: Codec | None) -> Iterator[Check]:
    label = f"raw topic {source.topic}"
    if source.topic not in known.topics:
        yield Check(label, State.FAIL, "it is not there",
                    f"start its connector, or create it; else correct sources.{name}.topic")  # fmt: skip
        return
    count = len(known.topics[source.topic].partitions)
    partitions = f"{count} partition{'' if count == 1 else 's'}"
    if sample is None:
        yield Check(label, State.WARN, f"{partitions}, no record", "has the connector made its snapshot?")
        return
    yield Check(label, State.OK, partitions)
    verdict = judge(name, source, sample)
    yield verdict
    if codec is not None and verdict.state is State.OK:
        yield decoded(source, sample, codec)


def decoded(source: Source, sample: Sample, codec: Codec) -> Check:
    """What ingest would make of a record: its changes, or why it would be a dead letter."""
    label, place = f"decoding {source.topic}", f"at {sample.partition}/{sample.offset}"
    raw = RawRecord(source.topic, sample.partition, sample.offset, sample.ts_us // 1_000, sample.key, sample.value,
                    sample.headers)  # fmt: skip
    try:
        if isinstance(codec, NeedsSchemas):
            codec.prepare(raw)
        found = codec.decode(raw)
    except SchemasUnreachable as error:
        return Check(label, State.FAIL, f"{error} {place}", "start the registry, or correct registry.url")
    except DecodeError as error:
        return Check(label, State.FAIL, f"{error} {place}", error.hint)
    ahead_s = max((change.commit_us - now_us() for change in found.changes), default=0) / 1e6
    if ahead_s > AHEAD_S:
        return Check(label, State.FAIL if ahead_s > MARGIN_S else State.WARN, f"committed in {ahead_s:,.0f} s {place}",
                     "the database's clock is ahead: let NTP set it")  # fmt: skip
    made = ", ".join(dict.fromkeys(f"{change.entity} {change.op.value.lower()}" for change in found.changes))
    return Check(label, State.OK, f"{made or found.filtered or 'nothing'} {place}")


def judge(name: str, source: Source, sample: Sample) -> Check:
    """Whether a record looks like its source's format, and what to set where it does not."""
    look = recognise(sample.value)
    label = f"wire format {source.topic}"
    found = f"{look.format} ({look.seen}) at {sample.partition}/{sample.offset}"
    if fits(source.format, look):
        return Check(label, State.OK, found)
    return Check(label, State.FAIL, f"{found}, expected {source.format}", _remedy(name, source, look))


def _remedy(name: str, source: Source, look: Look) -> str:
    if look.format == WIDE_AVRO:
        return "make the producer write ids of four bytes (Apicurio: as-confluent = true, use-id = contentId)"
    if look.format == UNKNOWN:
        return f"its producer writes another format than any we read: set a converter for {source.format}"
    pair = {look.format, source.format}
    if pair == {"debezium-json", "debezium-json-schema"}:
        switch = "true" if source.format == "debezium-json-schema" else "false"
        return f'sources.{name}.format = "{look.format}", or value.converter.schemas.enable = {switch} in the connector'
    return f'sources.{name}.format = "{look.format}", or make its producer write {source.format}'


def newest_records(settings: Settings, known: Any, topics: Iterable[str]) -> dict[str, Sample]:
    """By topic, the newest record with a value among the last of each partition."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(settings.kafka_client({
        "group.id": f"{settings.kafka.group}-doctor", "enable.auto.commit": False, "enable.partition.eof": True,
        "isolation.level": "read_committed", "log_level": 0,
    }))  # fmt: skip
    try:
        places, ends = [], {}
        for topic in topics:
            for partition in known.topics[topic].partitions if topic in known.topics else ():
                low, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), ASK_S)
                if end > low:
                    places.append(TopicPartition(topic, partition, max(low, end - _SAMPLE)))
                    ends[topic, partition] = end
        consumer.assign(places)
        return _newest(_to_the_ends(consumer, Ends(ends)))
    finally:
        consumer.close()


def _to_the_ends(consumer: Consumer, ends: Ends) -> Iterator[Message]:
    deadline_s = monotonic_s() + 2 * ASK_S
    while ends and monotonic_s() < deadline_s:
        yield from filter(ends.take, consumer.consume(500, 0.2))


def _newest(messages: Iterable[Message]) -> dict[str, Sample]:
    found: dict[str, Sample] = {}
    for message in messages:
        value, topic, ts_us = message.value(), str(message.topic()), message.timestamp()[1] * 1_000
        if value is not None and (topic not in found or found[topic].ts_us <= ts_us):
            headers = cast(Headers, tuple(message.headers() or ()))
            found[topic] = Sample(topic, message.partition() or 0, message.offset() or 0, ts_us, value,
                                  message.key(), headers)  # fmt: skip
    return found


def sources(settings: Settings) -> Iterator[Check]:
    """How old the newest sign of life of each source is: a heartbeat, else a record, and its watermark."""
    known = metadata(settings)
    if known is None or settings.clock == "log":  # under the records' own clock everything is old
        return
    groups: dict[str, list[Source]] = {}
    for source in settings.sources.values():
        groups.setdefault(source_name(source), []).append(source)
    topics = {topic for source in settings.sources.values() for topic in (source.topic, source.heartbeat) if topic}
    newest, marks = newest_records(settings, known, topics), _watermarks(settings, known)
    for name, members in groups.items():
        yield _freshness(name, members, newest, marks.get(name), settings)


def _freshness(
    name: str, members: list[Source], newest: dict[str, Sample], mark_us: int | None, settings: Settings
) -> Check:
    """The judgement of one source: stale after what the policy says of its system."""
    limit_s = Policy.from_mapping(settings.policy).stale_after_s.get(members[0].system, 5_400)
    beats = sorted({source.heartbeat for source in members if source.heartbeat})
    label = f"source {name}"
    ages: dict[str, float] = {}
    if signs := [newest[topic].ts_us for topic in beats or [source.topic for source in members] if topic in newest]:
        ages["heartbeat" if beats else "newest record"] = _age_s(max(signs))
    if mark_us is not None:
        ages["watermark"] = _age_s(mark_us)
    if not ages:
        return Check(label, State.FAIL if beats else State.WARN, f"no record in {', '.join(beats) or 'its topics'}",
                     "heartbeat.interval.ms of the connector, then: tieout connectors status")  # fmt: skip
    found = ", ".join(f"{what} {age_s:,.0f} s old" for what, age_s in ages.items())
    oldest = max(ages.values())
    if oldest > limit_s:
        return Check(label, State.FAIL, f"{found}; stale after {limit_s} s", "tieout connectors status, tieout lag")
    if oldest <= _QUIET_S:
        return Check(label, State.OK, found)
    quiet = "name a heartbeat topic, so that silence and standstill differ"
    return Check(label, State.WARN, found, "tieout connectors status, tieout lag" if beats else quiet)


def _age_s(instant_us: int) -> float:
    return max(0.0, (now_us() - instant_us) / 1e6)


def _watermarks(settings: Settings, known: Any) -> dict[str, int]:
    """The watermark of each source as a whole, from the published state."""
    from tieout.codecs.framing import unframe
    from tieout.reconcilers.outcomes import Output
    from tieout.schemas import avsc
    from tieout.streams.sinks.decode import decode_one
    from tieout.streams.topicread import whole_topic
    from tieout.streams.topics import output_topic

    topic, schema = output_topic(Output.SOURCE_STATE), avsc(Output.SOURCE_STATE.value)
    found: dict[str, int] = {}
    for message in whole_topic(settings, topic) if topic in known.topics else ():
        value = message.value()
        row = {} if value is None else decode_one(schema, unframe(value).payload)
        if row.get("object") == "*" and row.get("watermark_at") is not None:
            found[row["source"]] = int(row["watermark_at"])
    return found
