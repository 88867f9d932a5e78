"""Structured logs: one line for each event, as JSON for machines or coloured text for a console.

    configure_logs(service="registry", level="INFO", log_format="json")
    log = structlog.get_logger(__name__)
    log.info("lora published", lora=name)

Every line tells service, time, level and, within a call, its request id. Lines of libraries that use the
standard `logging` come out in the same form. Values under keys whose name ends like a secret's (`token`,
`secret_key` ...) are masked.
"""

from __future__ import annotations

import logging
import re
import sys
import uuid
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any, Final, TextIO

import structlog

REQUEST_ID_KEY: Final = "x-request-id"
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
FORMATS: Final = ("json", "console")

_SECRET_KEYS: Final = re.compile(
    r"(token|secret|secret_key|password|authorization|credentials?|api_key)\Z", re.IGNORECASE
)
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
# At INFO these tell about every statement or connection.
_CHATTY_LIBRARIES: Final = ("alembic", "aiosqlite", "asyncio", "urllib3", "sqlalchemy.engine")

_request_id: ContextVar[str] = ContextVar("brandloom_request_id", default="")


def request_id() -> str:
    """The id of the call being served; empty outside of one."""
    return _request_id.get()


def adopt_request_id(offered: str) -> str:
    """Uses the caller's id for the rest of the current task when it is well-formed, else a new one; returns
    it."""
    chosen = offered if _REQUEST_ID.match(offered) else uuid.uuid4().hex
    _request_id.set(chosen)
    return chosen


def configure_logs(
    *, service: str, level: str = "INFO", log_format: str = "console", stream: TextIO = sys.stderr
) -> None:
    """Sets up structlog and the standard logging for this process; the last call counts."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _add_service(service),
        _add_request_id,
        _mask_secrets,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_renderers(log_format, stream),
        ],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY_LIBRARIES:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _add_service(service: str) -> structlog.typing.Processor:
    def add(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    return add


def _renderers(log_format: str, stream: TextIO) -> list[structlog.typing.Processor]:
    """What makes a line of an event."""
    if log_format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # Plain tracebacks: prettier ones print the local variables, and tokens are among those.
    return [
        structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    ]


def _add_request_id(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    if request_id():
        event.setdefault("request_id", request_id())
    return event


def _mask_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in event:
        if _SECRET_KEYS.search(key):
            event[key] = "***"
    return event
