"""The tree tells the architecture: imports go one way, the packaging names every package, nothing points outside."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import ROOT

# Who may import whom. `streams` is the shell and may import all; `schemas` is a leaf.
MAY_IMPORT = {
    "reconcilers": {"reconcilers"},
    "codecs": {"codecs", "reconcilers", "schemas"},
    "schemas": {"schemas"},
    "streams": {"streams", "codecs", "reconcilers", "schemas"},
}
# The pure centre: of the standard library only what computes. No clock, no I/O, no randomness, no logging.
PURE = {
    "__future__", "abc", "bisect", "collections", "collections.abc", "dataclasses", "datetime", "enum", "fractions",
    "decimal", "difflib", "functools", "hashlib", "heapq", "importlib.resources", "itertools", "math", "operator", "re",
    "tomllib", "types", "typing", "uuid", "zlib", "zoneinfo", "base64", "json",
}  # fmt: skip
# What a module of PURE offers all the same; reading the package's own TOML is no input.
IMPURE = {"now", "today", "utcnow", "uuid1", "uuid4", "open", "print", "input", "write_text"}
LAYERS = tuple(MAY_IMPORT)


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Every module that a source text imports, anywhere in it, with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def violations(layer: str, file: str, source: str) -> list[str]:
    """What a module of a layer does and may not: 'file:line imports module', 'file:line calls name'."""
    bad = []
    for line, module in imports(source):
        root, _, rest = module.partition(".")
        ours = rest.partition(".")[0] if root == "tieout" else None
        if module.startswith("."):
            wrong = True  # a relative import hides its direction
        elif root == "tieout":
            wrong = ours not in MAY_IMPORT[layer]
        else:
            wrong = layer == "reconcilers" and module not in PURE
        if wrong:
            bad.append(f"{file}:{line} imports {module}")
    if layer == "reconcilers":
        bad += [f"{file}:{line} calls {name}" for line, name in calls(source) if name in IMPURE]
    return bad


def calls(source: str) -> Iterator[tuple[int, str]]:
    """The last name of every call, with its line: 'now' of `datetime.now()`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func
            yield node.lineno, called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


def modules(layer: str) -> list[Path]:
    return sorted((ROOT / layer).rglob("*.py"))


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_go_one_way(layer: str) -> None:
    """streams → codecs → reconcilers, schemas a leaf, and the centre is pure."""
    assert modules(layer), f"{layer}/ holds no modules: this test would guard nothing"
    found = [each for path in modules(layer) for each in violations(layer, str(path), path.read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    ("layer", "source", "found"),
    [
        ("reconcilers", "import time", "x.py:1 imports time"),
        ("reconcilers", "def f():\n    import random", "x.py:2 imports random"),
        ("reconcilers", "from tieout.streams import clock", "x.py:1 imports tieout.streams"),
        ("reconcilers", "import confluent_kafka", "x.py:1 imports confluent_kafka"),
        ("reconcilers", "from uuid import uuid4\nuuid4()", "x.py:2 calls uuid4"),
        ("reconcilers", "import datetime\ndatetime.datetime.now()", "x.py:2 calls now"),
        ("reconcilers", "from . import changes", "x.py:1 imports ."),
        ("codecs", "from tieout.streams.settings import load", "x.py:1 imports tieout.streams.settings"),
        ("schemas", "from tieout.codecs import avro", "x.py:1 imports tieout.codecs"),
    ],
)
def test_a_planted_violation_is_found(layer: str, source: str, found: str) -> None:
    """The check above can fail: each way of breaking the rule is reported with its line."""
    assert violations(layer, "x.py", source) == [found]


@pytest.mark.parametrize("layer", ["codecs", "streams"])
def test_what_may_be_imported_is_not_reported(layer: str) -> None:
    """Other packages and the layers below are fine outside the centre."""
    assert violations(layer, "x.py", "import fastavro\nfrom tieout.reconcilers.changes import Change") == []


def test_the_simulator_does_not_know_the_rules() -> None:
    """A truth that was computed by the engine would prove nothing."""
    for path in (ROOT / "streams" / "simulate").rglob("*.py"):
        known = {module for _, module in imports(path.read_text(encoding="utf-8"))}
        rules = ("tieout.reconcilers.rules", "tieout.reconcilers.engine", "tieout.reconcilers.billing")
        assert not {module for module in known if module.startswith(rules)}, path


def test_codecs_is_no_regular_package() -> None:
    """With an `__init__.py` the checkout would shadow the standard library's codecs."""
    assert not (ROOT / "codecs" / "__init__.py").exists()


def test_the_packaging_names_every_package_of_the_tree() -> None:
    """A package that pyproject forgets is missing from the wheel."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    inits = {path.parent for layer in LAYERS for path in (ROOT / layer).rglob("__init__.py")}
    data = {"tieout.codecs", "tieout.codecs.mappings"}  # namespace packages: they have no __init__.py
    tree = {"tieout." + ".".join(folder.relative_to(ROOT).parts) for folder in inits} | data
    assert sorted(listed) == sorted(tree)


def tracked() -> list[Path]:
    """The files of the repository, new ones included."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listing.returncode:
        pytest.skip("not a git checkout: the list of files is git's")
    return [ROOT / name for name in listing.stdout.splitlines() if (ROOT / name).is_file()]


# Where packages come from is the business of the machine that installs them; spelt in pieces, so as not to find itself.
FORBIDDEN = re.compile(
    "|".join(("pypi" + r"\.org", "pythonhosted" + r"\.org", "repo1?" + r"\.maven", "maven" + r"\.org", "index-" + "url",
              "find-" + "links", "/ro" + "ot/", "/wo" + "rk/", "npmjs" + r"\.", "crates" + r"\.io"))
)  # fmt: skip


def test_nothing_names_a_package_host_or_this_machine() -> None:
    """A lock with an index address, or a path of a developer's machine, works on one machine only."""
    found = []
    for path in tracked():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if FORBIDDEN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_the_forbidden_names_are_recognised() -> None:
    """The search above can find something."""
    for line in ("--index-" + "url https://example.net", "see https://pypi" + ".org/project/x", "/ro" + "ot/x"):
        assert FORBIDDEN.search(line), line


def test_every_module_says_what_it_is_for() -> None:
    """A docstring at the top of every module that holds code."""
    bare = []
    for layer in LAYERS:
        for path in modules(layer):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if tree.body and ast.get_docstring(tree) is None:
                bare.append(str(path.relative_to(ROOT)))
    assert bare == []


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    """Schemas, mappings, queries, templates: what a checkout has, an installation has."""
    for folder in LAYERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, tmp_path)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "dist", "."]
    subprocess.run(build, cwd=tmp_path, check=True, timeout=120)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    packed = {name.removeprefix("tieout/") for name in zipfile.ZipFile(wheel).namelist() if name.startswith("tieout/")}
    files = {str(path.relative_to(ROOT)) for path in tracked() if path.relative_to(ROOT).parts[0] in LAYERS}
    assert packed == files
