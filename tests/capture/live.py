"""Recording in a process of its own: a JVM can be started once in a process, and Debezium's ends with it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from brokers import ROOT, Unavailable, die_with_parent

_WITHIN_S: Final = 150.0
_UNAVAILABLE: Final = 4


def run(module: str, folder: Path, *needed: str) -> None:
    """Run a recording command; raises Unavailable where it cannot run, AssertionError with its output where it fails."""
    if missing := [name for name in needed if find_spec(name) is None]:
        raise Unavailable(f"not installed: {', '.join(missing)}: they come with the extra `services`")
    path = os.pathsep.join(filter(None, (str(ROOT / "tests"), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(folder)], env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, preexec_fn=die_with_parent,
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=_WITHIN_S)
    finally:
        process.kill()
    text = said.decode(errors="replace")[-3000:]
    if process.returncode == _UNAVAILABLE:
        raise Unavailable(text)
    assert process.returncode == 0, f"{module} ended with {process.returncode}:\n{text}"
