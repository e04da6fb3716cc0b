"""Captures: what `kcat -J` writes, what people write by hand, binary content, and damage."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieout.codecs.capture import read, read_lines, to_line, write
from tieout.codecs.errors import BadCapture
from tieout.codecs.records import RawRecord

KCAT = (b'{"topic":"raw","partition":1,"offset":5,"tstype":"create","ts":1773164531000,"broker":0,'
        b'"headers":["a","1","b",null],"key":"k","payload":"{\\"x\\":1}"}\n')

LINES = [
    # line                                       key   payload               headers
    ({"key": "k", "payload": "p"},               b"k", b"p",                 ()),
    ({"key": None, "payload": None},             None, None,                 ()),
    ({},                                         None, None,                 ()),
    ({"payload": {"a": [1, None]}},              None, b'{"a":[1,null]}',    ()),
    ({"key": {"id": 1}, "payload": ""},          b'{"id":1}', b"",             ()),
    ({"key_b64": "AAE=", "payload_b64": "AAAC"}, b"\0\1", b"\0\0\2",           ()),
    ({"headers": ["a", "x", "a", {"id": 1}]},    None, None,                 (("a", b"x"), ("a", b'{"id":1}'))),
    ({"headers_b64": ["a", "AAE=", "b", None]},  None, None,                 (("a", b"\0\1"), ("b", None))),
]  # fmt: skip


@pytest.mark.parametrize(("line", "key", "payload", "headers"), LINES)
def test_lines(line: dict[str, Any], key: bytes | None, payload: bytes | None, headers: Any) -> None:
    (record,) = read_lines([json.dumps({"topic": "t", **line}).encode()])
    assert (record.key, record.value, record.headers) == (key, payload, headers)


def test_a_line_of_kcat() -> None:
    record = RawRecord("raw", 1, 5, 1773164531000, b"k", b'{"x":1}', (("a", b"1"), ("b", None)))
    assert list(read_lines([KCAT])) == [record]
    assert list(read_lines([to_line(record)])) == [record]


def test_what_a_line_leaves_out_is_numbered_by_partition() -> None:
    lines = [b'{"topic":"a"}', b"", b'{"topic":"b"}', b'{"topic":"a"}', b'{"topic":"a","offset":9}', b'{"topic":"a"}',
             b'{"topic":"a","partition":1}']
    found = [(record.topic, record.partition, record.offset, record.ts_ms) for record in read_lines(lines)]
    assert found == [("a", 0, 0, -1), ("b", 0, 0, -1), ("a", 0, 1, -1), ("a", 0, 9, -1), ("a", 0, 10, -1),
                     ("a", 1, 0, -1)]


REFUSED = [
    # line                                                            words
    (b"{",                                                            "line 2: found"),
    (b"[]",                                                           "line 2: found [], expected a JSON object"),
    (b'{"partition":0}',                                              "line 2: topic: found None"),
    (b'{"topic":"t","offset":"5"}',                                   "line 2: offset: found '5'"),
    (b'{"topic":"t","ts":1.5}',                                       "line 2: ts: found 1.5"),
    (b'{"topic":"t","payload_b64":"?"}',                              "line 2: payload_b64: found '?'"),
    (b'{"topic":"t","key_b64":7}',                                    "line 2: key_b64: found 7"),
    (b'{"topic":"t","headers":["a"]}',                                "line 2: headers: found ['a']"),
    (b'{"topic":"t","headers":[1,"a"]}',                              "line 2: headers"),
    (b'{"topic":"t","headers":{"a":"b"}}',                            "line 2: headers"),
    (b'{"topic":"t","headers_b64":["a","?"]}',                        "line 2: headers_b64: found '?'"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "words"), REFUSED)
def test_refuses(line: bytes, words: str) -> None:
    with pytest.raises(BadCapture) as caught:
        list(read_lines([KCAT, line], "x.jsonl"))
    assert f"x.jsonl, {words}" in str(caught.value)
    assert caught.value.hint


def test_a_line_cut_at_any_byte_is_refused() -> None:
    line = KCAT.rstrip()
    for cut in range(1, len(line)):
        with pytest.raises(BadCapture):
            list(read_lines([line[:cut]]))


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_files_plain_and_compressed(tmp_path: Path, name: str) -> None:
    records = [RawRecord("t", 0, number, number, b"\xff", None, (("h", b"\xfe"),)) for number in range(100)]
    path = tmp_path / name
    assert write(path, records) == 100
    assert list(read(path)) == records
    assert path.read_bytes().startswith(b"\x1f\x8b") is name.endswith(".gz")
    path.rename(tmp_path / "other")
    assert list(read(tmp_path / "other")) == records, "the content says whether a file is compressed, not the name"


def test_a_cut_gzip_file_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(KCAT * 50)
    for cut in (3, 12, len(whole) // 2, len(whole) - 1):
        path = tmp_path / f"{cut}.gz"
        path.write_bytes(whole[:cut])
        with pytest.raises(BadCapture, match="after line"):
            list(read(path))


_BYTES = st.none() | st.binary(max_size=8) | st.text(max_size=8).map(str.encode)
_RECORDS = st.builds(
    RawRecord, st.text(min_size=1, max_size=8), st.integers(0, 99), st.integers(0, 2**53), st.integers(-1, 2**53),
    _BYTES, _BYTES, st.lists(st.tuples(st.text(max_size=4), _BYTES), max_size=3).map(tuple))


@given(st.lists(_RECORDS, max_size=5))
def test_reading_what_was_written_gives_it_back(records: list[RawRecord]) -> None:
    assert list(read_lines(map(to_line, records))) == records
