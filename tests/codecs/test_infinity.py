"""PostgreSQL's infinite dates as Debezium writes them: overflowed, and with the wrong sign."""

from __future__ import annotations

import pytest

from tieout.codecs.columns import text_of
from tieout.codecs.wire_types import wire_type

# As captured with Debezium 3.6.3 from PostgreSQL 18; a real date stands beside them.
DAYS = [
    ("date", -622191234, "infinity"), ("date", -625821272, "-infinity"), ("date", -2147472692, "infinity"),
    ("date", -2147472691, "-infinity"), ("date", 20522, "2026-03-10"),
    ("iso_date", "+292278994-08-16Z", "infinity"), ("iso_date", "+292269055-12-02Z", "-infinity"),
    ("iso_date", "-5877611-06-21Z", "infinity"), ("iso_date", "-5877611-06-22Z", "-infinity"),
    ("iso_date", "2026-03-10Z", "2026-03-10"), ("iso_date", "+10000-01-01Z", "infinity"),
    ("timestamp", 9223372036825200, "infinity"), ("micro_timestamp", -9223372036832400000, "-infinity"),
    ("zoned_timestamp", "infinity", "infinity"), ("zoned_timestamp", "-infinity", "-infinity"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "wire", "text"), DAYS)
def test_infinity_is_told_from_minus_infinity(kind: str, wire: int | str, text: str) -> None:
    decode = wire_type(kind)
    assert decode is not None
    assert text_of(decode(wire)) == text
