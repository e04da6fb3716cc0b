"""One log line format for everything that logs, Faust and librdkafka included: JSON off a terminal, readable on one."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TextIO

import structlog

from tieout.streams.personal import masked_text
from tieout.streams.settings import Log, is_secret

_HIDDEN: Final = "(hidden)"
_IN_TEXT: Final = re.compile(
    r"(?i)((?:sasl\.)?password|secret|token|authorization)(['\"]?\s*[=:]\s*['\"]?)(?:bearer\s+)?([^\s'\",;&}]+)"
)
_IN_ADDRESS: Final = re.compile(r"(\w+://[^\s:/@]+:)[^\s@/]+@")
_CHATTY: Final = ("aiokafka", "asyncio", "faust", "mode", "httpx", "httpcore", "urllib3")  # their INFO is our DEBUG


def configure(log: Log, role: str, stream: TextIO | None = None) -> None:
    """Send every logger of the process to one stream (standard error) in one format."""
    stream = stream or sys.stderr
    pretty = log.format == "pretty" or (log.format == "auto" and stream.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.format_exc_info,
        _named(role),
        redact,
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=0)
        if pretty
        else structlog.processors.JSONRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(log.level)
    for name in _CHATTY:
        _tame(logging.getLogger(name), log.level)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Hide secrets by the name of their field, after their name inside a text, and in addresses."""
    for name, value in event.items():
        if is_secret(name) or name.lower() == "authorization":
            event[name] = _HIDDEN
        elif isinstance(value, str):
            event[name] = redact_text(value)
        elif isinstance(value, Mapping):
            event[name] = redact(None, "", dict(value))
    return event


def redact_text(text: str) -> str:
    """'sasl.password=x' and 'kafka://user:x@host' without the x, and texts without e-mail addresses."""
    return masked_text(_IN_ADDRESS.sub(rf"\1{_HIDDEN}@", _IN_TEXT.sub(rf"\1\2{_HIDDEN}", text)))


def _named(role: str) -> Any:
    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("role", role)
        return event

    return add


def _tame(logger: logging.Logger, level: str) -> None:
    """Let the root's handler format what a library logs; its own handlers and its INFO are dropped."""
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.DEBUG if level == "DEBUG" else logging.WARNING)
