"""The overview in a real Chromium: it updates by itself, says its state in words, and reads well to assistive tools."""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from api_firm import MINUTE, UK, US, Firm
from playwright.sync_api import Browser, Page, expect, sync_playwright

ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = os.environ.get("TIEOUT_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not here: apt-get install chromium, or name one in TIEOUT_CHROMIUM")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield opened
        opened.close()


class Site:
    """The application on a port of its own, in a thread; `stop` and `start` are a restart on the same port."""

    def __init__(self, firm: Firm) -> None:
        self.firm, self._port = firm, 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self._port))
        self._port = listening.getsockname()[1]
        self._server = uvicorn.Server(uvicorn.Config(self.firm.app(), log_config=None, timeout_graceful_shutdown=1))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]}, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        self.firm.hub.close_from_signal()
        self._server.should_exit = True
        self._thread.join(timeout=15)


@pytest.fixture
def site(furnished: Firm) -> Iterator[Site]:
    made = Site(furnished)
    yield made
    made.stop()


@pytest.fixture(params=["light", "dark"])
def page(browser: Browser, site: Site, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The overview in one of the themes of the reader's system; any error in it fails the test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=request.param, locale="en-GB")
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    opened.on("request", lambda made: None if made.url.startswith(site.url) else faults.append(f"asked {made.url}"))
    opened.goto(site.url)
    expect(opened.get_by_role("status")).to_have_text("Live", timeout=15_000)
    yield opened
    opened.close()
    # Expected where nothing is published (the course of a KPI is a 503) and while the server restarts.
    assert [fault for fault in faults if not re.search(r"503|net::ERR_(CONNECTION|INCOMPLETE)", fault)] == []


def tile(page: Page, name: str) -> Any:
    return page.get_by_role("article", name=name)


def test_numbers_change_without_a_reload(page: Page, site: Site) -> None:
    hours = tile(page, "Unbilled approved hours")
    expect(hours.locator("[data-part=number]")).to_have_text("427.50")
    site.firm.cell("unbilled_hours", 36_000, "s", partition=3, state="PROPOSED", **UK)
    expect(hours.locator("[data-part=number]")).to_have_text("437.50")
    expect(hours.get_by_text("On a draft invoice")).to_be_visible()
    site.firm.cell("unbilled_value", 1_234_567_89, "minor", partition=3, currency="JPY", **US)
    expect(tile(page, "Unbilled approved value").get_by_role("listitem")).to_have_text(
        ["GBP47,250.04", "JPY123,456,789", "USD20,000.50"]
    )


def test_findings_come_and_go(page: Page, site: Site) -> None:
    table = page.get_by_role("table").filter(has_text="What disagrees")
    expect(table.get_by_role("row")).to_have_count(4)
    site.firm.finding(
        "f-9", impact_minor=99_000_000, code="RATE_MISMATCH", facet="PSA", explanation="<b>140.00</b> for 150.00"
    )
    first = table.get_by_role("row").nth(1)
    expect(first).to_contain_text("990,000.00 GBP")
    expect(first).to_contain_text("<b>140.00</b> for 150.00")  # as text
    for finding in ("f-1", "f-2", "f-3", "f-9"):
        site.firm.finding(finding, status="RESOLVED_AUTO")
    expect(table.get_by_role("cell")).to_have_text([re.compile("No open findings")])


def test_a_late_source_greys_its_tiles_in_words_icon_and_colour(page: Page, site: Site) -> None:
    assignments, hours = tile(page, "Unsynchronised assignments"), tile(page, "Unbilled approved hours")
    number = assignments.locator("[data-part=number]")
    before = number.evaluate("node => getComputedStyle(node).color")
    expect(assignments).to_contain_text("Up to date")
    site.firm.source("SCHED/main", behind_us=12 * MINUTE, state="STALE")
    expect(assignments).to_contain_text("Stale")
    expect(assignments).to_contain_text("as of 10 Mar 12:00 UTC, SCHED is 12 min behind")
    expect(assignments.locator("use[href='#i-warn']")).to_have_count(1)
    page.wait_for_function(
        "([before, node]) => getComputedStyle(node).color !== before", arg=[before, number.element_handle()]
    )
    expect(hours).to_contain_text("Up to date")
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="SCHED/main"))
    expect(row).to_contain_text("Behind")
    expect(row).to_contain_text("12 min behind")
    expect(page.get_by_text("A source is behind")).to_be_visible()


def test_a_restart_is_survived_and_nothing_missed(page: Page, site: Site) -> None:
    site.stop()
    expect(page.get_by_role("status")).not_to_have_text("Live", timeout=15_000)
    site.firm.cell("open_findings", 40, "count", partition=3, **UK)
    site.firm.hub.__init__(epoch=0xDEF)  # type: ignore[misc]  # another process: its event ids are its own
    site.start()
    expect(page.get_by_role("status")).to_have_text("Live", timeout=30_000)
    expect(tile(page, "Open findings").locator("[data-part=number]")).to_have_text("43")


