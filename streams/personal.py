"""Personal data, masked until somebody may see it: names, e-mail addresses, cost rates, and raw records that hold them.

The domain keeps no names: people are worker numbers. What is personal comes with the decisions of users (who decided),
with records that could not be read, and with texts that a source put an address into.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

MASK: Final = "***"
COLUMNS: Final = frozenset({"actor", "payload", "key", "headers"})  # of rows that hold decisions or records
ATTRIBUTES: Final = frozenset({"cost_rate", "name", "email"})  # a finding about one shows the values in its text
_OURS: Final = "tieout"  # what the program itself did has no person behind it

_EMAIL: Final = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")  # of a snake_case or camelCase name
_PERSONAL: Final = frozenset({
    "name", "firstname", "lastname", "fullname", "surname", "email", "mail", "phone", "mobile", "actor", "user",
    "username", "author", "salary", "wage", "iban", "birthdate", "ssn",
})  # fmt: skip


def masked_text(text: str) -> str:
    """The text without e-mail addresses."""
    return _EMAIL.sub(MASK, text) if "@" in text else text


def masked_value(name: str, value: Any) -> Any:
    """The value of a column as it is shown without `detail:read`."""
    if value is None or value == _OURS:
        return value
    if name in ("payload", "key"):
        return masked_record(value)
    if name in COLUMNS:
        return MASK
    if name == "message" and isinstance(value, str):  # why a record could not be read quotes what stood there
        return _QUOTED.sub(f"'{MASK}'", masked_text(value))
    if isinstance(value, str):
        return masked_text(value)
    if isinstance(value, list | tuple):
        return [masked_text(item) if isinstance(item, str) else item for item in value]
    return value


def masked_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Rows of a result as they are shown without `detail:read`."""
    return [tuple(masked_value(name, value) for name, value in zip(columns, row, strict=True)) for row in rows]


def masked_finding(row: Mapping[str, Any]) -> dict[str, Any]:
    """A finding without values of personal attributes and without e-mail addresses."""
    shown = {name: masked_value(name, value) for name, value in row.items()}
    if row.get("attribute") in ATTRIBUTES:
        hidden = ("left_value", "right_value", "explanation")
        shown |= {name: MASK for name in hidden if shown.get(name) is not None}
    return shown


def masked_record(value: bytes | str) -> str:
    """A raw record with its shape and without what is personal in it; what is not JSON is only counted."""
    try:
        document = json.loads(value)
    except (ValueError, UnicodeDecodeError):
        return f"{MASK} ({len(value)} bytes)"
    return json.dumps(_masked(document), ensure_ascii=False)


def _masked(value: Any, name: str = "") -> Any:
    if isinstance(value, dict) and not _is_personal(name):
        cost = value.get("kind") == "COST"
        return {key: MASK if cost and key == "rate" else _masked(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, name) for item in value]
    if value is not None and not isinstance(value, bool) and _is_personal(name):
        return MASK
    return masked_text(value) if isinstance(value, str) else value


def _is_personal(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    return not _PERSONAL.isdisjoint((*words, "".join(words))) or "cost rate" in " ".join(words)
