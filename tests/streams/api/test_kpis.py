"""KPI addresses: values, shapes, caching, refusals, and numbers that open into rows."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import Any

import httpx
import pytest
from api_firm import DAY, NOON, UK, Firm, http

pytestmark = pytest.mark.anyio


def exactly(response: httpx.Response) -> Any:
    """The body with its decimals as they were written."""
    assert response.status_code == 200, response.text
    return json.loads(response.text, parse_float=Decimal)


async def test_catalogue_says_what_each_kpi_is(client: httpx.AsyncClient) -> None:
    entries = exactly(await client.get("/v1/kpis"))
    by_id = {entry["id"]: entry for entry in entries}
    assert {"unbilled_hours", "unbilled_value", "held_hours", "unsynchronised_assignments", "sync_lag"} <= by_id.keys()
    for entry in entries:
        assert all(entry[name] for name in ("title", "definition", "unit", "formula", "direction", "view")), entry
    assert by_id["unbilled_value"]["dimensions"].count("currency") == 1
    assert by_id["unsynchronised_assignments"]["sources"] == ["SCHED", "PSA", "ERP"]


async def test_value_has_the_published_form(client: httpx.AsyncClient) -> None:
    body = exactly(await client.get("/v1/kpis/unbilled_hours"))
    assert {
        "id", "title", "value", "unit", "currency", "as_of", "complete_through", "freshness", "comparison",
        "at_risk", "explain",
    } <= body.keys()  # fmt: skip
    assert (body["value"], body["exact"], body["unit"], body["currency"]) == (
        Decimal("427.5003"),
        "427.5003",
        "h",
        None,
    )
    assert (body["as_of"], body["complete_through"]) == ("2026-03-10T12:00:00.000Z", "2026-03-10T11:59:55.000Z")
    assert body["freshness"] == {"state": "FRESH", "stale_sources": [], "note": "as of 10 Mar 12:00 UTC"}
    assert body["explain"] == "/v1/kpis/unbilled_hours/explain"


async def test_currencies_are_rows_and_never_added(client: httpx.AsyncClient) -> None:
    body = exactly(await client.get("/v1/kpis/unbilled_value"))
    assert (body["value"], body["exact"], body["currency"]) == (None, None, None)
    assert [(row["currency"], row["value"], row["exact"]) for row in body["rows"]] == [
        ("GBP", Decimal("47250.04"), "47250.04"),
        ("USD", Decimal("20000.50"), "20000.50"),
    ]
    one = exactly(await client.get("/v1/kpis/unbilled_value", params={"currency": "USD"}))
    assert (one["value"], one["exact"], one["unit"], one["currency"]) == (Decimal("20000.50"), "20000.50", "USD", "USD")


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"le_code": "UK01"}, "315.0003"),
        ({"le_code": ["UK01", "US01"]}, "427.5003"),
        ({"region": "AMER"}, "112.5000"),
        ({"practice": "DATA", "state": "READY"}, "250.0000"),
        ({"project_code": "PAC-100"}, "112.5000"),
        ({"billing_cycle_id": "2026-02"}, "0.0000"),
    ],
)
async def test_filters(client: httpx.AsyncClient, params: dict[str, str], expected: str) -> None:
    body = exactly(await client.get("/v1/kpis/unbilled_hours", params=params))
    assert body["exact"] == expected
    assert body["explain"].startswith("/v1/kpis/unbilled_hours/explain?")


async def test_same_answer_is_a_304_and_another_is_not(furnished: Firm, client: httpx.AsyncClient) -> None:
    first = await client.get("/v1/kpis/unbilled_hours")
    tag = first.headers["etag"]
    assert tag.startswith('"')
    assert first.headers["cache-control"] == "private, max-age=5, stale-while-revalidate=60"
    for header in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await client.get("/v1/kpis/unbilled_hours", headers={"If-None-Match": header})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    furnished.cell("unbilled_hours", 3_600, "s", partition=3, **UK)
    assert (await client.get("/v1/kpis/unbilled_hours", headers={"If-None-Match": tag})).status_code == 200


async def test_csv(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/kpis/unbilled_value", params={"format": "csv", "region": ["EMEA", "AMER"]})
    assert response.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [(row["currency"], row["value"], row["exact"], row["region"]) for row in rows] == [
        ("GBP", "47250.04", "47250.04", "EMEA|AMER"),
        ("USD", "20000.50", "20000.50", "EMEA|AMER"),
    ]


async def test_rows_are_flat_and_at_the_root(client: httpx.AsyncClient) -> None:
    rows = exactly(await client.get("/v1/kpis/unbilled_value", params={"shape": "rows"}))
    assert [row["currency"] for row in rows] == ["GBP", "USD"]
    assert not any(isinstance(value, dict | list) for row in rows for value in row.values())


async def test_geckoboard(client: httpx.AsyncClient) -> None:
    hours = await client.get("/v1/kpis/unbilled_hours", params={"shape": "geckoboard"})
    assert hours.text == '{"item":[{"value":427.5003,"text":"Unbilled approved hours"}]}'
    money = await client.get("/v1/kpis/unbilled_value", params={"shape": "geckoboard"})
    assert money.text == (
        '{"item":[{"value":47250.04,"text":"Unbilled approved value, GBP","prefix":"GBP"},'
        '{"value":20000.50,"text":"Unbilled approved value, USD","prefix":"USD"}]}'
    )


@pytest.mark.parametrize(
    ("address", "status", "problem", "hint"),
    [
        ("/v1/kpis/unbiled_hours", 404, "unknown-kpi", "unbilled_hours"),
        ("/v1/kpis/unbilled_hours?le_kode=UK01", 422, "unknown-parameter", "le_code"),
        ("/v1/kpis/sync_lag?le_code=UK01", 422, "unknown-dimension", None),
        ("/v1/kpis/unbilled_hours?shape=row", 422, "invalid-parameter", "rows"),
        ("/v1/kpis/unbilled_hours?format=xml", 422, "invalid-parameter", None),
        ("/v1/kpis/unbilled_hours?compare=last_week", 422, "invalid-parameter", "previous_week"),
        ("/v1/kpis/unbilled_hours/breakdown?by=practise", 422, "invalid-parameter", "practice"),
        ("/v1/kpis/open_findings/breakdown?by=currency", 422, "unknown-dimension", None),
        ("/v1/kpis/unbilled_hours/series?step=hourly", 422, "invalid-parameter", "1h"),
        ("/v1/kpis/unbilled_hours/series?from=2026-03-01T00:00:00", 422, "invalid-parameter", "2026-03-01T00:00:00Z"),
        ("/v1/kpis/unbilled_hours/explain?limit=0", 422, "invalid-parameter", None),
        ("/v1/findings?status=OPENED", 422, "invalid-parameter", "OPEN"),
        ("/v1/findings?cursor=zzz", 422, "invalid-cursor", None),
        ("/v1/findings/nothing", 404, "unknown-finding", None),
        ("/v1/stream?kpis=unbilled_hour", 404, "unknown-kpi", "unbilled_hours"),
        ("/v2/kpis", 404, "not-found", None),
    ],
)
async def test_refusals_are_problems_that_help(
    client: httpx.AsyncClient, address: str, status: int, problem: str, hint: str | None
) -> None:
    response = await client.get(address)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    body = response.json()
    assert (body["type"], body["status"]) == (f"/docs#problem-{problem}", status)
    assert body["title"]
    assert body["detail"]
    assert body.get("did_you_mean") == hint


async def test_a_wrong_method_is_a_problem(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/kpis")
    assert (response.status_code, response.json()["type"]) == (405, "/docs#problem-method-not-allowed")
    assert response.headers["allow"] == "GET"


async def test_our_faults_tell_nothing(furnished: Firm) -> None:
    furnished.values.cells = None  # type: ignore[assignment]
    async with http(furnished.app()) as client:
        response = await client.get("/v1/kpis/unbilled_hours")
    assert (response.status_code, response.json()["type"]) == (500, "/docs#problem-internal")
    assert "NoneType" not in response.text


async def test_breakdown_adds_up_to_the_value(client: httpx.AsyncClient) -> None:
    for kpi, by in [("unbilled_hours", "project_code"), ("unbilled_value", "currency"), ("held_hours", "hold_code")]:
        whole = exactly(await client.get(f"/v1/kpis/{kpi}"))
        parts = exactly(await client.get(f"/v1/kpis/{kpi}/breakdown", params={"by": by, "limit": 1}))
        for row in whole["rows"]:
            own = [part["numerator"] for part in parts if part["currency"] == row["currency"]]
            assert sum(own) == row["numerator"], kpi
    largest = exactly(await client.get("/v1/kpis/held_hours/breakdown", params={"by": "hold_code"}))
    assert [(row["hold_code"], row["exact"]) for row in largest] == [("H22", "50.0000"), ("H01", "12.5000")]


async def test_without_a_snapshot_history_is_a_503_and_values_are_there(client: httpx.AsyncClient) -> None:
    for what in ("series", "explain"):
        response = await client.get(f"/v1/kpis/unbilled_hours/{what}")
        assert (response.status_code, response.json()["type"]) == (503, "/docs#problem-no-snapshot")
    assert (await client.get("/v1/kpis/unbilled_hours")).status_code == 200


async def test_explain_opens_the_number_into_rows_that_add_up(furnished: Firm, client: httpx.AsyncClient) -> None:
    furnished.publish()
    for kpi in ("unbilled_hours", "held_hours", "unpriced_hours", "open_findings"):
        live = exactly(await client.get(f"/v1/kpis/{kpi}"))
        body = exactly(await client.get(f"/v1/kpis/{kpi}/explain", params={"limit": 2}))
        (records,) = body["records"]
        assert len(records["rows"]) == 2
        assert sum(row["amount"] for row in records["rows"]) + records["rest"]["amount"] == records["total"]
        assert records["total"] == live["rows"][0]["numerator"] == body["value"][0]["numerator"], kpi
        assert body["value"][0]["exact"] == live["exact"]
        assert body["sql"].startswith("CREATE VIEW")
    assert "W1001" not in json.dumps(body, default=str)


async def test_explain_keeps_currencies_and_measures_apart(furnished: Firm, client: httpx.AsyncClient) -> None:
    furnished.publish()
    for kpi in ("unbilled_value", "held_value", "unbilled_ageing"):
        body = exactly(await client.get(f"/v1/kpis/{kpi}/explain", params={"limit": 1}))
        expected = {(row["measure"], row["currency"]): row["numerator"] for row in body["value"] if row["numerator"]}
        assert {(group["measure"], group["currency"]): group["total"] for group in body["records"]} == expected, kpi
        for group in body["records"]:
            assert sum(row["amount"] for row in group["rows"]) + group["rest"]["amount"] == group["total"]
    assert set(expected) == {("HOURS", None), ("VALUE", "GBP"), ("VALUE", "USD")}
    assert (body["as_of"], body["complete_through"]) == ("2026-03-10T12:00:00.000Z", "2026-03-10T11:59:55.000Z")


async def test_explain_of_the_lag_adds_nothing(furnished: Firm, client: httpx.AsyncClient) -> None:
    furnished.source("ERP/main", behind_us=9_000_000)
    furnished.publish()
    (records,) = exactly(await client.get("/v1/kpis/sync_lag/explain", params={"limit": 2}))["records"]
    assert (records["total"], records["rest"], records["count"]) == (9_000_000, None, 6)


async def test_explain_keeps_to_the_scope(furnished: Firm, client: httpx.AsyncClient) -> None:
    furnished.publish()
    scope = {"le_code": "UK01", "hold_code": "H22", "currency": "GBP"}
    body = exactly(await client.get("/v1/kpis/held_value/explain", params=scope))
    (records,) = body["records"]
    assert (body["value"][0]["exact"], records["total"], records["count"]) == ("7500.00", 750_000, 2)
    assert body["excluded"][0]["hours"] == Decimal("0.0000")  # unpriced hours of UK01
    inputs = {row["system"] for row in body["inputs"]}
    assert inputs == {"TIME", "PSA", "ERP"}


async def test_injected_text_is_only_a_value(furnished: Firm, client: httpx.AsyncClient) -> None:
    furnished.publish()
    hostile = {"le_code": "x') OR 1=1; DROP VIEW v1.kpi; --"}
    body = exactly(await client.get("/v1/kpis/unbilled_hours/explain", params=hostile))
    assert body["records"] == []
    assert exactly(await client.get("/v1/kpis/unbilled_hours/explain"))["records"][0]["count"] == 10


async def test_the_snapshot_can_neither_be_written_nor_used_to_read_files(furnished: Firm) -> None:
    import duckdb

    furnished.publish()
    for sql in (
        "DROP VIEW v1.kpi",
        "SELECT * FROM read_text('/etc/passwd')",
        "SET enable_external_access = true",
        "INSTALL httpfs",
    ):
        with pytest.raises(duckdb.Error):
            furnished.snapshot.rows(sql)


async def test_series_carries_on_and_compares(firm: Firm) -> None:
    for days, seconds in ((9, 3_600), (8, 7_200), (1, 36_000)):
        firm.cell("unbilled_hours", seconds, "s", as_of=NOON - days * DAY, **UK)
        firm.publish()
    firm.live.ready.set()
    async with http(firm.app()) as client:
        points = exactly(
            await client.get("/v1/kpis/unbilled_hours/series", params={"step": "1d", "to": "2026-03-10T12:00:00Z"})
        )
        value = exactly(await client.get("/v1/kpis/unbilled_hours", params={"compare": "previous_week"}))
        gecko = await client.get("/v1/kpis/unbilled_hours", params={"compare": "previous_week", "shape": "geckoboard"})
    assert [(point["time"][:10], point["exact"]) for point in points] == [
        ("2026-03-01", "1.0000"),
        *((f"2026-03-0{day}", "2.0000") for day in range(2, 9)),
        ("2026-03-09", "10.0000"),
        ("2026-03-10", "10.0000"),
    ]
    assert [point["complete"] for point in points[-2:]] == [True, False]
    comparison = value["comparison"]
    assert (comparison["value"], comparison["delta"], comparison["better"]) == (
        Decimal("2.0000"),
        Decimal("8.0000"),
        False,
    )
    assert gecko.json()["item"][1] == {"value": 2.0, "text": "previous week"}


async def test_series_of_lag_is_the_worst_source(firm: Firm) -> None:
    for name, lag in (("ERP/main", 5_000_000), ("TIME/main", 9_000_000)):
        firm.cell("sync_lag", lag, "us", source=name)
    firm.publish()
    async with http(firm.app()) as client:
        points = exactly(await client.get("/v1/kpis/sync_lag/series"))
    assert [point["exact"] for point in points] == ["9.000"]


async def test_a_new_snapshot_is_seen_at_once(furnished: Firm, client: httpx.AsyncClient) -> None:
    furnished.publish()
    first = exactly(await client.get("/v1/kpis/unbilled_hours/explain"))["records"][0]["total"]
    furnished.entry("TIME:new", unbilled_s=3_600, **UK)
    furnished.publish()
    assert exactly(await client.get("/v1/kpis/unbilled_hours/explain"))["records"][0]["total"] == first + 3_600
