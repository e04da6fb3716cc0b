"""What can be looked at without asking anybody: the configuration, its mappings, and the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tieout.streams.health import Check, State
from tieout.streams.layers import ConfigError

if TYPE_CHECKING:
    from tieout.streams.settings import Settings

_MIB: Final = 1 << 20
_LEAST_BYTES: Final = 256 * _MIB
_ENOUGH_BYTES: Final = 2_048 * _MIB


def problems(error: ConfigError) -> list[Check]:
    """Every problem of a configuration as a check of its own."""
    return [Check(f"configuration {each.key}", State.FAIL, f"{each.found} ({each.where})",
                  f"expected {each.expected}" + (f"; did you mean {each.nearest}?" if each.nearest else ""))
            for each in error.problems]  # fmt: skip


def configuration(settings: Settings) -> Iterator[Check]:
    """Whether clients and mappings can be made of it, and whether it is one for real systems."""
    yield _client(settings)
    yield _mappings(settings)
    if settings.clock == "log":
        yield Check("time", State.WARN, 'clock = "log": time is that of the newest record',
                    'clock = "wall" for systems that run now')  # fmt: skip


def _client(settings: Settings) -> Check:
    from confluent_kafka import KafkaException, Producer

    try:
        Producer({**settings.kafka_client(), "log_level": 0})
    except KafkaException as error:
        return Check("configuration", State.FAIL, error.args[0].str(), "correct [kafka.client]: librdkafka's names")
    count = len(settings.sources)
    if not count:
        return Check("configuration", State.WARN, "valid, and without any source", "add a [sources.<name>] section")
    return Check("configuration", State.OK, f"valid, {count} source{'' if count == 1 else 's'}")


def _mappings(settings: Settings) -> Check:
    from tieout.codecs.errors import ConfigurationError
    from tieout.streams.sources import readings

    try:
        found = readings(settings)
    except ConfigurationError as error:
        return Check("mappings", State.FAIL, str(error), "correct format or mapping of the source, or the mapping")
    return Check("mappings", State.OK, f"{len(found)} topics can be read")


def disk(settings: Settings) -> Iterator[Check]:
    """Room for the store: a snapshot is a whole copy of it, and one is written while another is still read."""
    store = settings.sink.path
    size = store.stat().st_size if store.exists() else 0
    for name, path in (("store", store.parent), ("snapshots", settings.sink.publish_dir)):
        yield _room(name, path, size)


def _room(name: str, path: Path, size: int) -> Check:
    place = _existing(path)
    free = shutil.disk_usage(place).free
    label, found = f"disk of {name}", f"{_text(free)} free under {place}, the store has {_text(size)}"
    remedy = f"make room for two copies of the store, or move sink.{_KEY[name]}"
    if free < 2 * size + _LEAST_BYTES:
        return Check(label, State.FAIL, found, remedy)
    if free < 3 * size + _ENOUGH_BYTES:
        return Check(label, State.WARN, found, remedy)
    return Check(label, State.OK, found)


_KEY: Final = {"store": "path", "snapshots": "publish_dir"}


def _existing(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    path = path.absolute()
    return path if path.exists() else _existing(path.parent)


def _text(size: int) -> str:
    return f"{size / _MIB:,.0f} MiB"
