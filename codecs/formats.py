"""The formats that a source may have, by name: `codec("canonical", {})` gives the decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from tieout.codecs.canonical import CanonicalCodec
from tieout.codecs.errors import UnknownFormat, nearest
from tieout.codecs.records import Decoded, RawRecord

Options = Mapping[str, Any]


class Codec(Protocol):
    """Turns one raw record into what it says. Keeps no state between records."""

    def decode(self, raw: RawRecord) -> Decoded:
        """What the record says; raises DecodeError when it cannot be read."""
        ...


def codec(format: str, options: Options) -> Codec:
    """The decoder of a format; UnknownFormat or MappingError say what is wrong with the configuration."""
    build = FORMATS.get(format)
    if build is None:
        raise UnknownFormat(
            f"format {format!r} does not exist; there are {', '.join(FORMATS)}{nearest(format, list(FORMATS))}"
        )
    return build(options)


def _canonical(options: Options) -> Codec:
    """Canonical events say everything themselves: options are ignored."""
    return CanonicalCodec()


FORMATS: Final[Mapping[str, Callable[[Options], Codec]]] = {"canonical": _canonical}
