"""Findings and sources over HTTP."""

from __future__ import annotations

import csv
import io

import httpx
import pytest
from api_firm import MINUTE, NOON, Firm

pytestmark = pytest.mark.anyio


async def ids(client: httpx.AsyncClient, **params: object) -> list[str]:
    response = await client.get("/v1/findings", params=params)  # type: ignore[arg-type]
    assert response.status_code == 200, response.text
    return [item["finding_id"] for item in response.json()["items"]]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["f-2", "f-1", "f-3", "f-4"]),
        ({"status": ["OPEN", "ACK"]}, ["f-2", "f-1", "f-3"]),
        ({"status": "RESOLVED_AUTO"}, ["f-4"]),
        ({"code": "TIME_LATE_TO_ERP"}, ["f-1", "f-4"]),
        ({"facet": "QTY"}, ["f-3"]),
        ({"severity": "CRITICAL"}, ["f-2"]),
        ({"le_code": "US01"}, ["f-2"]),
        ({"currency": "GBP", "status": "OPEN"}, ["f-1"]),
        ({"queue": "nobody"}, []),
        ({"order": "severity"}, ["f-2", "f-1", "f-3", "f-4"]),
    ],
)
async def test_filters_and_order(client: httpx.AsyncClient, params: dict[str, object], expected: list[str]) -> None:
    assert await ids(client, **params) == expected


async def test_a_finding_has_exact_money_and_lists(client: httpx.AsyncClient) -> None:
    finding = (await client.get("/v1/findings", params={"facet": "QTY"})).json()["items"][0]
    assert (finding["impact_minor"], finding["impact_exact"], finding["impact"], finding["currency"]) == (
        -30_000,
        "-300.00",
        -300,
        "GBP",
    )
    assert (finding["impact_s"], finding["impact_hours"]) == (7_200, 2)
    assert finding["systems"] == ["TIME", "PSA", "ERP"]
    assert finding["onset_at"] == "2026-03-07T12:00:00.000Z"


async def test_pages_stay_put_while_findings_come_and_go(
    firm: Firm, furnished: Firm, client: httpx.AsyncClient
) -> None:
    for n in range(25):
        firm.finding(f"g-{n:02d}", impact_minor=1_000 * (n % 5 + 1), code="RATE_MISMATCH")
    before = await ids(client, code="RATE_MISMATCH", limit=1_000)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params: dict[str, object] = {"code": "RATE_MISMATCH", "limit": 4} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/findings", params=params)).json()  # type: ignore[arg-type]
        seen += [item["finding_id"] for item in page["items"]]
        firm.finding(f"new-{len(seen)}", impact_minor=99_000, code="RATE_MISMATCH")  # would push offsets by one
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == before
    assert len(set(seen)) == 25


async def test_a_cursor_belongs_to_its_query(client: httpx.AsyncClient) -> None:
    cursor = (await client.get("/v1/findings", params={"limit": 1})).json()["next_cursor"]
    for other in ({"order": "age"}, {"status": "OPEN"}):
        response = await client.get("/v1/findings", params={"limit": 1, "cursor": cursor, **other})
        assert (response.status_code, response.json()["type"]) == (422, "/docs#problem-invalid-cursor")


async def test_csv_cannot_carry_a_formula(firm: Firm, client: httpx.AsyncClient) -> None:
    firm.finding("f-9", code="EVIL", explanation='=HYPERLINK("http://x")', business_key="-1+1", impact_minor=-100)
    response = await client.get("/v1/findings", params={"code": "EVIL", "format": "csv"})
    row = next(csv.DictReader(io.StringIO(response.text)))
    assert (row["explanation"][0], row["business_key"], row["impact"]) == ("'", "'-1+1", "-1.00")


async def test_rows_name_the_next_page_in_a_link(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/findings", params={"shape": "rows", "limit": 2})
    assert [item["finding_id"] for item in response.json()] == ["f-2", "f-1"]
    following = response.headers["link"].split(">")[0].removeprefix("<")
    assert [item["finding_id"] for item in (await client.get(following)).json()] == ["f-3", "f-4"]


async def test_one_finding_with_its_life(furnished: Firm, client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/findings/f-1")).json()["history"] is None  # no snapshot yet: not known, not empty
    furnished.step("f-1", "OPENED", NOON - 2 * MINUTE)
    furnished.step("f-1", "CHANGED", NOON)
    furnished.publish()
    history = (await client.get("/v1/findings/f-1")).json()["history"]
    assert [(step["step"], step["at"]) for step in history] == [
        ("OPENED", "2026-03-10T11:58:00.000Z"),
        ("CHANGED", "2026-03-10T12:00:00.000Z"),
    ]
    assert (await client.get("/v1/findings/f-2")).json()["history"] == []


async def test_sources(furnished: Firm, client: httpx.AsyncClient) -> None:
    furnished.source("ERP/main", behind_us=12 * MINUTE, state="STALE")
    furnished.source("TIME/main", received=0)
    furnished.source("TIME/main", thing="time_entry", parked=3)
    furnished.source("TIME/main", thing="expense", parked=1, received=10)
    rows = (await client.get("/v1/sources")).json()
    by_place = {(row["source"], row["object"]): row for row in rows}
    erp = by_place["ERP/main", "*"]
    assert (erp["state"], erp["behind_s"], erp["behind"], erp["watermark_at"]) == (
        "STALE", 720, "12 min behind", "2026-03-10T11:48:00.000Z",
    )  # fmt: skip
    for thing in ("*", "time_entry"):
        entry = by_place["TIME/main", thing]
        assert (entry["applied"], entry["duplicates"]) == (1_190, 7)
    assert by_place["TIME/main", "time_entry"]["parked"] == 3
    assert (by_place["TIME/main", "*"]["received"], by_place["TIME/main", "*"]["parked"]) == (1_210, 4)  # its objects


async def test_no_sources_is_an_empty_list(firm: Firm) -> None:
    from api_firm import http

    async with http(firm.app()) as client:
        assert (await client.get("/v1/sources")).json() == []
        assert (await client.get("/v1/sources", params={"format": "csv"})).status_code == 200
