"""Python's cyclic collector beside tables that are large, stay, and have no cycles: every look through them is in vain.

What is applied is frozen, so that the collector does not see it; what Faust and asyncio leave behind is looked through
before every frame, while there is little of it. See ADR 9.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def calm() -> None:
    """Freeze what a process has loaded, and look by itself only for what comes of very much."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def sweep() -> None:
    """Find cycles among what was made since the last `keep`."""
    gc.collect(0)


def keep() -> None:
    """Do not look again through what there is now. It goes as soon as nothing refers to it, unless it is in a cycle."""
    gc.freeze()


@contextmanager
def off() -> Iterator[None]:
    """No looking for cycles while tables are built, and none in them afterwards: they are made of what stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
