"""Who may ask for what: API tokens with scopes, embed tokens with a locked scope, and nobody else.

Every address needs `kpi:read` unless it stands in a table below: an address that is forgotten here is closed, not open.
Tokens are known by their SHA-256 alone. Without tokens the API is open, on names of this machine only, so that no page
of another site can read it through a browser; personal data stays masked.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_address
from typing import Annotated, Final

from fastapi import Depends, Request

from tieout.streams.api.embeds import Embed, EmbedKeys
from tieout.streams.layers import Problem
from tieout.streams.settings import Api

OPEN_PATHS: Final = frozenset({"/livez", "/readyz", "/startupz", "/docs", "/openapi.json", "/favicon.ico"})
OPEN_FOLDERS: Final = ("/static/",)
NEEDS: Final[Mapping[str, str]] = {"/metrics": "ops", "/v1/embed-tokens": "embed:sign"}
EMBED: Final = "/embed/"
_EVERYDAY: Final = frozenset({"kpi:read", "embed:sign", "ops"})
_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the name of a token, never the token; `embed` when an embed token locks what may be seen."""

    name: str
    scopes: frozenset[str]
    embed: Embed | None = None

    @property
    def detail(self) -> bool:
        """Whether personal data is shown."""
        return "detail:read" in self.scopes


ANYONE: Final = Caller("anonymous", _EVERYDAY)  # who asks where there are no tokens
NOBODY: Final = Caller("nobody", frozenset())


@dataclass(frozen=True, slots=True)
class Access:
    """The tokens of the configuration; `local_only` refuses host names that are not this machine's."""

    tokens: Mapping[str, tuple[str, frozenset[str]]] = field(default_factory=dict)  # name -> (sha256, scopes)
    keys: EmbedKeys = field(default_factory=EmbedKeys)
    local_only: bool = False

    @classmethod
    def of(cls, api: Api) -> Access:
        """As configured."""
        tokens = {name: (token.sha256, frozenset(token.scopes)) for name, token in api.tokens.items()}
        return cls(tokens, EmbedKeys(api.embed_keys, api.embed_key), local_only=not tokens)

    def caller(self, authorization: str) -> Caller | None:
        """Who an Authorization header belongs to; None for nobody we know."""
        if not self.tokens:
            return ANYONE
        token = _presented(authorization)
        if token is None:
            return None
        digest = sha256(token.encode()).hexdigest()
        found = None
        for name, (known, scopes) in self.tokens.items():  # all of them: the time must not say which one was near
            if hmac.compare_digest(digest, known):
                found = Caller(name, scopes)
        return found

    def bearer_of(self, token: str) -> Caller:
        """Who an embed token belongs to; a Problem says why it is not accepted."""
        embed = self.keys.verify(token)
        return Caller(f"embed:{embed.id}", frozenset({"kpi:read"}), embed)

    def is_local(self, host: str) -> bool:
        """Whether a Host header names this machine, where only that is answered."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        return not self.local_only or name.lower() in _LOCAL_NAMES


def needed(path: str) -> str | None:
    """The scope that an address needs; None for what everybody may have."""
    if path in OPEN_PATHS or path.startswith(OPEN_FOLDERS):
        return None
    return NEEDS.get(path, "kpi:read")


def start_problems(api: Api) -> list[Problem]:
    """Why the API must not start like this."""
    if api.tokens or api.open_to_network or is_loopback(api.host):
        return []
    expected = "a token (`tieout token new NAME`), or api.host 127.0.0.1"
    return [Problem("api.tokens", "[api]", f"none, and api.host {api.host} is reachable from other machines", expected)]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _presented(header: str) -> str | None:
    """The token of a Bearer header, or the password of a Basic one: browsers and spreadsheets can only do that."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip() or None
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2] or None
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def caller_of(request: Request) -> Caller:
    """The caller that the gate let in."""
    found: Caller = request.scope.get(CALLER, NOBODY)
    return found


CALLER: Final = "tieout.caller"
Who = Annotated[Caller, Depends(caller_of)]
