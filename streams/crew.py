"""Child processes that live and die together: when one ends, the others are stopped."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from tieout.streams import clock

_GRACE_S: Final = 20.0
_POLL_S: Final = 0.05
_PROBE_S: Final = 2.0
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Ended:
    """A child that ended by itself."""

    role: str
    code: int


@dataclass(slots=True)
class Crew:
    """Children by role. `logs`: a folder for what they write, or None when they write where the parent does."""

    logs: Path | None = None
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, role: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        """Start a child in a process group of its own, so that Ctrl-C reaches the parent alone."""
        output = self._log(role).open("wb") if self.logs else None
        try:
            self.children[role] = subprocess.Popen(
                [sys.executable, "-m", *command], stdout=output, stderr=subprocess.STDOUT if output else None,
                stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})}, start_new_session=True,
            )
        finally:
            if output:
                output.close()

    def ended(self) -> Ended | None:
        """The first child found to have ended, if any."""
        for role, child in self.children.items():
            if (code := child.poll()) is not None:
                return Ended(role, code)
        return None

    def stop(self, grace_s: float = _GRACE_S) -> dict[str, int]:
        """Ask every child to end, kill those that do not; exit codes by role."""
        for child in self.children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        deadline_s = clock.monotonic_s() + grace_s
        codes = {}
        for role, child in self.children.items():
            try:
                codes[role] = child.wait(max(_POLL_S, deadline_s - clock.monotonic_s()))
            except subprocess.TimeoutExpired:
                child.kill()
                codes[role] = child.wait()
        return codes

    def tail(self, role: str, lines: int = 15) -> str:
        """The last lines that a child wrote."""
        if not self.logs:
            return ""
        text = self._log(role).read_text(encoding="utf-8", errors="replace")
        return "\n".join(map(readable, text.splitlines()[-lines:]))

    def _log(self, role: str) -> Path:
        assert self.logs is not None
        return self.logs / f"{role}.log"


def end_with_parent() -> None:
    """Called in a child: have it told to end when its parent dies, however that dies. Only Linux can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def readable(line: str) -> str:
    """A JSON log line as people read it: level and event, and the exception's last line; others as they are."""
    try:
        said = json.loads(line)
    except ValueError:
        return line
    if not isinstance(said, dict) or "event" not in said:
        return line
    cause = str(said.get("exception", "")).strip().rpartition("\n")[2]
    return f"{str(said.get('level', '')).upper():8} {said['event']}{f' <- {cause}' if cause else ''}"


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def answers(url: str) -> bool:
    """Whether an HTTP address says 200."""
    try:
        with urlopen(url, timeout=_PROBE_S) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
