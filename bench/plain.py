"""Contender: a plain confluent-kafka loop that calls the reconcilers and keeps nothing."""

from __future__ import annotations

import os
import sys

from confluent_kafka import Consumer, KafkaException, TopicPartition

from bench.frames import WIDE
from bench.stopwatch import Stopwatch
from tieout.reconcilers.entities import Axis
from tieout.streams import settings
from tieout.streams.frames import decode
from tieout.streams.topics import changes_topic

_AXES = {changes_topic(axis): axis for axis in (*WIDE, Axis.CONTROL)}


def main() -> None:
    expected = int(sys.argv[1])
    configured = settings.load(env=os.environ)
    partitions = configured.kafka.partitions
    watch = Stopwatch()
    reconciler = watch.reconciler()
    places = [(axis, number) for axis in WIDE for number in range(partitions)] + [(Axis.CONTROL, 0)]
    states = {place: reconciler.state(*place, partitions) for place in places}
    consumer = Consumer(configured.kafka_client({"group.id": "bench-plain", "auto.offset.reset": "earliest"}))
    consumer.assign([TopicPartition(changes_topic(axis), number, 0) for axis, number in places])
    while watch.changes < expected:
        for message in consumer.consume(100, 0.1):
            if message.error():
                raise KafkaException(message.error())
            place = (_AXES[str(message.topic())], int(message.partition() or 0))
            reconciler.apply(states[place], decode(message.value() or b""))
    watch.stop()
    consumer.close()
    print(watch.report())


if __name__ == "__main__":
    main()
