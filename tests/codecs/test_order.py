"""Order tokens: in the order of the source's log they sort as text."""

from __future__ import annotations

from typing import Any

import pytest

from tieout.codecs.errors import MissingOrder
from tieout.codecs.order import order_token


def pg(sequence: str | None, lsn: int) -> dict[str, Any]:
    return {"connector": "postgresql", "lsn": lsn, "sequence": sequence}


def mssql(commit: str, change: str | None, serial: int | None) -> dict[str, Any]:
    return {"connector": "sqlserver", "commit_lsn": commit, "change_lsn": change, "event_serial_no": serial}


def mysql(file: str, pos: int, row: int | None = 0) -> dict[str, Any]:
    return {"connector": "mysql", "file": file, "pos": pos, "row": row}


ORDERS: dict[str, list[dict[str, Any]]] = {
    "postgresql: snapshot, then interleaved transactions whose lsns go down": [
        pg('[null,"90"]', 90), pg('[null,"95"]', 95), pg('["99","120"]', 120), pg('["130","110"]', 110),
        pg('["130","1000"]', 1000), pg('["9999","200"]', 200)],
    "postgresql: a snapshot of a new connector is behind what was streamed before": [
        pg('["100","150"]', 150), pg('[null,"180"]', 180), pg('[null,"181"]', 181), pg('["190","191"]', 191)],
    "postgresql: without sequence": [pg(None, 9), pg(None, 10)],
    "sqlserver": [
        mssql("00000027:00000758:0005", None, None), mssql("00000027:00000758:0005", "00000027:00000758:0003", 1),
        mssql("00000027:00000758:0005", "00000027:00000758:0003", 2),
        mssql("00000027:00000758:0005", "00000027:00000758:0004", 1), mssql("0000002A:00000001:0001", "x", 1)],
    "mysql: rows, positions, files, a number of one more digit": [
        mysql("binlog.000412", 9, 0), mysql("binlog.000412", 9, 1), mysql("binlog.000412", 9, 10),
        mysql("binlog.000412", 48211934), mysql("binlog.000413", 4), mysql("binlog.999999", 4),
        mysql("binlog.1000000", 4)],
    "oracle": [
        {"connector": "oracle", "scn": "99"}, {"connector": "oracle", "scn": "98", "commit_scn": "100", "ssn": 1},
        {"connector": "oracle", "scn": "98", "commit_scn": "100", "ssn": 2},
        {"connector": "oracle", "scn": "97", "commit_scn": "101", "ssn": 0}],
}


@pytest.mark.parametrize("name", ORDERS)
def test_tokens_sort_as_text(name: str) -> None:
    tokens = [order_token(source) for source in ORDERS[name]]
    assert tokens == sorted(tokens)
    assert len(set(tokens)) == len(tokens)


REFUSED: list[dict[str, Any]] = [
    {}, {"connector": "mongodb"}, {"connector": 7}, pg("nonsense", 1), pg('["a","b"]', 1), pg("[]", 1),
    {"connector": "postgresql", "lsn": -1}, {"connector": "postgresql", "lsn": "x"}, mssql("", None, 1),
    mysql("binlog", 4), {"connector": "mysql", "file": "b.1"}, {"connector": "oracle"}]


@pytest.mark.parametrize("source", REFUSED)
def test_refuses(source: dict[str, Any]) -> None:
    with pytest.raises(MissingOrder, match="found"):
        order_token(source)
