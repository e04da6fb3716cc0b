"""Pages: complete without a script, nothing from other hosts, safe with hostile text, honest when empty."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from api_firm import MINUTE, Firm, http

from tieout.streams.api.app import FOLDER
from tieout.streams.api.overview import age_text, number, with_bars
from tieout.streams.api.problems import KINDS

pytestmark = pytest.mark.anyio

ADDRESS = re.compile(r"""(?:(?:src|href|url|import|from)\s*[=(]?\s*["']?|["'`])((?:https?:)?//[^\s"'`)>]+)""")
NAMESPACE = "http://www.w3.org/2000/svg"


async def test_the_overview_has_its_numbers_without_a_script(client: httpx.AsyncClient) -> None:
    response = await client.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    for piece in (
        "427.50",
        "47,250.04",
        "GBP",
        "20,000.50",
        "USD",
        "62.50",
        "97.5",
        "RATE_MISSING",
        "6,000.00",
        "ERP/main",
    ):
        assert piece in response.text, piece
    assert response.text.index("RATE_MISSING") < response.text.index("TIME_LATE_TO_ERP")  # larger money first
    assert "f-4" not in response.text  # resolved


async def test_a_late_source_greys_what_depends_on_it(furnished: Firm, client: httpx.AsyncClient) -> None:
    furnished.source("SCHED/main", behind_us=12 * MINUTE, state="STALE")
    html = (await client.get("/")).text
    assert 'data-kpi="unsynchronised_assignments" data-state="STALE"' in html
    assert 'data-kpi="unbilled_hours" data-state="FRESH"' in html
    assert "as of 10 Mar 12:00 UTC, SCHED is 12 min behind" in html
    assert "A source is behind" in html


async def test_empty_is_said_in_words(firm: Firm) -> None:
    async with http(firm.app()) as client:
        html = (await client.get("/")).text
        assert "No open findings" in html
        assert "No source has been heard yet" in html
        firm.live.ready.clear()
        html = (await client.get("/")).text
        assert "Still reading the topics" in html
        assert "No open findings" not in html


@pytest.mark.parametrize("path", ["/", "/docs", "/static/overview.js", "/static/tieout.css", "/static/icon.svg"])
async def test_nothing_comes_from_another_host(client: httpx.AsyncClient, path: str) -> None:
    text = (await client.get(path)).text
    assert [found for found in ADDRESS.findall(text) if found != NAMESPACE] == []


def test_the_search_for_addresses_finds_some() -> None:
    for planted in (
        '<script src="https://cdn.example/x.js">',
        "@import url(//fonts.example/a)",
        "import x from 'http://a.b'",
    ):
        assert ADDRESS.findall(planted), planted


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/v1/kpis", "/v1/kpis/none", "/static/tieout.css", "/livez", "/openapi.json"]
)
async def test_every_answer_is_guarded(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_pages_need_no_inline_code(client: httpx.AsyncClient, path: str) -> None:
    html = (await client.get(path)).text
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", html)
    assert all("src=" in tag or "application/json" in tag for tag in re.findall(r"<script[^>]*>", html))


async def test_hostile_text_stays_text(furnished: Firm, client: httpx.AsyncClient) -> None:
    furnished.finding("f-8", explanation="<script>alert(1)</script>", business_key='"><img src=x>', impact_minor=10**9)
    html = (await client.get("/")).text
    assert "<script>alert" not in html
    assert "<img src=x>" not in html
    assert "&lt;script&gt;alert(1)" in html


@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
async def test_theme(client: httpx.AsyncClient, theme: str) -> None:
    assert f'data-theme="{theme}"' in (await client.get("/", params={"theme": theme})).text


async def test_docs_name_every_address_parameter_and_problem(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    html = (await client.get("/docs")).text
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        assert path in html
        for parameter in [item for method in methods.values() for item in method.get("parameters", ())]:
            assert f"<code>{parameter['name']}</code>" in html, (path, parameter["name"])
    for name in KINDS:
        assert f'id="problem-{name}"' in html
    assert "HTTPValidationError" not in str(document)


async def test_every_reference_of_the_openapi_document_resolves(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    for name in re.findall(r"#/components/schemas/(\w+)", str(document)):
        assert name in document["components"]["schemas"], name


async def test_contract_addresses_are_there(client: httpx.AsyncClient) -> None:
    for path in ("/livez", "/readyz", "/startupz", "/metrics", "/v1/kpis", "/v1/findings", "/v1/sources", "/docs", "/"):
        assert (await client.get(path)).status_code == 200, path


async def test_probes_follow_the_process(furnished: Firm, client: httpx.AsyncClient) -> None:
    furnished.ready = False
    assert [(await client.get(path)).status_code for path in ("/livez", "/readyz", "/startupz")] == [200, 503, 503]


async def test_metrics_name_routes_and_never_paths(client: httpx.AsyncClient) -> None:
    await client.get("/v1/kpis/unbilled_hours")
    await client.get("/never/heard/of/it")
    text = (await client.get("/metrics")).text
    assert 'http_route="/v1/kpis/{kpi_id}"' in text
    assert "never/heard" not in text


def test_templates_and_assets_are_in_the_package() -> None:
    assert {path.name for path in Path(FOLDER, "templates").iterdir()} == {
        "base.html",
        "overview.html",
        "docs.html",
        "embed.html",
        "embed.svg",
        "icons.svg",
    }
    assert {path.name for path in Path(FOLDER, "static").iterdir()} == {"tieout.css", "overview.js", "icon.svg"}


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3_599, "59 min"),
        (3_600, "1 h"),
        (7_500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_ages(seconds: int, expected: str) -> None:
    assert age_text(seconds * 1_000_000, 0) == expected


def test_numbers_for_people() -> None:
    assert [number(None), number("1284.5", 2), number(1_200_000), number("-0.3000", 2)] == [
        "–",
        "1,284.50",
        "1,200,000",
        "-0.30",
    ]


def test_bars_fill_exactly_the_whole() -> None:
    rows = with_bars([{"numerator": n} for n in (1, 1, 1)])
    assert [(row["x"], row["width"]) for row in rows] == [(0, 333), (333, 333), (666, 334)]
    assert with_bars([]) == []
