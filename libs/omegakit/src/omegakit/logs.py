"""Structured logs: one JSON object a line, with the request and task ids that follow a call through every service.

Secrets never reach a log: values under telling names are masked, whoever logged them.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from omegakit.settings import LogSettings

_SECRET_NAME = re.compile(r"(secret|password|apikey|api_key|token|authorization|pepper|credential)", re.IGNORECASE)
_API_KEY = re.compile(r"omk_([0-9a-zA-Z]+)_[0-9a-zA-Z_\-]+")
_MASK = "***"


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask values under telling names, and API keys inside any text."""
    return {key: _MASK if _SECRET_NAME.search(key) else _masked(value) for key, value in event.items()}


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return _API_KEY.sub(r"omk_\1_" + _MASK, value)
    if isinstance(value, dict):
        return {key: _MASK if _SECRET_NAME.search(str(key)) else _masked(item) for key, item in value.items()}
    return value


def configure_logs(settings: LogSettings, *, own_process: bool = True) -> None:
    """Set up logs for this process. Called by entry points only, once, never on import.

    Unless this is a process of our own, what the user's libraries log and warn is left alone.
    """
    stream = settings.file.open("a", buffering=1, encoding="utf-8") if settings.file else sys.stderr
    structlog.configure(
        processors=[*_processors(), *_rendering(settings, stream)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    if not own_process:
        return
    logging.captureWarnings(capture=True)
    logging.basicConfig(handlers=[_LibraryLogs()], level=logging.WARNING, force=True)


class _LibraryLogs(logging.Handler):
    """What libraries log by the standard module, in the same form as our own lines."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(service=record.name)
        logger.log(record.levelno, record.getMessage(), exc_info=record.exc_info)


def _processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _rendering(settings: LogSettings, stream: TextIO) -> list[Processor]:
    if settings.format == "console":
        return [mask_secrets, structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    return [structlog.processors.format_exc_info, mask_secrets, structlog.processors.JSONRenderer(default=str)]


def get_logger(service: str) -> structlog.stdlib.BoundLogger:
    """Give a logger that names its service."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(service=service)
    return logger
