"""Kafka Connect's REST interface: one call a method, its errors as ours."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from tieout.streams.clock import monotonic_s
from tieout.streams.connect.debezium import Config
from tieout.streams.connect.sections import Connect

_REBALANCING: Final = 409
_STARTING: Final = (404, 500, 503)
_STARTS_S: Final = 10.0
_PAUSE_S: Final = 0.3
_SHOWN: Final = 600  # characters of an answer that is no JSON


class ConnectUnreachable(Exception):
    """Nobody answers at Connect's address, or not in time, or somebody else."""

    def __init__(self, found: str) -> None:
        super().__init__(f"{found}: start it, or correct connect.url")
        self.found = found


class ConnectRefused(Exception):
    """Connect answered that it will not; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Rest:
    """A connection to one Connect cluster; any of its workers answers for all."""

    def __init__(self, connect: Connect) -> None:
        self.url = str(connect.url).rstrip("/")
        self._timeout_s = connect.timeout_s
        self._headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if connect.username is not None:
            pair = b64encode(f"{connect.username}:{connect.password or ''}".encode()).decode()
            self._headers["Authorization"] = f"Basic {pair}"

    def version(self) -> str:
        """The version of Kafka that the worker runs."""
        return str(self._ask("GET", "/")["version"])

    def plugins(self) -> tuple[str, ...]:
        """The classes of the connectors that are installed."""
        return tuple(str(each["class"]) for each in self._ask("GET", "/connector-plugins"))

    def configs(self) -> dict[str, Config]:
        """The configuration of every connector."""
        found = self._ask("GET", "/connectors?expand=info")
        return {name: dict(each["info"]["config"]) for name, each in found.items()}

    def states(self) -> dict[str, dict[str, Any]]:
        """`connector` and `tasks` of every connector that a worker has begun to run: a new one is not there at once."""
        return {name: dict(each["status"]) for name, each in self._ask("GET", "/connectors?expand=status").items()}

    def validate(self, name: str, config: Config) -> dict[str, list[str]]:
        """What is wrong with a configuration, by key; connectors try to reach their database here."""
        path = f"/connector-plugins/{quote(config['connector.class'], safe='')}/config/validate"
        answer = self._ask("PUT", path, {**config, "name": name})
        found = {str(each["value"]["name"]): list(each["value"]["errors"]) for each in answer["configs"]}
        return {key: errors for key, errors in found.items() if errors}

    def put(self, name: str, config: Config) -> None:
        """Create a connector, or give it this configuration in the place of all that it had."""
        self._ask("PUT", f"/connectors/{quote(name, safe='')}/config", config)

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        """One request; asked again while the workers agree on who does what."""
        begun_s = monotonic_s()
        deadline_s = begun_s + self._timeout_s
        while True:
            try:
                return self._once(method, path, body)
            except ConnectRefused as error:
                if error.status == _REBALANCING:
                    limit_s = deadline_s
                elif method == "GET" and error.status in _STARTING:
                    limit_s = begun_s + min(_STARTS_S, self._timeout_s)
                else:
                    raise
                if monotonic_s() > limit_s:
                    raise
            time.sleep(_PAUSE_S)

    def _once(self, method: str, path: str, body: object) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data, self._headers, method=method)
        try:
            with urlopen(request, timeout=self._timeout_s) as answer:
                return json.loads(answer.read() or b"null")
        except HTTPError as error:
            raise ConnectRefused(error.code, f"{self.url}: {_said(error)}") from None
        except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
            said = f"no answer from Kafka Connect at {self.url} ({getattr(error, 'reason', error)})"
            raise ConnectUnreachable(said) from None
        except json.JSONDecodeError:
            raise ConnectUnreachable(f"{self.url} answered, but not as Kafka Connect does") from None


def _said(error: HTTPError) -> str:
    """Connect's own message where it sent one."""
    text = error.read().decode(errors="replace")
    try:
        return f"{error.code}, {json.loads(text)['message']}"
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason} {text[:_SHOWN] if not text.lstrip().startswith('<') else ''}".rstrip()
