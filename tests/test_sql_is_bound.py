"""SQL is ours: what somebody sent is bound, never put into the text. Each name that is put there stands in a table."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from brokers import ROOT

KEYWORDS = re.compile(
    r"\b(SELECT|INSERT|UPDATE|DELETE FROM|CREATE|DROP|ATTACH|COPY|WHERE|PARTITION BY|EXCEPT|MERGE|PRAGMA|COMMENT ON|"
    r"ORDER BY|GROUP BY)\b|\bAND \{|\bIN \(SELECT"
)

# What may be put into the text of SQL: expressions by module, and why nobody outside of the program decides them.
ALLOWED: dict[str, dict[str, str]] = {
    "streams/api/history.py": {
        "', '.join(_LEAF)": "constant", "part": "one of two constants", "total": "one of two constants",
        "where": "made by condition(): column names of a closed set, values bound",
        "(column or {}).get(dimension, dimension)": "a dimension that check_dimensions has let through",
        "kpi.view": "of the catalogue", "columns": "constants of OPENED", "place.amount": "constant of OPENED",
        "place.currency": "constant of OPENED", "place.measure": "constant of OPENED",
        "place.only": "constant of OPENED", "place.view": "constant of OPENED",
    },
    "streams/audit.py": {"hour": "one of two constants", "OUTPUT_TABLES[output].name": "a table of ours"},
    "streams/cli/findings.py": {
        "_WORST_FIRST": "constant", "columns": "one of two constants", "where": "constant conditions, values bound",
    },
    "streams/cli/kpi.py": {
        "chosen": "dimensions that _check_dimension has let through", "name": "the same",
        "total": "one of two constants", "kpi.view": "of the catalogue",
        "streamed": "constant", "recomputed": "of the catalogue",
        "different": "made of the two",
    },
    "streams/connect/debezium.py": {  # text for Connect: a heartbeat's statement has nowhere to bind to
        "table": "a name of the pattern of tables, quoted", "name": "quotes doubled", "insert": "made of the two",
    },
    "streams/connect/source_sql.py": {  # a script for the database's administrator, who reads it first
        **dict.fromkeys(("_n(_user(feed))", "_n(bare)", "_n(feed.name)", "_n(schema)", "_n(table)",
                         "_text(_user(feed))", "_text(feed.publication)", "_text(feed.slot)", "name"),
                        "a literal, quotes doubled"),
        **dict.fromkeys(("_sql(feed, feed.heartbeat_table)", "_sql(feed, feed.signal_table)", "_sql(feed, table)",
                         "heartbeat", "tables", "publication", "user", "account", "_bracketed(schema)"),
                        "a quoted name"),
        "_user(feed)": "in a comment behind the statement that has it as a literal",
    },
    "streams/demo.py": {
        "kpi.id": "of the catalogue", "kpi.view": "of the catalogue", "streamed": "of the catalogue",
        "computed": "of the catalogue", "either": "made of the two", "total": "one of two constants",
    },
    "streams/sinks/comments.py": {
        "view": "constant of VIEWS", "name": "a column of ours", "_quoted(VIEWS[view].text)": "quoted constant",
        "_quoted(column_comment(view, name))": "quoted constant",
    },
    "streams/sinks/reader.py": {"found": "a message, no SQL"},
    "streams/sinks/store.py": {
        "_CELL": "constant", "_PACKED": "constant", "_PREVIOUS": "constant", "table.name": "a table of ours",
        "GONE": "constant", "HISTORY.name": "constant", "KEY": "constant",
    },
    "streams/sinks/tables.py": {
        "t.duckdb_columns()": "of the schemas", "t.name": "a table of ours", "HISTORY.duckdb_columns()": "constant",
        "HISTORY.name": "constant",
    },
}  # fmt: skip


def put_into_sql(source: str) -> Iterator[tuple[str, int]]:
    """The expressions that stand in the text of SQL, in f-strings, format, % and +; with their lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
            if KEYWORDS.search(text):
                for part in node.values:
                    if isinstance(part, ast.FormattedValue):
                        yield ast.unparse(part.value), node.lineno
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add) and _is_sql(node.left):
            if isinstance(node.op, ast.Mod) or not isinstance(node.right, ast.Constant | ast.JoinedStr | ast.Call):
                yield ast.unparse(node.right), node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".format") and _is_sql(node.func):
            yield ast.unparse(node), node.lineno


def _is_sql(node: ast.expr) -> bool:
    node = node.value if isinstance(node, ast.Attribute) else node
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(KEYWORDS.search(node.value))


MODULES = {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / "streams").rglob("*.py"))}


@pytest.mark.parametrize("module", MODULES)
def test_nothing_from_outside_is_put_into_sql(module: str) -> None:
    """A new expression in the text of SQL is looked at by somebody, and named above with its reason."""
    allowed = ALLOWED.get(module, {})
    found = [(text, line) for text, line in put_into_sql(MODULES[module]) if text not in allowed]
    assert found == [], f"{module}: bind it, or name it in ALLOWED with the reason"


@pytest.mark.parametrize("module", ALLOWED)
def test_the_table_names_nothing_that_is_gone(module: str) -> None:
    """What is no longer put into SQL is no longer allowed."""
    assert set(ALLOWED[module]) == {text for text, _ in put_into_sql(MODULES[module])}


@pytest.mark.parametrize("planted", [
    'db.execute(f"SELECT * FROM v1.kpi WHERE kpi = \'{kpi}\'")',
    'db.execute("SELECT * FROM v1.kpi WHERE kpi = \'%s\'" % kpi)',
    'db.execute("SELECT * FROM v1.kpi WHERE kpi = \'{}\'".format(kpi))',
    'db.execute("SELECT * FROM v1.kpi WHERE kpi = " + kpi)',
    'more = f" AND {kpi} = ?"',
])  # fmt: skip
def test_the_search_finds_what_is_planted(planted: str) -> None:
    """The test above can fail."""
    assert [text for text, _ in put_into_sql(planted)]