def test_names_roles_and_headers(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("Unbilled work and drift")
    expect(page.get_by_role("main")).to_be_visible()
    for name in (
        "Unbilled approved hours", "Unbilled approved value", "Held hours", "Unsynchronised assignments",
        "Open findings", "Sync lag",
    ):  # fmt: skip
        expect(tile(page, name).get_by_role("heading", level=2)).to_have_text(name)
        expect(tile(page, name).get_by_role("link", name=f"Rows behind {name}")).to_have_count(1)
    headers = page.get_by_role("region", name="Open findings by money").get_by_role("columnheader")
    expect(headers).to_have_text(["Impact", "Severity", "Check", "What disagrees", "Queue", "Age"])
    assert page.locator("tbody tr:not(.empty)").count() == page.locator("tbody th[scope=row]").count() > 0
    assert page.evaluate(UNNAMED) == []
    assert page.evaluate("document.documentElement.lang") == "en"


# What can be operated and has no name, and drawings that are neither named nor hidden from assistive tools.
UNNAMED = """() => [...document.querySelectorAll("a, button, svg")].filter((node) =>
  node.tagName === "svg"
    ? !node.closest("[aria-hidden=true]") && !node.getAttribute("aria-label")
    : !(node.getAttribute("aria-label") || node.textContent.trim())).map((node) => node.outerHTML)"""

# Contrast of every text against what is behind it (WCAG 2.2: 4.5, large text 3).
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const linear = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (node) => { for (let at = node; at; at = at.parentElement) {
    const found = rgb(getComputedStyle(at).backgroundColor);
    if (found[3] === 255) return found; } return [255, 255, 255]; };
  const poor = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement, style = getComputedStyle(node);
    const words = walk.currentNode.textContent.trim();
    if (!words || !node.checkVisibility({ checkOpacity: true }) || node.closest(".hidden, script")) continue;
    const [a, b] = [light(rgb(style.color)), light(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05), large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) poor.push(`${ratio.toFixed(2)} ${node.className} ${words.slice(0, 30)}`);
  }
  return poor;
}"""


def test_text_stands_out_fresh_and_stale(page: Page, site: Site) -> None:
    assert page.evaluate(CONTRAST) == []
    site.firm.source("ERP/main", behind_us=12 * MINUTE, state="STALE")
    expect(page.get_by_text("A source is behind")).to_be_visible()
    page.wait_for_timeout(500)  # colours fade over 0.3 s
    assert page.evaluate(CONTRAST) == []


def test_the_search_for_poor_contrast_finds_some(page: Page) -> None:
    page.evaluate("document.querySelector('h1').style.color = getComputedStyle(document.body).backgroundColor")
    assert len(page.evaluate(CONTRAST)) == 1


def test_a_theme_can_be_asked_for(browser: Browser, site: Site) -> None:
    seen = {}
    for system in ("light", "dark"):
        for theme in ("light", "dark"):
            page = browser.new_page(color_scheme=system)
            page.goto(f"{site.url}/?theme={theme}")
            seen[system, theme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
            page.close()
    assert seen["light", "light"] == seen["dark", "light"] != seen["light", "dark"] == seen["dark", "dark"]


@pytest.mark.parametrize("width", [390, 820, 1440])
def test_nothing_sticks_out(browser: Browser, site: Site, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    for path in ("/", "/docs"):
        page.goto(f"{site.url}{path}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    page.close()


def test_numbers_are_there_without_scripts(browser: Browser, site: Site) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.url)
    expect(tile(page, "Unbilled approved hours")).to_contain_text("427.50")
    expect(page.get_by_role("table").first).to_contain_text("RATE_MISSING")
    context.close()


def test_a_reader_hears_the_key_figures_at_most_once_a_minute(browser: Browser, site: Site) -> None:
    page = browser.new_page(locale="en-GB")
    page.clock.install()
    page.goto(site.url)
    spoken = page.get_by_role("log")
    expect(page.get_by_role("status")).to_have_text("Live", timeout=15_000)
    expect(spoken).to_have_text("")
    page.clock.fast_forward(61_000)
    expect(spoken).to_have_text("Unbilled 427.50 hours, held 62.50 hours, 3 open findings")
    page.close()


def test_where_streams_are_cut_off_numbers_are_asked_for(browser: Browser, site: Site) -> None:
    page = browser.new_page(locale="en-GB")
    page.clock.install()
    page.route("**/v1/stream", lambda route: route.abort())
    page.goto(site.url)
    expect(page.get_by_role("status")).to_have_text("Reconnecting", timeout=15_000)
    site.firm.cell("open_findings", 40, "count", partition=3, **UK)
    page.clock.run_for(10_000)
    expect(tile(page, "Open findings").locator("[data-part=number]")).to_have_text("43")
    expect(page.get_by_role("status")).to_have_text("Every 10 s")
    page.close()
