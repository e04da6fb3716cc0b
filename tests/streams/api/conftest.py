"""Fixtures of the API's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from api_firm import Firm, http


@pytest.fixture
def firm(tmp_path: Path) -> Firm:
    """An empty firm whose topics have been read to their ends."""
    made = Firm(tmp_path)
    made.live.ready.set()
    return made


@pytest.fixture
def furnished(firm: Firm) -> Firm:
    """A firm with numbers."""
    firm.furnish()
    return firm


@pytest.fixture
async def client(furnished: Firm) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP against the application over the furnished firm, without a network."""
    async with http(furnished.app()) as made:
        yield made


@pytest.fixture
def anyio_backend() -> str:
    """Tests marked anyio run on asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _release(firm: Firm) -> Iterator[None]:
    yield
    firm.snapshot.close()
