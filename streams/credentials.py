"""Faust's TLS and SASL credentials, derived from librdkafka's names so that one block configures both clients."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any


def faust_credentials(client: Mapping[str, Any]) -> Any:
    """`faust.SASLCredentials`, `SSLCredentials` or None; SASL without TLS is refused (it would send the password)."""
    import faust

    protocol = str(client.get("security.protocol", "PLAINTEXT")).upper()
    if protocol == "PLAINTEXT":
        return None
    if protocol == "SASL_PLAINTEXT":
        raise ValueError("security.protocol SASL_PLAINTEXT sends the password in clear: use SASL_SSL")
    context = _context(client)
    if protocol == "SSL":
        return faust.SSLCredentials(context=context)
    return faust.SASLCredentials(
        username=client.get("sasl.username"),
        password=client.get("sasl.password"),
        mechanism=client.get("sasl.mechanisms") or client.get("sasl.mechanism") or "SCRAM-SHA-512",
        ssl_context=context,
    )


def _context(client: Mapping[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=client.get("ssl.ca.location"))
    if certificate := client.get("ssl.certificate.location"):
        context.load_cert_chain(certificate, client.get("ssl.key.location"), client.get("ssl.key.password"))
    return context
