"""Freeze the output schemas at a release, into `schemas/released.json`: `python tests/upgrades/schemas.py VERSION`.

What is in that file is never changed: somewhere a reader was made with it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tieout.schemas import avsc, names, released

FILE = Path(__file__).parents[2] / "schemas" / "released.json"


def bare(schema: Any) -> Any:
    """A schema without what its fields mean: only what readers resolve by."""
    if isinstance(schema, dict):
        return {name: bare(value) for name, value in schema.items() if name != "doc"}
    return [bare(each) for each in schema] if isinstance(schema, list) else schema


def freeze(version: str) -> None:
    """Add today's schemas under a version that is not there yet."""
    known = released()
    if version in known:
        raise SystemExit(f"{version} is frozen already: a release is never written again")
    known[version] = {name: bare(avsc(name)) for name in names()}
    FILE.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    freeze(sys.argv[1])
