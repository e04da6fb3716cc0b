"""The simulator judges the rules, so it may not share anything with them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import tieout.streams.simulate

FOLDER = Path(tieout.streams.simulate.__file__).parent
ALLOWED = ("tieout.streams.simulate", "tieout.streams.clock", "tieout.streams.pressure", "tieout.streams.settings")


def imports(source: str) -> Iterator[str]:
    """Every module of ours that a source imports, inside functions and for types as well."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("tieout"))
        elif isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("tieout")):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def foreign(source: str) -> list[str]:
    """The imports that are not allowed."""
    return [name for name in imports(source)
            if not any(name == module or name.startswith(f"{module}.") for module in ALLOWED)]


def test_no_module_of_the_simulator_knows_the_product() -> None:
    found = {file.name: foreign(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.py"))}
    assert len(found) >= 15
    assert {name: names for name, names in found.items() if names} == {}


def test_the_check_finds_a_planted_import() -> None:
    assert foreign("def f():\n    from tieout.reconcilers.quantities import Money\n") == [
        "tieout.reconcilers.quantities.Money"]
    assert foreign("import tieout.reconcilers.engine") == ["tieout.reconcilers.engine"]
    assert foreign("from tieout import codecs") == ["tieout.codecs"]
    assert foreign("from tieout.streams.simulate.firm import Price") == []


def test_telling_the_story_loads_no_rule() -> None:
    code = ("import sys; from tieout.streams.simulate import story, verdict, play; story.tell(); "
            "print([name for name in sys.modules if name.startswith(('tieout.reconcilers', 'tieout.codecs'))])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
