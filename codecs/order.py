"""Order tokens: where a change stands in its source's own log, as text that sorts.

=============  ==============================================================================
salesforce     commit number (20 digits), sequence number (10)
dataverse      row version (20 digits); a delete comes behind the version that it names, or behind all
cloudevents    `sequence`, else time (20 digits) and hash of the data
postgresql     last commit lsn, lsn (20 digits each)
sqlserver      commit lsn, change lsn, event serial number (an update has 1 and 2)
mysql          file, position (12 digits), row (4 digits); a failover starts a new epoch
oracle         commit scn, scn, rs id, ssn
=============  ==============================================================================

Time never orders: equal milliseconds inside one transaction are normal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from tieout.codecs.errors import MissingOrder, shown

Block = Mapping[str, Any]


def order_token(source: Block) -> str:
    """The token of a change from the `source` block of its envelope; MissingOrder when there is none."""
    connector = source.get("connector")
    build = _TOKENS.get(connector) if isinstance(connector, str) else None
    if build is None:
        raise MissingOrder(f"source.connector: found {shown(connector)}, expected one of {', '.join(_TOKENS)}")
    return build(source)


def _number(source: Block, name: str) -> int:
    """A member that is a whole number, as JSON number or text."""
    value = source.get(name)
    if type(value) is int and value >= 0:
        return value
    if type(value) is str and value.isascii() and value.isdigit():
        return int(value)
    raise MissingOrder(f"source.{name}: found {shown(value)}, expected a whole number")


def _text(source: Block, name: str) -> str:
    """A member that is text, empty where it is not said."""
    value = source.get(name)
    if value is None or type(value) is str:
        return value or ""
    raise MissingOrder(f"source.{name}: found {shown(value)}, expected text")


def _postgresql(source: Block) -> str:
    """The last commit comes first: rows of interleaved transactions have lsns that go up and down.

    It is null in a snapshot of a new connector and before the first commit that it saw. The row's own lsn stands in:
    that puts a snapshot behind all that was committed before it and ahead of all that comes after.
    """
    lsn = _number(source, "lsn")
    commit = _last_commit(source.get("sequence"))
    return f"{lsn if commit is None else commit:020d}:{lsn:020d}"


def _last_commit(sequence: Any) -> int | None:
    """The first member of '["24023119","24023128"]'."""
    if sequence is None:
        return None
    try:
        commit = orjson.loads(sequence)[0]
        return None if commit is None else int(commit)
    except (ValueError, TypeError, LookupError):
        raise MissingOrder(f"source.sequence: found {shown(sequence)}, expected '[\"commit lsn\",\"lsn\"]'") from None


_NO_LSN: Final = "00000000:00000000:0000"


def _sqlserver(source: Block) -> str:
    """Log sequence numbers are hexadecimal of fixed width; a snapshot has no change lsn."""
    commit = source.get("commit_lsn")
    if type(commit) is not str or not commit:
        raise MissingOrder(f"source.commit_lsn: found {shown(commit)}, expected text like {_NO_LSN!r}")
    change = _text(source, "change_lsn") or _NO_LSN
    serial = 0 if source.get("event_serial_no") is None else _number(source, "event_serial_no")
    return f"{commit.lower()}|{change.lower()}|{serial:06d}"


def _mysql(source: Block) -> str:
    """The number of a binlog file grows a digit after 999999, so it is padded further."""
    file = source.get("file")
    name, _, number = file.rpartition(".") if isinstance(file, str) else ("", "", "")
    if not (number.isascii() and number.isdigit()):
        raise MissingOrder(f"source.file: found {shown(file)}, expected a binlog file like 'binlog.000412'")
    row = 0 if source.get("row") is None else _number(source, "row")
    return f"mysql:{name}.{int(number):010d}:{_number(source, 'pos'):012d}:{row:04d}"


def _oracle(source: Block) -> str:
    """System change numbers are decimal text; a snapshot has no commit scn."""
    scn = _number(source, "scn")
    commit = scn if source.get("commit_scn") is None else _number(source, "commit_scn")
    ssn = 0 if source.get("ssn") is None else _number(source, "ssn")
    return f"{commit:020d}:{scn:020d}:{_text(source, 'rs_id')}:{ssn:010d}"


_TOKENS: Final[Mapping[str, Callable[[Block], str]]] = {
    "postgresql": _postgresql, "sqlserver": _sqlserver, "mysql": _mysql, "mariadb": _mysql, "oracle": _oracle,
}


def order_text(value: Any, row: Block) -> str:
    """A column that orders: numbers and instants padded with zeros, text as it is."""
    if isinstance(value, int) and type(value) is not bool and value >= 0:
        return f"{value:020d}"
    if type(value) is str and value:
        return value
    raise MissingOrder(f"found {shown(value)}, expected a whole number or text that sorts")
