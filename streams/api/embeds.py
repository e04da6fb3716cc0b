"""Embed tokens: a signed, short-lived permission to see one KPI within one scope, for a frame on somebody's page.

JWT, HS256 alone. The header's `kid` names the key; every configured key is accepted and one signs, so a key is replaced
by adding its successor, signing with it, and dropping the old one a day later. Dropping a key ends all its tokens.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt

from tieout.streams import clock
from tieout.streams.api.problems import Problem
from tieout.streams.api.values import Scope

LONGEST_S: Final = 86_400
_ALGORITHM: Final = "HS256"
_ISSUER: Final = "tieout"
_AUDIENCE: Final = "tieout-embed"
_REQUIRED: Final = ["exp", "iat", "iss", "aud", "sub", "jti"]


@dataclass(frozen=True, slots=True)
class Embed:
    """What a token permits: one KPI, only these values of each dimension, until `expires_s` (Unix seconds)."""

    id: str
    kpi: str
    scope: Scope
    expires_s: int


@dataclass(frozen=True, slots=True)
class EmbedKeys:
    """Keys by id, and the id of the one that signs (None: the only one)."""

    keys: Mapping[str, str] = field(default_factory=dict)
    signing: str | None = None

    def sign(self, kpi: str, scope: Scope, ttl_s: int) -> tuple[str, Embed]:
        """A token and what it permits; a 409 problem when no key is configured."""
        kid = self.signing or next(iter(self.keys), None)
        if kid is None:
            raise Problem(409, "no-embed-key", "No embed key", "Set api.embed_keys: `tieout token key` makes one.")
        now_s = clock.now_us() // 1_000_000
        embed = Embed(uuid.uuid4().hex[:16], kpi, scope, now_s + min(ttl_s, LONGEST_S))
        claims = {
            "iss": _ISSUER, "aud": _AUDIENCE, "sub": kpi, "jti": embed.id, "iat": now_s, "exp": embed.expires_s,
            "scope": {name: list(values) for name, values in scope.wanted.items()},
        }  # fmt: skip
        return jwt.encode(claims, self.keys[kid], algorithm=_ALGORITHM, headers={"kid": kid}), embed

    def verify(self, token: str) -> Embed:
        """What a token permits; a 401 problem that tells no more than whether it is too old."""
        try:
            key = self.keys.get(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise jwt.InvalidKeyError("unknown")
            claims = jwt.decode(
                token, key, algorithms=[_ALGORITHM], audience=_AUDIENCE, issuer=_ISSUER, options={"require": _REQUIRED}
            )
            return _embed(claims)
        except jwt.ExpiredSignatureError:
            raise _refused("The embed token has expired: ask the page's owner for a new one.") from None
        except (jwt.PyJWTError, ValueError, KeyError, TypeError, AttributeError):
            raise _refused("The embed token is not one of ours.") from None


def _embed(claims: Mapping[str, Any]) -> Embed:
    issued_s, expires_s = int(claims["iat"]), int(claims["exp"])
    if expires_s - issued_s > LONGEST_S:
        raise ValueError("it lives longer than a token may")
    wanted = {str(name): tuple(map(str, values)) for name, values in claims["scope"].items()}
    return Embed(str(claims["jti"]), str(claims["sub"]), Scope(wanted), expires_s)


def _refused(detail: str) -> Problem:
    return Problem(401, "unauthorized", "Not authorized", detail)
