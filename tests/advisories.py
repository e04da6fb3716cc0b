"""Known vulnerabilities of the locked packages: `make audit`.

What pip-audit cannot ask about it skips, and then ends well: an audit behind a mirror that knows no advisories would be
green without having looked. Here the three ends are apart: vulnerable (1), audited (0), and not audited (0, and said).
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
IGNORED: Final = ROOT / "deploy" / "audit-ignore.toml"
_TIMEOUT_S: Final = 10


@dataclass(frozen=True, slots=True)
class Ignore:
    """An advisory that is passed over until a day, and why."""

    id: str
    until: datetime.date
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an audit ended: its exit code and what is said."""

    code: int
    lines: tuple[str, ...]


def ignores(text: str) -> list[Ignore]:
    """The ignore list; KeyError or TypeError for an entry that lacks its day or its reason."""
    entries = tomllib.loads(text).get("ignore", ())
    found = [Ignore(str(each["id"]), each["until"], str(each["reason"])) for each in entries]
    for each in found:
        if type(each.until) is not datetime.date or not each.reason.strip():
            raise TypeError(f"{each.id}: until must be a day and reason a sentence")
    return found


def judge(report: Any, listed: Iterable[Ignore], today: datetime.date) -> Verdict:
    """The verdict on pip-audit's JSON report; None when there is none."""
    over = [each for each in listed if each.until < today]
    expired = [f"expired: {each.id} was ignored until {each.until}: {each.reason}" for each in over]
    if report is None:
        return Verdict(1 if expired else 0, (*expired, "NOT AUDITED: the advisory service cannot be reached"))
    packages = report["dependencies"]
    ids = {each.id for each in listed if each.until >= today}
    vulnerable = [
        f"{package['name']} {package['version']}: {found['id']}, "
        f"fixed in {', '.join(found['fix_versions']) or 'nothing'}"
        for package in packages for found in package.get("vulns", ())
        if not ids & {found["id"], *found.get("aliases", ())}
    ]  # fmt: skip
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    asked = len(packages) - len(skipped)
    said = [f"{asked} packages audited, {len(vulnerable)} advisories"]
    if skipped:
        said.append(f"NOT AUDITED, the advisory service did not know them: {len(skipped)} of {len(packages)} packages")
    return Verdict(1 if vulnerable or expired else 0, (*expired, *vulnerable, *said))


def ask() -> Any:
    """pip-audit's report on the locked packages, or None when it could not ask."""
    command = [
        sys.executable, "-m", "pip_audit", "-r", str(ROOT / "requirements.txt"), "--no-deps", "--disable-pip",
        "-f", "json", "--progress-spinner", "off", "--timeout", str(_TIMEOUT_S),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)
    except ValueError:
        print(done.stderr.strip().rpartition("\n")[2], file=sys.stderr)
        return None


def main() -> int:
    today = datetime.datetime.now(datetime.UTC).date()  # noqa: TID251 - no process of ours
    verdict = judge(ask(), ignores(IGNORED.read_text()), today)
    print("\n".join(verdict.lines))
    return verdict.code


if __name__ == "__main__":
    sys.exit(main())
