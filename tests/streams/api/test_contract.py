"""Whatever is sent, the API answers as its own OpenAPI document says, and never with a 500."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from api_firm import Firm
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks

pytestmark = pytest.mark.xdist_group("contract")  # the firm is furnished once

EXAMPLES = 12  # for each address and for each of right and wrong input
STREAM = "/v1/stream"  # never ends: its tests are in test_stream.py
CHECKS = (
    checks.not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_schema_conformance,
)  # fmt: skip


def addresses() -> Iterator[tuple[str, str, str]]:
    """Every documented address but the stream, with right input, and with wrong input where it takes any."""
    for path, methods in Firm(Path()).app().openapi()["paths"].items():
        for method, operation in methods.items():
            if path != STREAM:
                yield method, path, "positive"
            if path != STREAM and (operation.get("parameters") or "requestBody" in operation):
                yield method, path, "negative"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The documented addresses over a furnished firm with a snapshot."""
    firm = Firm(tmp_path_factory.mktemp("contract"))
    firm.furnish()
    firm.publish()
    firm.keys = {"a": "0123456789abcdefghijklmnopqrstuv"}
    yield schemathesis.openapi.from_asgi("/openapi.json", firm.app())
    firm.snapshot.close()


@pytest.mark.parametrize(("method", "path", "mode"), list(addresses()))
def test_no_request_breaks_an_address(document: Any, method: str, path: str, mode: str) -> None:
    """Status, media type and shape are the documented ones, for input that the document allows and that it forbids."""
    requests = document[path][method].as_strategy(generation_mode=schemathesis.GenerationMode(mode))

    @given(requests)
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def holds(request: Any) -> None:
        request.call_and_validate(checks=list(CHECKS))

    holds()
