"""The table of messages in codecs/messages, as records for a broker."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

Case = dict[str, Any]


def rows() -> list[Case]:
    """Every case of every file."""
    files = sorted((Path(__file__).parent / "codecs" / "messages").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def content(case: Case, name: str) -> bytes | None:
    """The bytes of key or value."""
    if f"{name}_b64" in case:
        return b64decode(case[f"{name}_b64"], validate=True)
    value = case.get(name)
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else json.dumps(value, ensure_ascii=False).encode()
