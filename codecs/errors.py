"""What can go wrong between bytes and changes, and whose fault it is.

::

    CodecError
    ├── DecodeError          the source sent something else than was agreed: dead-letter the record, go on
    │   ├── NotJson          not_json         the bytes are not one JSON document
    │   ├── WrongShape       wrong_shape      JSON, but not the envelope that the format promises
    │   ├── UnknownType      unknown_type     an event type or entity that does not exist
    │   ├── MissingKey       key_missing      the business key or the record's id is not there
    │   ├── MissingColumn    column_missing   a column that the mapping requires is gone: the schema changed
    │   ├── MissingOrder     order_missing    no order token can be made: the change cannot be placed
    │   ├── BadValue         bad_value        a value is not of its attribute's kind
    │   ├── LossyNumber      lossy_number     a float where hours, a rate or money must be exact
    │   ├── BadFraming       bad_framing      not Confluent wire format
    │   ├── BadAvro          bad_avro         the payload does not fit its Avro schema
    │   ├── SchemaUnknown    schema_unknown   the schema that wrote the payload is not there, or cannot be read
    │   ├── SchemaChanged    schema_changed   a column is of another type than the mapping pins
    │   └── BadCapture       bad_capture      a line of a capture file cannot be read
    ├── ConfigurationError   we are wrong: a codec cannot be built, stop before reading anything
    │   ├── UnknownFormat    the format or one of its options does not exist
    │   └── MappingError     a mapping file is wrong; carries every problem at once
    └── SchemasUnreachable   nobody is wrong: schemas cannot be fetched now; hold the record and try again
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, ClassVar

SHOWN_LENGTH = 80  # characters of a foreign value that a message repeats


class CodecError(ValueError):
    """Root of everything that codecs raise."""


class DecodeError(CodecError):
    """A record that cannot become changes. `reason` is a stable slug, `hint` says what to do about it."""

    reason: ClassVar[str] = "undecodable"
    advice: ClassVar[str] = "look at the raw bytes and at the producer's configuration"
    schema_break: ClassVar[bool] = False  # the source's schema is no longer the one that was agreed: check 43

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint or self.advice

    def within(self, place: str) -> DecodeError:
        """The same error with the place in front: 'qty_s: found …'."""
        return type(self)(f"{place}: {self}", self.hint)


class NotJson(DecodeError):
    """The bytes are not one JSON document."""

    reason = "not_json"
    advice = "the record is cut, binary or of another format: check 'format' of the source"


class WrongShape(DecodeError):
    """JSON, but not the envelope that the format promises."""

    reason = "wrong_shape"
    advice = "check 'format' of the source against what its connector writes"


class UnknownType(DecodeError):
    """An event type or entity that does not exist."""

    reason = "unknown_type"
    advice = "types are tieout.<entity>.<upserted|deleted|rekeyed|snapshot|gap>"


class MissingKey(DecodeError):
    """The business key or the record's id is not there."""

    reason = "key_missing"
    advice = "send every attribute of the business key, not null and not empty"


class MissingColumn(DecodeError):
    """A column that the mapping requires is gone."""

    reason = "column_missing"
    schema_break = True
    advice = "the source's schema changed: restore the column or adapt the mapping, then replay the dead letters"


class MissingOrder(DecodeError):
    """No order token can be made."""

    reason = "order_missing"
    advice = "changes are ordered by the source's own token, never by time: the source block must carry it"


class BadValue(DecodeError):
    """A value is not of its attribute's kind."""

    reason = "bad_value"
    advice = "send the value in the form that the attribute's kind asks for"


class LossyNumber(DecodeError):
    """A float where hours, a rate or money must be exact."""

    reason = "lossy_number"
    advice = "set decimal.handling.mode=string (or precise) in the connector, or allow_double = true on the field"


class BadFraming(DecodeError):
    """Not Confluent wire format."""

    reason = "bad_framing"
    advice = "the producer must use the Confluent wire format: byte 0, four bytes of schema id, the Avro payload"


class BadAvro(DecodeError):
    """The payload does not fit its Avro schema."""

    reason = "bad_avro"
    advice = "the payload is cut, padded or was written with another schema"


class SchemaUnknown(DecodeError):
    """The schema that wrote the payload is not there, or cannot be read."""

    reason = "schema_unknown"
    schema_break = True
    advice = "is [registry] the one that the connector writes to? Restore the schema, then replay the dead letters"


class SchemaChanged(DecodeError):
    """A column is of another type than the mapping pins."""

    reason = "schema_changed"
    schema_break = True
    advice = ("restore the column's type, or put the new one into the mapping's columns table (leave the column out "
              "to follow whatever the schema says), then replay the dead letters")


class BadCapture(DecodeError):
    """A line of a capture file cannot be read."""

    reason = "bad_capture"
    advice = "captures are JSON lines as 'kcat -J' writes them: topic, partition, offset, ts, key, payload, headers"


class SchemasUnreachable(CodecError):
    """Schemas cannot be fetched now. Not the record's fault: hold it and try again, never dead-letter it."""


class ConfigurationError(CodecError):
    """A codec cannot be built from what was configured."""


class UnknownFormat(ConfigurationError):
    """The format or one of its options does not exist."""


class MappingError(ConfigurationError):
    """A mapping file is wrong. `problems` names the file and the key of each problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def shown(value: Any) -> str:
    """A foreign value for a message, shortened."""
    try:
        text = repr(value)
    except RecursionError:  # nested some thousand times
        text = f"a {type(value).__name__} nested without end"
    return text if len(text) <= SHOWN_LENGTH else text[: SHOWN_LENGTH - 1] + "…"


def nearest(name: str, known: Sequence[str]) -> str:
    """'; did you mean …?' with the closest known name, or nothing."""
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
