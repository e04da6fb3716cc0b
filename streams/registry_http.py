"""Requests to a schema registry over HTTP: authentication, TLS, several addresses, retries."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from base64 import b64encode
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final

from tieout.codecs.errors import SchemasUnreachable
from tieout.streams.registry import Answer

if TYPE_CHECKING:
    from tieout.streams.settings import Registry

_TYPE: Final = "application/vnd.schemaregistry.v1+json"
_PAUSES_S: Final = (0.1, 0.4)  # before the second and the third try
_TRY_AGAIN: Final = (408, 429, 500, 502, 503, 504)
_BODY_MAX: Final = 8_000_000  # bytes; no schema is longer


class HttpTransport:
    """A registry at one or several addresses, tried in turn."""

    def __init__(self, settings: Registry, pause: Any = time.sleep) -> None:
        """`pause` waits for a number of seconds."""
        self._addresses = [address.strip().rstrip("/") for address in (settings.url or "").split(",")]
        self._headers = {"Accept": f"{_TYPE}, application/json", "Content-Type": _TYPE, **_authorization(settings)}
        self._timeout_s = settings.timeout_ms / 1_000
        self._context = _context(settings) if any(each.startswith("https:") for each in self._addresses) else None
        self._pause = pause

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        """The answer of the first address that gives one; SchemasUnreachable after three rounds without."""
        trouble = ""
        for pause_s in (0.0, *_PAUSES_S):
            if pause_s:
                self._pause(pause_s)
            for address in self._addresses:
                try:
                    answer = self._once(method, address + path, body)
                except (OSError, HTTPException, ValueError) as error:
                    trouble = f"{address}: {error}"
                    continue
                if answer.status not in _TRY_AGAIN:
                    return answer
                trouble = f"{address}: status {answer.status}"
        raise SchemasUnreachable(f"schema registry unreachable, last {trouble}")

    def _once(self, method: str, url: str, body: Any) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, self._headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s, context=self._context) as response:
                return Answer(response.status, json.loads(response.read(_BODY_MAX)))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _json(error.read(_BODY_MAX)))


def _json(data: bytes) -> Any:
    """The body of an error answer, which a proxy may have written."""
    try:
        return json.loads(data)
    except ValueError:
        return None


def _authorization(settings: Registry) -> dict[str, str]:
    """The header that says who asks."""
    if settings.token is not None:
        return {"Authorization": f"Bearer {settings.token}"}
    if settings.user is not None:
        pair = f"{settings.user}:{settings.password or ''}"
        return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
    return {}


def _context(settings: Registry) -> ssl.SSLContext:
    """Trust as the system does, or the named authority alone; with our certificate where the registry asks for one."""
    context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.certificate_file is not None:
        context.load_cert_chain(settings.certificate_file, settings.key_file)
    return context
