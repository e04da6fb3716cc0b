"""What the fuzz targets share: what a decoder may raise, and how libFuzzer drives one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tieout.codecs.errors import DecodeError

CORPUS: Final = Path(__file__).parent / "codecs" / "corpus"


@contextmanager
def refusals() -> Iterator[None]:
    """Nothing but DecodeError may come, and it has a reason of its own and a hint."""
    try:
        yield
    except DecodeError as error:
        if error.reason == "undecodable" or not error.hint:
            raise AssertionError(f"{error!r} has no reason of its own, or no hint") from error


def fuzz(read: Callable[[str, bytes], None]) -> None:
    """Fuzz the target that the command line names until libFuzzer ends."""
    import atheris

    target = sys.argv.pop(1)
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *sys.argv[1:], str(CORPUS / target)], lambda data: read(target, data))
    atheris.Fuzz()
