"""The first connection to the cluster: a refusal is told apart from a broker that is not up, and said in words.

librdkafka goes on trying whatever happens, and a call that waits for it ends with 'broker transport failure'. What was
wrong, a password or a certificate, goes to its error callback alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tieout.streams.clock import monotonic_s

if TYPE_CHECKING:
    from tieout.streams.settings import Settings

_ASK_S: Final = 10.0
_LOOK_S: Final = 0.25
_ASIDE: Final = re.compile(r"^\S+/bootstrap: | \(after [^)]*\)| \(install [^)]*\)")


class Refused(Exception):
    """The cluster and this configuration do not accept each other; the message says which side, and what to correct."""


def admin(settings: Settings, within_s: float = _ASK_S) -> Any:
    """An admin client whose cluster has answered; Refused for wrong credentials, KafkaException when none answers."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    ear = _Ear()
    client = AdminClient(settings.kafka_client({"log_level": 0, "error_cb": ear}))
    until_s = monotonic_s() + within_s
    while True:
        try:
            client.list_topics(timeout=_LOOK_S)
        except KafkaException:
            client.poll(0)  # runs the callback
            if ear.heard is not None:
                raise Refused(_sentence(settings, ear.heard)) from None
            if monotonic_s() >= until_s:
                raise
        else:
            return client


def check(settings: Settings) -> None:
    """Refused when the cluster does not take our credentials, or we not its certificate; silent when it is not up."""
    from confluent_kafka import KafkaException

    if str(settings.kafka.client.get("security.protocol", "PLAINTEXT")).upper() == "PLAINTEXT":
        return  # nothing to refuse
    try:
        admin(settings)
    except KafkaException:
        return  # each role waits for its brokers in its own way


def _sentence(settings: Settings, error: Any) -> str:
    """For people: who refused whom, what was said, and which settings to look at; never a value of theirs."""
    from confluent_kafka import KafkaError

    where = settings.kafka.client["bootstrap.servers"]
    said = _ASIDE.sub("", " ".join(error.str().split()))
    if error.code() == KafkaError._SSL:
        return f"the certificate of {where} is not accepted: {said}. Look at kafka.client ssl.ca.location"
    return f"{where} refused the login: {said}. Look at kafka.client sasl.username and sasl.password"


class _Ear:
    """Hears what librdkafka says of its connections, and keeps the first that no retry will heal."""

    def __init__(self) -> None:
        self.heard: Any = None

    def __call__(self, error: Any) -> None:
        from confluent_kafka import KafkaError

        if error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL) and self.heard is None:
            self.heard = error
