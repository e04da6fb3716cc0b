"""Limits and headers: deadlines, row caps, what every answer carries, and SQL that does no more than we wrote."""

from __future__ import annotations

import re
import time

import duckdb
import httpx
import pytest
from api_firm import Firm, http

from tieout.streams.api.headers import HEADERS
from tieout.streams.api.problems import Problem
from tieout.streams.api.snapshot import Snapshot
from tieout.streams.sinks.publish import SNAPSHOT

pytestmark = pytest.mark.anyio


@pytest.fixture
def published(furnished: Firm) -> Firm:
    furnished.publish()
    return furnished


def test_a_query_is_stopped_at_its_deadline(published: Firm) -> None:
    """DuckDB has no limit of its own; afterwards the next query works."""
    snapshot = Snapshot(published.folder / SNAPSHOT, limit_s=0.3)
    begun = time.monotonic()
    with pytest.raises(Problem) as stopped:
        snapshot.rows("SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b")
    assert (stopped.value.status, stopped.value.name) == (503, "query-too-long")
    assert time.monotonic() - begun < 5
    assert snapshot.rows("SELECT 1 AS n") == [{"n": 1}]
    snapshot.close()


def test_more_rows_than_allowed_are_refused(published: Firm) -> None:
    """Not cut silently: a sum of half the rows would be a wrong number."""
    snapshot = Snapshot(published.folder / SNAPSHOT, most_rows=5)
    assert len(snapshot.rows("SELECT * FROM range(5)")) == 5
    with pytest.raises(Problem, match="More than 5 rows") as refused:
        snapshot.rows("SELECT * FROM range(6)")
    assert refused.value.status == 422
    snapshot.close()


@pytest.mark.parametrize("attempt", [
    "SELECT * FROM read_csv('/etc/passwd')", "COPY (SELECT 1) TO '/tmp/tieout-out.csv'", "ATTACH '/tmp/x.duckdb'",
    "INSTALL httpfs", "LOAD httpfs", "SET memory_limit = '9GB'", "SET enable_external_access = true",
    "CREATE TABLE internal.x (a INTEGER)", "DELETE FROM internal.finding", "SELECT 1; DROP VIEW v1.kpi",
])  # fmt: skip
def test_even_sql_of_others_could_not_leave_the_snapshot(published: Firm, attempt: str) -> None:
    """The second line of defence: the API runs no such SQL, and its connection would refuse it."""
    with pytest.raises(duckdb.Error):
        published.snapshot.rows(attempt)


HOSTILE = (
    "' OR 1=1 --", "UK01'; DROP VIEW v1.kpi; --", "x') UNION SELECT * FROM duckdb_settings() --", "\\", "\x00", "%27",
)  # fmt: skip


@pytest.mark.parametrize("path", [
    "/v1/kpis/unbilled_hours?le_code={}", "/v1/kpis/unbilled_hours/series?project_code={}&step=1d",
    "/v1/kpis/unbilled_value/explain?le_code={}", "/v1/kpis/unbilled_hours?compare=previous_day&region={}",
    "/v1/findings?business_key={}",
])  # fmt: skip
async def test_a_hostile_value_is_a_value(published: Firm, path: str) -> None:
    """It matches nothing, changes nothing and breaks nothing."""
    async with http(published.app()) as client:
        for hostile in HOSTILE:
            url = httpx.URL(path.partition("?")[0], params=dict(_pairs(path, hostile)))
            answer = await client.get(url)
            assert answer.status_code == 200, answer.text
            body = answer.json()
            found = body if isinstance(body, list) else body.get("items", body.get("records", []))
            assert found == []
        whole = (await client.get("/v1/kpis/unbilled_value/explain")).json()
        assert whole["records"] != []


def _pairs(path: str, hostile: str) -> list[tuple[str, str]]:
    pairs = (pair.partition("=") for pair in path.partition("?")[2].split("&"))
    return [(name, hostile if value == "{}" else value) for name, _, value in pairs]


async def test_every_route_answers_with_every_header(published: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Good answers and problems of each address, and the error that nobody expected."""
    app = published.app()
    named = {"{kpi_id}": "unbilled_hours", "{finding_id}": "f-1"}
    paths = {re.sub(r"\{\w+\}", lambda found: named[found[0]], path) for path in app.openapi()["paths"]}
    paths |= {"/openapi.json", "/static/tieout.css", "/static/none", "/favicon.ico", "/nothing", "/v1/kpis/none"}
    async with http(app) as client:
        for path in sorted(paths - {"/v1/stream"}):
            for method in ("GET", "POST", "DELETE"):
                answer = await client.request(method, path)
                assert answer.status_code < 500, path
                _check(answer)
        monkeypatch.setattr(published.values, "value", lambda *_: 1 / 0)
        broken = await client.get("/v1/kpis/unbilled_hours?le_code=CANARY")
    assert broken.status_code == 500
    assert "CANARY" not in broken.text
    _check(broken)


def _check(answer: httpx.Response) -> None:
    for name in HEADERS:
        assert answer.headers.get(name), (str(answer.url), name)
    policy = answer.headers["content-security-policy"]
    for part in ("default-src", "base-uri 'none'", "form-action", "frame-ancestors"):
        assert part in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "server" not in answer.headers
    if answer.status_code >= 400:
        assert answer.headers["cache-control"] == "no-store" or "static" in str(answer.url)
