"""Raw records for codec tests, and the damage that every decoder must refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tieout.codecs.errors import DecodeError
from tieout.codecs.formats import Codec
from tieout.codecs.records import Headers, RawRecord

GOLDEN = Path(__file__).parent / "golden"
TRAILING = (b"x", b"{}", b"\x00", b",", b"]", b"null")

settings.register_profile("no-deadline", deadline=None)  # a busy machine is no failure
settings.load_profile("no-deadline")

MakeRaw = Callable[..., RawRecord]


def _bytes(value: Any) -> bytes | None:
    """Bytes as they are, everything else as JSON."""
    return value if value is None or isinstance(value, bytes) else json.dumps(value).encode()


@pytest.fixture
def raw() -> MakeRaw:
    """Builds a raw record of topic 'raw', partition 2, offset 7."""

    def build(value: Any, key: Any = None, headers: Headers = (), topic: str = "raw") -> RawRecord:
        return RawRecord(topic, 2, 7, 1_773_164_531_000, _bytes(key), _bytes(value), headers)

    return build


@pytest.fixture
def golden() -> Callable[[str], bytes]:
    """Reads a frozen payload, its last newline aside."""
    return lambda name: (GOLDEN / name).read_bytes().removesuffix(b"\n")


@pytest.fixture
def refuses_damage() -> Callable[[Codec, RawRecord], None]:
    """Checks that a record decodes whole, and neither cut at any byte nor with bytes behind it."""

    def check(codec: Codec, record: RawRecord) -> None:
        value = record.value
        assert value is not None
        whole = codec.decode(record)
        assert codec.decode(record._replace(value=value + b" \n")) == whole, "white space behind is no damage"
        for cut in range(len(value)):
            with pytest.raises(DecodeError):
                codec.decode(record._replace(value=value[:cut]))
        for tail in TRAILING:
            with pytest.raises(DecodeError):
                codec.decode(record._replace(value=value + tail))

    return check
