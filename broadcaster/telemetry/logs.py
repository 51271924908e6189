"""Structured logs: JSON lines on standard error, a readable form on a terminal.

An event is a constant name and key-values: `log.info("slice_done", lane=…, accepted=…)`. What other
libraries log goes through the same processors, masking included.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

import structlog

from broadcaster.telemetry.masking import Masking

if TYPE_CHECKING:
    from collections.abc import Iterable

    from structlog.typing import EventDict, Processor, WrappedLogger

#: Libraries that write a line for every job or request; their warnings and errors still show.
_TALKATIVE: Final = ("arq", "httpx", "httpcore", "uvicorn.access", "asyncio", "redis", "pyreqwest")
#: Names that structlog and the formatter use themselves.
_INTERNAL: Final = ("_record", "_from_structlog")


def configure(
    level: str = "info",
    format: Literal["auto", "json", "console"] = "auto",  # noqa: A002 - the setting's name
    *,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Send every log line of the process to `stream` (standard error), masked.

    `level` is debug, info, warning or error. `secrets` are texts that must never appear, such as the auth
    token. May be called again; the last call counts.
    """
    out = stream or sys.stderr
    console = format == "console" or (format == "auto" and out.isatty())
    masking = Masking(secrets)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _masker(masking),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: Processor = (
        structlog.dev.ConsoleRenderer(
            colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=24
        )
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False, default=repr)
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of the module called `name`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def _masker(masking: Masking) -> Processor:
    def mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        internal: dict[str, Any] = {name: event.pop(name) for name in _INTERNAL if name in event}
        level, logger = event.pop("level", None), event.pop("logger", None)
        return {**masking.mapping(event), "level": level, "logger": logger, **internal}

    return mask
