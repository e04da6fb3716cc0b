"""Coverage-guided fuzzing of the Debezium decoders: `python tests/fuzz_debezium.py TARGET [libFuzzer options]`.

Needs `pip install atheris`. Inputs worth keeping are in `codecs/corpus/<target>`; `codecs/test_corpus.py` reads them in
every test run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson
from avro_firm import COLUMN_KINDS, COMMIT_MS, column, envelope, flat, key, message, schemas, written
from fuzzing import fuzz, refusals

from tieout.codecs.avro_schema import WriterSchema
from tieout.codecs.debezium import DebeziumAvroCodec, DebeziumCodec
from tieout.codecs.debezium_flat import FlatCodec
from tieout.codecs.debezium_rows import Rows
from tieout.codecs.mapping import parse
from tieout.codecs.openers import AnyOpener, AvroOpener, JsonOpener
from tieout.codecs.records import RawRecord
from tieout.codecs.schema_source import Registered

MAPPING: Final = parse("""
name = "t"
version = 1
[[map]]
entity = "rate"
[map.fields]
rate_id = { from = "code", required = true }
rate = { first_of = [{ from = "price", as = "rate", ccy = "GBP" }, { from = "cost", as = "rate", ccy = "GBP" }] }
effective_from = { first_of = [
    { from = "day", null_if = ["infinity"] }, { from = "at", as = "datetime_midnight_date" }] }
scope_key = { first_of = [
    { from = "zoned", as = "text" }, { from = "raw", as = "text" }, { from = "tags", as = "text" }] }
""", "t.toml")
_ROWS: Final = Rows("PSA/home", MAPPING)
_COLUMNS: Final = [column(name, kind) for name, kind in COLUMN_KINDS.items()]
_SCHEMAS: Final = schemas(envelope(_COLUMNS), flat(_COLUMNS), key([column("code", "string", null=False)]))
_KEY: Final = b'{"code":"A"}'
_WRAPPED_KEY: Final = b'{"schema":{"fields":[{"field":"code","type":"string"}]},"payload":{"code":"A"}}'
_DELETE: Final = message(None, "d")
_WRAPPED_DELETE: Final = {"schema": {"type": "struct", "fields": []}, "payload": _DELETE}
_FLAT_DELETE: Final = {"code": "A", "__op": "d", "__lsn": 200, "__source_ts_ms": COMMIT_MS, "__table": "rate",
                       "__deleted": "true"}

Target = Callable[[bytes], Any]


def _record(data: bytes, key: bytes, value: bytes) -> RawRecord:
    """A record of which the first byte says what the rest is: the key, headers, or the value."""
    kind, rest = data[:1], data[1:]
    if kind == b"k":
        return RawRecord("raw", 0, 0, 0, rest, value)
    if kind == b"h":
        headers = (("__lsn", rest), ("__source_ts_ms", b"1"), ("__op", rest[:1]), ("__debezium.oldkey", rest))
        return RawRecord("raw", 0, 0, 0, key, None, headers)
    return RawRecord("raw", 0, 0, 0, key, rest)


def _codec(codec: Any, key: bytes, value: bytes) -> Target:
    return lambda data: [orjson.dumps(change.to_record()) for change in codec.decode(_record(data, key, value)).changes]


def _schema(data: bytes) -> None:
    """The text of a schema, and what it says of columns."""
    schema = WriterSchema(Registered(data.decode(errors="replace")))
    schema.columns()
    schema.columns("after")


TARGETS: Final[dict[str, Target]] = {
    "debezium-json": _codec(DebeziumCodec(_ROWS, JsonOpener(with_schema=False)), _KEY, orjson.dumps(_DELETE)),
    "debezium-json-schema": _codec(DebeziumCodec(_ROWS, JsonOpener(with_schema=True)), _WRAPPED_KEY,
                                   orjson.dumps(_WRAPPED_DELETE)),
    "debezium-avro": _codec(DebeziumAvroCodec(_ROWS, AvroOpener(_SCHEMAS)), _KEY,
                            written(envelope(_COLUMNS), _DELETE, 1)),
    "debezium-flat": _codec(FlatCodec(_ROWS, AnyOpener(AvroOpener(_SCHEMAS))), _KEY, orjson.dumps(_FLAT_DELETE)),
    "avro-schema": _schema,
}


def read(target: str, data: bytes) -> None:
    """Decode an input; nothing but DecodeError is accepted."""
    with refusals():
        TARGETS[target](data)


if __name__ == "__main__":
    fuzz(read)
