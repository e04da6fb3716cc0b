"""Where settings come from: a TOML file, a secrets directory and the environment, each value with its origin."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PREFIX = "TIEOUT_"
NOT_SETTINGS = ("CONFIG", "SECRETS_DIR", "REQUIRE", "TEST_")  # variables with our prefix that configure no process
_UNTYPED = ("policy",)  # values that no model coerces: text is read as a TOML value

SECRET_WORDS = (
    "password", "secret", "token", "key.pem", "sasl.oauthbearer.config", "jaas", "user.info", "embed_keys",
)  # fmt: skip

Key = tuple[str, ...]


def is_secret(key: str) -> bool:
    """Whether the value of this key must never be shown."""
    return not key.endswith(".scopes") and any(word in key.lower() for word in SECRET_WORDS)


def shown(key: str, value: Any) -> str:
    """A value for a message, without the secrets in it: those of its members, and credentials in an address."""
    if is_secret(key):
        return "(hidden)"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name!r}: {shown(f'{key}.{name}', item)}" for name, item in value.items()) + "}"
    return re.sub(r"[^\s,/'\"]+@", "(hidden)@", repr(value))  # user:password@host


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: the key, where it stands, what was found, what was expected, the nearest valid key."""

    key: str
    where: str
    found: str
    expected: str
    nearest: str | None = None

    def __str__(self) -> str:
        lines = [f"  {self.key}   ({self.where})"]
        lines += [f"      found      {self.found}", f"      expected   {self.expected}"]
        if self.nearest:
            lines.append(f"      did you mean  {self.nearest} ?")
        return "\n".join(lines)


class ConfigError(Exception):
    """The configuration is not valid; `problems` holds all of them, not only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
        super().__init__(f"the configuration is not valid: {count}\n\n" + "\n".join(map(str, problems)))


@dataclass
class Layers:
    """The merged values and, by key, the place that each value came from."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Key, str] = field(default_factory=dict)

    def put(self, key: Key, value: Any, origin: str) -> None:
        """Set one value, over what an earlier layer said; tables are made on the way."""
        at = self.values
        resolved: list[str] = []
        for name in key[:-1]:
            resolved.append(_same_name(at, name))
            below = at.setdefault(resolved[-1], {})
            if not isinstance(below, dict):  # a scalar where a table is expected: the model reports it
                return
            at = below
        resolved.append(_same_name(at, key[-1]))
        at[resolved[-1]] = value
        self.origins[tuple(resolved)] = origin

    def origin(self, key: Key) -> str:
        """Where a key, or the nearest table around it, was set."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.origins:
                return self.origins[key[:length]]
        return "not set"


def read(path: Path | None, secrets: Path | None, env: Mapping[str, str]) -> Layers:
    """Merge file, secrets and environment, the later over the earlier; raises ConfigError when one cannot be read."""
    layers = Layers()
    if path is not None:
        _read_file(layers, path)
    for name, value, origin in (*_secrets(secrets), *_variables(env)):
        key = tuple(part.lower() for part in name.split("__"))
        if key[:2] == ("kafka", "client"):
            key = (*key[:2], "_".join(key[2:]).replace("_", "."))  # librdkafka's names: BOOTSTRAP_SERVERS
        layers.put(key, _toml_value(value) if key[0] in _UNTYPED else value, origin)
    return layers


def _read_file(layers: Layers, path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except OSError as error:
        raise _unreadable(str(path), str(path), error) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        line = re.search(r"line (\d+)", str(error))
        where = f"{path}:{line[1]}" if line else str(path)
        raise ConfigError([Problem(str(path), where, str(error), "valid TOML in UTF-8")]) from error
    kafka = values.get("kafka")
    if isinstance(kafka, dict) and isinstance(kafka.get("client"), dict):
        kafka["client"] = dict(_dotted(kafka["client"]))
    layers.values = values
    layers.origins = {key: f"{path}:{line}" for key, line in key_lines(text).items()}


def _secrets(folder: Path | None) -> Iterator[tuple[str, str, str]]:
    if folder is None or not folder.is_dir():
        return
    for file in sorted(folder.iterdir()):
        if file.name.upper().startswith(PREFIX) and file.is_file():
            yield file.name[len(PREFIX) :], file.read_text(encoding="utf-8").rstrip("\n"), str(file)


def _variables(env: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for variable in sorted(env):
        name = variable.removeprefix(PREFIX)
        if name == variable or name.startswith(NOT_SETTINGS):
            continue
        if name.endswith("_FILE"):
            yield name.removesuffix("_FILE"), _file_text(variable, env[variable]), f"{variable} -> {env[variable]}"
        else:
            yield name, env[variable], variable


def _file_text(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\n")
    except OSError as error:
        raise _unreadable(variable, path, error) from error


def _unreadable(key: str, path: str, error: OSError) -> ConfigError:
    return ConfigError([Problem(key, path, error.strerror or str(error), "a readable file")])


def _dotted(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`bootstrap.servers = …` without quotes is a nested table in TOML: give librdkafka's names back."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _same_name(table: Mapping[str, Any], name: str) -> str:
    """A variable cannot spell a hyphen, a dot or case: take the table's own key when only that differs."""
    folded = re.sub(r"[-_.]", "", name).lower()
    return next((key for key in table if re.sub(r"[-_.]", "", key).lower() == folded), name)


_HEADER = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_ENTRY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


def key_lines(text: str) -> dict[Key, int]:
    """The line number of every table header and key of a TOML text (keys inside inline tables: the table's line)."""
    lines: dict[Key, int] = {}
    table: Key = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _parts(header[1])
            lines.setdefault(table, number)
        elif entry := _ENTRY.match(line):
            lines.setdefault(_client_key(table + _parts(entry[1])), number)
    return lines


def _parts(text: str) -> Key:
    return tuple(part.strip("\"'") for part in _PART.findall(text))


def _client_key(key: Key) -> Key:
    return (*key[:2], ".".join(key[2:])) if key[:2] == ("kafka", "client") and len(key) > 2 else key
