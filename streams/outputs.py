"""Output rows as Avro in Confluent's wire format."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import fastavro

from tieout.reconcilers.outcomes import Output
from tieout.schemas import avsc


def encoder() -> Callable[[Output, Mapping[str, Any]], bytes]:
    """A function that encodes a row of an output."""
    schemas = {output: fastavro.parse_schema(avsc(output.value)) for output in Output}
    ids = {output: number for number, output in enumerate(Output, start=1)}

    def encode(output: Output, row: Mapping[str, Any]) -> bytes:
        buffer = io.BytesIO(b"\0" + ids[output].to_bytes(4))
        buffer.seek(5)
        fastavro.schemaless_writer(buffer, schemas[output], row)
        return buffer.getvalue()

    return encode
