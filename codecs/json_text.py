"""JSON bytes to objects: one place for the parser and its errors."""

from __future__ import annotations

from typing import Any, Final

import orjson

from tieout.codecs.errors import NotJson, WrongShape, shown

_SHOWN_BYTES: Final = 40


def load_object(data: bytes) -> dict[str, Any]:
    """The one JSON object in `data`; NotJson or WrongShape for everything else."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise NotJson(f"found {shown(data[:_SHOWN_BYTES])}, expected one JSON object: {error}") from None
    if type(value) is not dict:
        raise WrongShape(f"found {shown(value)}, expected a JSON object")
    return value
