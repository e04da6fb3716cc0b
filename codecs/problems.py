"""What is wrong with a file, collected so that all of it is said at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tieout.codecs.errors import nearest


class Problems:
    """The problems of one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[str] = []

    def add(self, place: str, message: str) -> None:
        """Note a problem at a key."""
        self.found.append(f"{self.file}: {place}: {message}")

    def unknown(self, place: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
        """Note the keys of a table that mean nothing."""
        for key in table:
            if key not in known:
                self.add(f"{place}.{key}".lstrip("."), f"no such key{nearest(key, known)}; known: {', '.join(known)}")

    def typed(self, place: str, value: Any, kind: type, default: Any) -> Any:
        """The value when it is of that kind, else the default and a problem."""
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        self.add(place, f"found {value!r}, expected {_KINDS[kind]}")
        return default


_KINDS: Final = {str: "text", int: "an integer", bool: "true or false", dict: "a table", list: "a list"}
