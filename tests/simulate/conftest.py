"""One story for all tests of the simulator: telling it takes most of a second."""

from __future__ import annotations

import pytest

from tieout.streams.simulate.story import Story, tell


@pytest.fixture(scope="session")
def story() -> Story:
    """The four weeks with faults and look-alikes."""
    return tell()


@pytest.fixture(scope="session")
def baseline() -> Story:
    """The same firm when nothing goes wrong."""
    return tell(faults=False)
