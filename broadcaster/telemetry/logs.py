"""Structured logs: JSON lines on standard error, a readable form on a terminal.

An event is a constant name and key-values: `log.info("slice.done", lane=…, accepted=…)`. What other
libraries log goes through the same processors, masking included, and so do Python's own last words.
A line is one line, whatever its values hold, and writing it neither fails nor waits (`writing.Writer`).
"""

from __future__ import annotations

import atexit
import faulthandler
import json
import logging
import math
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

import structlog

from broadcaster.leaving import before_leaving
from broadcaster.telemetry import last_words
from broadcaster.telemetry.masking import Masking
from broadcaster.telemetry.writing import Handler, Writer, to_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from structlog.typing import EventDict, Processor, WrappedLogger

#: Libraries that write a line for every job or request; their warnings and errors still show.
_TALKATIVE: Final = ("arq", "httpx", "httpcore", "uvicorn", "asyncio", "redis", "pyreqwest")
#: Names that structlog and the formatter use themselves.
_INTERNAL: Final = ("_record", "_from_structlog")
#: What may be taken for the end of a line, or moves a terminal's cursor, and JSON leaves as it is.
_BREAKS: Final = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F) if code not in (9, 10)}


def configure(
    level: str = "info",
    format: Literal["auto", "json", "console"] = "auto",  # noqa: A002 - the setting's name
    *,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Send every log line of the process to standard error, masked; `stream`: there, at once.

    `level` is debug, info, warning or error. `secrets` are texts that must never appear, such as the auth
    token. May be called again; the last call counts.
    """
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
    out = stream or sys.stderr  # None where the process was started with it closed
    tty = out is not None and not out.closed and out.isatty()
    handler = Handler(_way_out(stream), _failed_line)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(console=format == "console" or (format == "auto" and tty), colors=tty),
            ],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
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
    if stream is None:
        last_words.take()


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of the module called `name`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def masked_beside_output(level: str = "warning", *, as_json: bool = False) -> None:
    """Let what a command logs from `level` on go to standard error, masked: its output is on standard output.

    Where something has set structlog up already, nothing changes.
    """
    if structlog.is_configured():
        return

    def logger(*_: Any) -> structlog.PrintLogger:
        return structlog.PrintLogger(sys.stderr)

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _masker(Masking()),
            *([structlog.processors.TimeStamper(fmt="iso", utc=True)] if as_json else []),
            *_renderers(console=not as_json, colors=False),
        ],
        logger_factory=logger,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
    )


def _way_out(stream: TextIO | None) -> Callable[[str], None]:
    if stream is not None:
        return to_stream(stream)
    try:
        descriptor = os.dup(2)  # ours, whatever becomes of sys.stderr
    except OSError:
        return lambda _line: None
    writer = Writer(descriptor, _dropped_line)
    atexit.register(writer.flush)
    before_leaving(writer.flush)
    faulthandler.enable(descriptor)  # it prints where the program is, and no values
    return writer.write


def _renderers(*, console: bool, colors: bool) -> list[Processor]:
    if not console:
        return [_json]
    pretty = structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=24
    )
    return [_harmless_to_a_terminal, pretty]


def _masker(masking: Masking) -> Processor:
    def mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        internal: dict[str, Any] = {name: event.pop(name) for name in _INTERNAL if name in event}
        level, logger = event.pop("level", None), event.pop("logger", None)
        named = {} if logger is None else {"logger": masking.text(str(logger))}
        return {**masking.mapping(event), "level": level, **named, **internal}

    return mask


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    try:
        line = json.dumps(event, ensure_ascii=False, allow_nan=False, default=_unknown)
    except ValueError:  # an endless number somewhere: no JSON has one
        line = json.dumps(_finite(event), ensure_ascii=False, default=_unknown)
    return line if line.isascii() and "\x7f" not in line else line.translate(_BREAKS)


def _unknown(value: object) -> str:
    return f"<{type(value).__name__}>"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _harmless_to_a_terminal(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Show control characters instead of obeying them; only a traceback has lines."""
    return {key: _shown(value, "" if key == "exception" else "\\n") for key, value in event.items()}


def _shown(value: Any, line_end: str) -> Any:
    if not isinstance(value, str):
        return value
    text = value.translate(_CONTROLS | _BREAKS)
    return text.replace("\n", line_end) if line_end else text


def _dropped_line(count: int) -> str:
    return _told("log.dropped", "logs", count=count)


def _failed_line(logger: str, error: str) -> str:
    return _told("log.failed", Masking().text(logger), error=error).rstrip("\n")


def _told(event: str, logger: str, **values: Any) -> str:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return (
        json.dumps({"event": event, **values, "level": "warning", "logger": logger, "timestamp": now}) + "\n"
    )
