"""What protects a connection: which client settings are refused, which keys are too weak, and Faust's credentials.

One block, `[kafka.client]` under librdkafka's names, configures every client; Faust's TLS and SASL are derived from it.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

_WEAK: Final = (
    "", "admin", "changeme", "change-me", "default", "demo", "password", "secret", "test", "tieout", "token",
)  # fmt: skip
_WEAK_DIGESTS: Final = frozenset(sha256(word.encode()).hexdigest() for word in _WEAK)
_KEY_LENGTH: Final = 32
_DISTINCT: Final = 10  # characters; a random key of 32 has some 20
_LOGIN: Final = ("sasl.username", "sasl.password")
_MECHANISMS: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN")
_UNSHARED: Final = ("ssl.keystore.location", "ssl.engine.location", "ssl.certificate.pem", "ssl.key.pem")


def is_weak(key: str) -> bool:
    """Whether a signing key is short, a default, or plainly no product of a random generator."""
    return len(key) < _KEY_LENGTH or len(set(key)) < _DISTINCT


def is_weak_digest(digest: str) -> bool:
    """Whether this is the SHA-256 of nothing, or of a word that somebody would try first."""
    return digest in _WEAK_DIGESTS


def client_problems(client: Mapping[str, Any]) -> list[str]:
    """What in `[kafka.client]` would send a password in clear, not check the broker, or work for some clients only."""
    protocol = _protocol(client)
    found = []
    if protocol == "SASL_PLAINTEXT":
        found.append("security.protocol SASL_PLAINTEXT sends the password in clear: use SASL_SSL")
    elif protocol != "SASL_SSL" and all(client.get(name) for name in _LOGIN):
        found.append(f"sasl.username and sasl.password are not used with security.protocol {protocol}: use SASL_SSL")
    if protocol == "SASL_SSL":
        if not all(client.get(name) for name in _LOGIN):
            found.append("SASL_SSL needs sasl.username and sasl.password (a secret, not the file)")
        if (mechanism := _mechanism(client)) not in _MECHANISMS:
            found.append(f"sasl.mechanism {mechanism} is not known to every client: use {' or '.join(_MECHANISMS)}")
    if "@" in str(client.get("bootstrap.servers", "")):
        found.append("bootstrap.servers holds no user or password: use sasl.username and sasl.password")
    if str(client.get("enable.ssl.certificate.verification", "true")).lower() == "false":
        found.append("enable.ssl.certificate.verification false accepts any broker: name its CA in ssl.ca.location")
    if str(client.get("ssl.endpoint.identification.algorithm", "https")).lower() != "https":
        found.append("ssl.endpoint.identification.algorithm must be https: any certificate would do for any broker")
    found += [f"{name} is not known to every client: name a PEM file" for name in _UNSHARED if client.get(name)]
    return found


def complete(client: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the mechanism written out: librdkafka's own default is GSSAPI, which needs Kerberos."""
    sasl = {"sasl.mechanism": _mechanism(client)} if _protocol(client) == "SASL_SSL" else {}
    return {**client, **sasl}


def faust_credentials(client: Mapping[str, Any]) -> Any:
    """`faust.SASLCredentials`, `SSLCredentials` or None for a plain connection; ValueError for what is refused."""
    import faust

    if problems := client_problems(client):
        raise ValueError("; ".join(problems))
    protocol = _protocol(client)
    if protocol == "PLAINTEXT":
        return None
    context = _context(client)
    if protocol == "SSL":
        return faust.SSLCredentials(context=context)
    return faust.SASLCredentials(
        username=client["sasl.username"],
        password=client["sasl.password"],
        mechanism=_mechanism(client),
        ssl_context=context,
    )


def _protocol(client: Mapping[str, Any]) -> str:
    return str(client.get("security.protocol", "PLAINTEXT")).upper()


def _mechanism(client: Mapping[str, Any]) -> str:
    return str(client.get("sasl.mechanisms") or client.get("sasl.mechanism") or "SCRAM-SHA-512")


def _context(client: Mapping[str, Any]) -> ssl.SSLContext:
    """TLS as librdkafka does it: the CA by file, folder or text; host names are always checked."""
    place = client.get("ssl.ca.location")
    folder = place is not None and Path(str(place)).is_dir()
    context = ssl.create_default_context(
        cafile=None if folder else place, capath=place if folder else None, cadata=client.get("ssl.ca.pem")
    )
    if certificate := client.get("ssl.certificate.location"):
        context.load_cert_chain(certificate, client.get("ssl.key.location"), client.get("ssl.key.password"))
    return context
