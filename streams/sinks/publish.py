"""The published snapshot: a copy of the store under a new name, and a symbolic link swapped to it.

Readers open `<directory>/analytics.duckdb` read-only and never meet the writer's lock. A new name each time, since a
process that still has the old file open would get it again from DuckDB's cache under the same path.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

import duckdb

from tieout.streams import clock
from tieout.streams.sinks.store import Store

SNAPSHOT: Final = "analytics.duckdb"  # the link that readers open
_KEPT: Final = 3
_COPY_SHARE: Final = 20  # the copy may take a twentieth of the time

log = logging.getLogger(__name__)


class Publisher:
    """Publishes at most every `every_s` seconds, and less often when the copy takes long."""

    def __init__(self, directory: Path, every_s: float) -> None:
        self._directory = directory
        self._every_s = every_s
        self._next_s = clock.monotonic_s()
        self.published_us: int | None = None
        directory.mkdir(parents=True, exist_ok=True)
        for leftover in directory.glob(".analytics_*"):  # of a publisher that was killed while it copied
            leftover.unlink()

    @property
    def snapshot(self) -> Path:
        """What readers open."""
        return self._directory / SNAPSHOT

    def due(self) -> bool:
        """Whether it is time again."""
        return clock.monotonic_s() >= self._next_s

    def publish(self, store: Store) -> bool:
        """Publish the store as it is now; False (and the reason in the log) when the disk does not let us."""
        began_s = clock.monotonic_s()
        now_us = clock.now_us()
        try:
            self._swap(self._copy(store, f"analytics_{now_us}.duckdb"))
            self._remove_old()
        except (OSError, duckdb.Error) as error:
            log.error("snapshot not published, readers keep the one before: %s", error)
            self._next_s = clock.monotonic_s() + self._every_s
            return False
        copied_s = clock.monotonic_s() - began_s
        self._next_s = began_s + max(self._every_s, _COPY_SHARE * copied_s)
        self.published_us = now_us
        return True

    def _copy(self, store: Store, name: str) -> str:
        hidden = self._directory / f".{name}"
        try:
            store.copy_to(hidden)
            hidden.rename(self._directory / name)
        except (OSError, duckdb.Error):
            hidden.unlink(missing_ok=True)
            raise
        return name

    def _swap(self, name: str) -> None:
        link = self._directory / f"{SNAPSHOT}.tmp"
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        os.replace(link, self.snapshot)

    def _remove_old(self) -> None:
        for old in sorted(self._directory.glob("analytics_*.duckdb"))[:-_KEPT]:
            old.unlink()
