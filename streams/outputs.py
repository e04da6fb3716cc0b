"""Output rows as Avro in Confluent's wire format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tieout.codecs.avro import row_encoder
from tieout.reconcilers.outcomes import Output
from tieout.schemas import avsc


def encoder() -> Callable[[Output, Mapping[str, Any]], bytes]:
    """A function that encodes a row of an output; ValueError when the row has other fields than its schema."""
    encoders = {output: row_encoder(avsc(output.value), number) for number, output in enumerate(Output, start=1)}

    def encode(output: Output, row: Mapping[str, Any]) -> bytes:
        return encoders[output](row)

    return encode
