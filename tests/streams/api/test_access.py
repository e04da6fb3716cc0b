"""Who may ask for what: tokens, scopes, hosts, origins and rates, and what every refusal looks like."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_firm import NOON, Firm, http

from tieout.streams.api.access import Access, is_loopback, needed, start_problems
from tieout.streams.api.limits import Buckets
from tieout.streams.settings import Api, Settings, Token

pytestmark = pytest.mark.anyio

SCOPES: Mapping[str, list[Any]] = {
    "reader": ["kpi:read"], "reader_next": ["kpi:read"], "auditor": ["kpi:read", "detail:read"], "operator": ["ops"],
}  # fmt: skip
SECRETS = {name: f"tieout_{name}_0123456789abcdefghij" for name in SCOPES}


def access() -> Access:
    tokens = {
        name: Token(sha256=sha256(secret.encode()).hexdigest(), scopes=SCOPES[name]) for name, secret in SECRETS.items()
    }
    return Access.of(Api(tokens=tokens))


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {SECRETS[name]}"}


def basic(password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'anyone:{password}'.encode()).decode()}"}


@pytest.mark.parametrize(
    ("path", "sent", "status"),
    [
        ("/v1/kpis", {}, 401),
        ("/v1/kpis", {"Authorization": ""}, 401),
        ("/v1/kpis", {"Authorization": "Bearer"}, 401),
        ("/v1/kpis", {"Authorization": "Bearer nonsense"}, 401),
        ("/v1/kpis", {"Authorization": f"Bearer {sha256(SECRETS['reader'].encode()).hexdigest()}"}, 401),
        ("/v1/kpis", {"Authorization": "Basic %%%"}, 401),
        ("/v1/kpis", basic("nonsense"), 401),
        ("/v1/kpis", bearer("reader"), 200),
        ("/v1/kpis", bearer("reader_next"), 200),
        ("/v1/kpis", basic(SECRETS["reader"]), 200),
        ("/v1/kpis/unbilled_hours", bearer("reader"), 200),
        ("/v1/kpis", bearer("operator"), 403),
        ("/metrics", bearer("operator"), 200),
        ("/metrics", bearer("reader"), 403),
        ("/metrics", {}, 401),
        ("/v1/embed-tokens", bearer("reader"), 403),
        ("/v1/findings", {}, 401),
        ("/v1/sources", {}, 401),
        ("/v1/stream", {}, 401),
        ("/", {}, 401),
        ("/", basic(SECRETS["reader"]), 200),
        ("/embed/unbilled_hours", {}, 401),
        ("/embed/unbilled_hours.svg?token=nonsense", {}, 401),
        ("/no/such/address", {}, 401),
        ("/no/such/address", bearer("reader"), 404),
        ("/v1//kpis", {}, 401),
        ("/static/../v1/kpis", {}, 401),
        ("/livez", {}, 200),
        ("/docs", {}, 200),
        ("/openapi.json", {}, 200),
        ("/static/tieout.css", {}, 200),
    ],
)
async def test_every_address_needs_its_scope(furnished: Firm, path: str, sent: dict[str, str], status: int) -> None:
    """Nobody gets a number without a token, and nobody more than its scopes."""
    async with http(furnished.app(access=access())) as client:
        answer = await client.get(path, headers=sent)
    assert answer.status_code == status, answer.text
    if status in (401, 403):
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["cache-control"] == "no-store"
        assert ("www-authenticate" in answer.headers) is (status == 401 and "token=" not in path)


async def test_an_address_that_no_table_names_is_closed(furnished: Firm) -> None:
    """A route that somebody adds needs kpi:read until a table says otherwise."""
    assert needed("/whatever/comes/next") == "kpi:read"
    app = furnished.app(access=access())
    opened = {path for path in app.openapi()["paths"] if needed(path) is None}
    assert opened == {"/docs", "/livez", "/readyz", "/startupz"}


async def test_probes_tell_details_to_operators_alone(furnished: Firm) -> None:
    """What was looked at can hold addresses of brokers."""
    async with http(furnished.app(access=access())) as client:
        assert (await client.get("/readyz")).json() == {"status": "ok"}
        assert (await client.get("/readyz", headers=bearer("reader"))).json() == {"status": "ok"}
        assert (await client.get("/readyz", headers=bearer("operator"))).json() == {"status": "ok", "probe": "ready"}


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:8080", 200), ("localhost", 200), ("LOCALHOST:1", 200), ("[::1]:8080", 200), ("[::1]", 200),
     ("evil.example", 421), ("127.0.0.1.evil.example:8080", 421), ("", 421)],
)  # fmt: skip
async def test_without_tokens_only_this_machines_names_are_answered(furnished: Firm, host: str, status: int) -> None:
    """A page whose name was re-bound to 127.0.0.1 could read everything otherwise."""
    async with http(furnished.app(access=Access.of(Api()))) as client:
        assert (await client.get("/v1/kpis", headers={"Host": host})).status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [(None, 200), ("http://api.test", 200), ("https://bi.example.com", 200), ("https://evil.example", 403),
     ("null", 403)],
)  # fmt: skip
async def test_pages_of_other_sites_change_nothing(furnished: Firm, origin: str | None, status: int) -> None:
    """A form on another site is sent with what the browser remembers; its origin gives it away."""
    furnished.keys = {"a": "0123456789abcdefghijklmnopqrstuv"}
    async with http(furnished.app(cors_origins=("https://bi.example.com",))) as client:
        headers = {"Origin": origin} if origin else {}
        sent = await client.post("/v1/embed-tokens", json={"kpi": "unbilled_hours"}, headers=headers)
    assert sent.status_code == status, sent.text


async def test_scripts_of_named_origins_may_read_and_no_others(furnished: Firm) -> None:
    """CORS names an origin, never a star and never credentials; the preflight needs no token."""
    async with http(furnished.app(access=access(), cors_origins=("https://bi.example.com",))) as client:
        ask = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
        ours = await client.options("/v1/kpis", headers={"Origin": "https://bi.example.com", **ask})
        theirs = await client.options("/v1/kpis", headers={"Origin": "https://evil.example", **ask})
        read = await client.get("/v1/kpis", headers={"Origin": "https://bi.example.com", **bearer("reader")})
        unread = await client.get("/v1/kpis", headers={"Origin": "https://evil.example", **bearer("reader")})
        refused = await client.get("/v1/kpis", headers={"Origin": "https://bi.example.com"})
    assert (ours.status_code, theirs.status_code) == (200, 400)
    for answer in (ours, read, refused):
        assert answer.headers["access-control-allow-origin"] == "https://bi.example.com"
        assert "access-control-allow-credentials" not in answer.headers
    for answer in (theirs, unread):
        assert "access-control-allow-origin" not in answer.headers


async def test_without_origins_there_is_no_cors(client: httpx.AsyncClient) -> None:
    """The default lets no other site's script read anything."""
    answer = await client.get("/v1/kpis", headers={"Origin": "https://bi.example.com"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origin", ["*", "https://*.example.com", "https://a.example/path", "a.example", "javascript:"])
def test_wildcards_are_no_origins(origin: str) -> None:
    """Neither for scripts nor for frames."""
    for key in ("cors_origins", "frame_ancestors"):
        with pytest.raises(ValueError, match="an origin without path or wildcard"):
            Api.model_validate({key: [origin]})


async def test_beyond_the_rate_a_token_waits_and_others_do_not(furnished: Firm) -> None:
    """429 with the seconds to wait; probes are never counted."""
    now = [0.0]
    app = furnished.app(access=access(), buckets=Buckets(3, lambda: now[0]))
    async with http(app) as client:
        async def status(name: str, path: str = "/v1/kpis") -> int:
            return (await client.get(path, headers=bearer(name))).status_code

        assert [await status("reader") for _ in range(4)] == [200, 200, 200, 429]
        answer = await client.get("/v1/kpis", headers=bearer("reader"))
        assert answer.headers["retry-after"] == "20"
        assert answer.json()["type"] == "/docs#problem-too-many-requests"
        assert await status("auditor") == 200
        assert [await status("reader", "/livez") for _ in range(5)] == [200] * 5
        now[0] = 20.0
        assert [await status("reader") for _ in range(2)] == [200, 429]
        guesses = [(await client.get("/v1/kpis", headers={"Authorization": f"Bearer {n}"})).status_code
                   for n in range(5)]  # fmt: skip
        assert guesses == [401, 401, 401, 429, 429]


def test_forgotten_callers_take_no_memory() -> None:
    """Addresses are endless: the ones longest unheard of are forgotten."""
    buckets = Buckets(60, lambda: 0.0)
    for number in range(12_000):
        assert buckets.take(str(number)) == 0
    assert len(buckets._buckets) == 10_000


@pytest.mark.parametrize(
    ("host", "starts"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.7", False), ("api.internal", False), ("", False)],
)  # fmt: skip
def test_beyond_loopback_it_starts_with_tokens_alone(host: str, starts: bool, tmp_path: Path) -> None:
    """An open API on a network is refused, with what to do; a token or an explicit word lifts that."""
    assert is_loopback(host) is starts
    found = [str(problem) for problem in start_problems(Api(host=host))]
    assert (not found) is starts
    assert all("tieout token new" in problem for problem in found)
    token = Token(sha256=sha256(b"one that is long enough").hexdigest(), scopes=["ops"])
    assert start_problems(Api(host=host, tokens={"a": token})) == []
    assert start_problems(Api(host=host, open_to_network=True)) == []


def test_the_process_refuses_to_start_open(caplog: pytest.LogCaptureFixture) -> None:
    """Exit code 3, before any port is bound."""
    from tieout.streams.api.server import run

    assert run(Settings.model_validate({"api": {"host": "0.0.0.0"}})) == 3
    assert "tieout token new" in caplog.text


def test_two_names_cannot_share_a_token() -> None:
    """Rotation means two tokens, not one under two names."""
    token = Token(sha256=sha256(SECRETS["reader"].encode()).hexdigest(), scopes=["ops"])
    with pytest.raises(ValueError, match="same sha256"):
        Api(tokens={"a": token, "b": token})


def test_lists_come_from_variables_as_well() -> None:
    """A variable holds them with commas."""
    given = {"tokens": {"a": {"sha256": sha256(b"long enough").hexdigest(), "scopes": "kpi:read, ops"}},
             "cors_origins": "https://a.example,https://b.example"}  # fmt: skip
    api = Api.model_validate(given)
    assert api.tokens["a"].scopes == ["kpi:read", "ops"]
    assert api.cors_origins == ["https://a.example", "https://b.example"]


PERSON = "jane.canary@example.com"


async def test_personal_data_is_masked_without_detail_read(furnished: Firm) -> None:
    """Who decided, addresses in texts, and values of personal attributes; numbers stay."""
    furnished.finding("f-9", explanation=f"approved by {PERSON}", impact_minor=1)
    furnished.finding("f-8", attribute="cost_rate", left_value="95.00 GBP/h", right_value="90.00 GBP/h", currency="GBP")
    furnished.step("f-9", "ACKED", NOON)
    step = furnished.outcomes.pop()
    assert step.row
    furnished.outcomes.append(step._replace(row={**step.row, "actor": PERSON, "reason": f"agreed with {PERSON}"}))
    furnished.publish()
    async with http(furnished.app(access=access())) as client:
        async def read(path: str, name: str) -> str:
            return (await client.get(path, headers=bearer(name))).text

        for path in ("/v1/findings?limit=1000", "/v1/findings?format=csv", "/v1/findings/f-9", "/v1/findings/f-8", "/"):
            masked = await read(path, "reader")
            assert PERSON not in masked, path
            assert "95.00 GBP/h" not in masked, path
        assert PERSON in await read("/v1/findings/f-9", "auditor")
        assert "95.00 GBP/h" in await read("/v1/findings/f-8", "auditor")
        history = (await client.get("/v1/findings/f-9", headers=bearer("reader"))).json()["history"]
        assert [(step["actor"], step["reason"]) for step in history] == [("***", "agreed with ***")]
    async with http(furnished.app()) as client:
        assert PERSON not in (await client.get("/v1/findings")).text, "open is not detailed"
    assert PERSON not in str(list(furnished.publisher.start(None)))


async def test_the_access_log_has_no_queries_and_no_tokens(
    furnished: Firm, caplog: pytest.LogCaptureFixture
) -> None:
    """Route, status, milliseconds and the token's name."""
    caplog.set_level(logging.INFO)
    async with http(furnished.app(access=access())) as client:
        await client.get("/v1/findings?project_code=CANARY-QUERY", headers=bearer("reader"))
        await client.get("/embed/unbilled_hours?token=CANARY-TOKEN")
        await client.get("/CANARY-PATH", headers={"Authorization": "Bearer CANARY-BEARER"})
    lines = [record.getMessage() for record in caplog.records if record.name.endswith("access_log")]
    assert [line.split(" ms ")[0].rpartition(" ")[0] + line.rpartition(" ms")[2] for line in lines] == [
        "GET /v1/findings 200 reader", "GET (none) 401 nobody", "GET (none) 401 nobody",
    ]  # fmt: skip
    ours = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("httpx"))
    assert "CANARY" not in ours
    assert SECRETS["reader"] not in ours
