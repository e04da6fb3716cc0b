"""What users meet is documented: KPIs, findings, decisions. `python tests/test_docs.py` rewrites the KPI page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tieout.reconcilers.findings import Rule
from tieout.reconcilers.rules import RULES, platform
from tieout.streams.sinks.catalogue import KPIS

ROOT = Path(__file__).parent.parent
KPI_PAGE = ROOT / "docs" / "kpis.md"


def kpi_page() -> str:
    """The KPI page as the catalogue says it."""
    rows = "\n".join(
        " | ".join((f"| {kpi.number}", f"`{kpi.id}`", kpi.title, kpi.definition, kpi.formula, kpi.unit,
                    f"{kpi.direction} |")) for kpi in KPIS)
    return f"""# KPIs

Leaf cells are rows of `tieout.kpi.state.v1` and of `v1.kpi`; roll-ups are sums, or ratios of sums. `v1.kpi_<id>`
recomputes each KPI in SQL from the rows it is made of, and must equal the streamed value to the cent. Currencies are
never added.

| | id | title | meaning | formula over the `v1` columns | unit | better |
|---|---|---|---|---|---|---|
{rows}
"""


def test_the_kpi_page_says_what_the_catalogue_says() -> None:
    assert KPI_PAGE.read_text(encoding="utf-8") == kpi_page(), "run: python tests/test_docs.py"


@pytest.mark.parametrize("rule", {(rule.check_no, rule.code): rule for rule in (*RULES, *platform.RULES)}.values(),
                         ids=lambda rule: rule.code)
def test_every_check_is_on_the_findings_page(rule: Rule) -> None:
    page = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| {rule.check_no} \| `{rule.code}`", page, re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.mark.parametrize("path", ["reconcilers", "codecs", "streams", "schemas", "docs", "tests"])
def test_what_architecture_names_exists(path: str) -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = re.findall(rf"`({path}/[\w./]*)`", text)
    assert [name for name in named if not (ROOT / name.rstrip("/")).exists()] == []


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(file.name[:4]) for file in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


if __name__ == "__main__":
    KPI_PAGE.write_text(kpi_page(), encoding="utf-8")
