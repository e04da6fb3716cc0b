"""The demo's broker: librdkafka's mock cluster, in memory, in the process that opens it.

Other processes connect by address as long as this one lives. Measured with librdkafka 2.16.0; each line is a test in
`tests/streams/test_broker_contract.py`, marked there as an expected failure where the broker falls short:

* There is no CreateTopics, CreatePartitions or DescribeConfigs: a client's call times out after its own limit. A topic
  that is only produced to or asked for springs up with 4 partitions. `EmbeddedBroker.create` makes one with any number,
  through the library's own mock interface, in the process that holds the cluster.
* A partition keeps about 5 MB; older records vanish without a word. Readers watch the low watermark.
* Transactions are accepted, but nothing is hidden, fenced or stored: aborted and open records are visible to readers of
  committed ones, an older producer of a transactional id goes on, offsets sent to a transaction are dropped.
* A leaving member is missed only at its session time-out (45 s by default): with 6 s the next one waits 8 s.
* Nothing is compacted, nothing is written to disk.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_RD_KAFKA_PRODUCER: Final = 0
_ERROR_BYTES: Final = 512


class EmbeddedBroker:
    """A running mock cluster; close it, or use it as a context manager."""

    def __init__(self, *, brokers: int = 1, topics: Mapping[str, int] | None = None) -> None:
        self._library = _librdkafka()
        self._client = _client(self._library)
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._client, brokers)
        if not self._cluster:
            raise RuntimeError("librdkafka made no mock cluster: no free port on loopback?")
        self.bootstrap: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        for name, partitions in (topics or {}).items():
            self.create(name, partitions)

    def create(self, topic: str, partitions: int) -> None:
        """Make a topic with so many partitions; raises ValueError when it exists."""
        if self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1):
            raise ValueError(f"topic {topic} exists already, or {partitions} is no number of partitions")

    def close(self) -> None:
        """Stop the cluster; its records are gone."""
        if self._cluster:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._client)
            self._cluster = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@contextmanager
def embedded_broker(topics: Mapping[str, int] | None = None) -> Iterator[str]:
    """Run a broker and yield its address, 'host:port'; `topics` are made first, name to partitions."""
    with EmbeddedBroker(topics=topics) as broker:
        yield broker.bootstrap


def is_embedded(cluster_id: str | None) -> bool:
    """Whether a cluster is such a mock one, by the id in its metadata."""
    return str(cluster_id).startswith("mockCluster")


def _librdkafka() -> ctypes.CDLL:
    """The library that confluent-kafka loaded: the wheel brings its own, a build from source uses the system's."""
    import confluent_kafka.cimpl

    bundled = sorted(Path(confluent_kafka.cimpl.__file__).parents[1].glob("confluent_kafka.libs/librdkafka*"))
    library = ctypes.CDLL(str(bundled[0]) if bundled else "librdkafka.so.1")
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, returns, takes in (
        ("rd_kafka_conf_new", pointer, ()),
        ("rd_kafka_conf_set", number, (pointer, text, text, text, ctypes.c_size_t)),
        ("rd_kafka_new", pointer, (number, pointer, text, ctypes.c_size_t)),
        ("rd_kafka_destroy", None, (pointer,)),
        ("rd_kafka_mock_cluster_new", pointer, (pointer, number)),
        ("rd_kafka_mock_cluster_bootstraps", text, (pointer,)),
        ("rd_kafka_mock_topic_create", number, (pointer, text, number, number)),
        ("rd_kafka_mock_cluster_destroy", None, (pointer,)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = returns, takes
    return library


def _client(library: ctypes.CDLL) -> int:
    """The bare client that owns the cluster; it connects to nothing."""
    error = ctypes.create_string_buffer(_ERROR_BYTES)
    configuration = library.rd_kafka_conf_new()
    library.rd_kafka_conf_set(configuration, b"log_level", b"3", error, _ERROR_BYTES)
    client = library.rd_kafka_new(_RD_KAFKA_PRODUCER, configuration, error, _ERROR_BYTES)
    if not client:
        raise RuntimeError(f"librdkafka refused a client: {error.value.decode()}")
    return int(client)
