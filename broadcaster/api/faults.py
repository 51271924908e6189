"""Every error of the program as the problem that a caller sees."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import structlog
from fastapi.exceptions import RequestValidationError
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from broadcaster.api.problems import Problem, of_status, retry_after, unavailable
from broadcaster.domain.addresses import AddressError
from broadcaster.domain.content import ContentError
from broadcaster.domain.senders import NoSenderError
from broadcaster.domain.times import TimeError
from broadcaster.intake.faults import ListError, ListRefusedError
from broadcaster.intake.submit import ContentRefusedError, SubmissionError
from broadcaster.operations.errors import (
    Conflict,
    InDoubt,
    Invalid,
    KeyReused,
    Limited,
    OperationError,
    Refused,
    UnderWay,
)
from broadcaster.operations.order_faults import as_fields
from broadcaster.settings import SettingsError
from broadcaster.store.errors import NewerData, OlderWorkers, StoreError
from broadcaster.twilio.rest import TwilioError, TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterable

log = structlog.get_logger("api")

#: Errors of a request's shape that are told; there may be as many as it has bytes.
ERRORS_TOLD = 100
#: What can't be taken as it was asked for.
_UNFIT = (
    *(ListError, SubmissionError, ContentError, AddressError),
    *(NoSenderError, SettingsError, TimeError),
)
#: What callers can cause and `problem_of` turns into a problem; anything else is a fault of ours.
EXPECTED = (
    *(Problem, HTTPException, RequestValidationError, OperationError, *_UNFIT),
    *(StoreError, RedisError, TwilioError, TwilioUnreachable, ClientDisconnect),
)


def problem_of(error: Exception) -> Problem:  # noqa: C901, PLR0911 - a line a kind
    """Return the problem that stands for an error."""
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return _validation(error)
        case ClientDisconnect():  # nobody will read it: it is for the log
            return Problem("bad-request", "The body was broken off.", headers={"Connection": "close"})
        case HTTPException():
            return of_status(error.status_code, str(error.detail), error.headers)
        case OperationError():
            return _refused(error)
        case ListRefusedError():
            return _refused_list(error)
        case ContentRefusedError():
            faults = [{"detail": f.rule, "pointer": "", "parameter": f.parameter} for f in error.faults]
            return Problem("invalid", str(error), errors=faults)
    if isinstance(error, TwilioError | TwilioUnreachable):
        return Problem("twilio-failed", str(error))
    if isinstance(error, OlderWorkers):
        return Problem("conflict", f"{error}.")
    if isinstance(error, NewerData):
        return unavailable(str(error))
    if isinstance(error, StoreError | RedisError | OSError):
        log.warning("redis.failed", error=str(error))
        return unavailable()
    if isinstance(error, _UNFIT):
        text = as_fields(str(error))
        return Problem("invalid", text, errors=[{"detail": text, "pointer": ""}])
    return _internal(error)


def _refused(error: OperationError) -> Problem:  # noqa: PLR0911 - a line a kind
    match error:
        case Conflict():
            wait = {} if error.retry_after_seconds is None else retry_after(error.retry_after_seconds)
            more = {"state": error.state} if error.state else {}
            return Problem("conflict", f"{error}.", headers=wait, more=more)
        case Invalid():
            return Problem("invalid", errors=[_entry(f.detail, f.pointer, f.line) for f in error.faults])
        case Limited():
            wait = retry_after(error.retry_after_seconds)
            told = {"code": error.code, "limit": error.limit}
            return Problem("twilio-limited", f"{error}.", headers=wait, more=told)
        case Refused():
            return Problem("twilio-refused", f"{error}.", more={"code": error.code})
        case InDoubt():
            return Problem("in-doubt", f"{error}.", more={"began_at": error.began_at})
        case UnderWay():
            return Problem("in-progress", f"{error}.", headers=retry_after(error.retry_after_seconds))
        case KeyReused():
            return Problem("idempotency-key-reused")
    return Problem("not-found", f"{error}.")


def _internal(error: Exception) -> Problem:
    instance = secrets.token_hex(8)
    log.error("request.failed", instance=instance, exc_info=error)
    return Problem("internal", more={"instance": instance})


def _entry(detail: str, pointer: str, line: int | None) -> dict[str, Any]:
    detail = as_fields(detail)
    return {"detail": detail, "pointer": pointer} if line is None else {"detail": detail, "line": line}


def _refused_list(error: ListRefusedError) -> Problem:
    errors = [
        {"detail": as_fields(fault.reason), "line": fault.line, "column": fault.column, "value": fault.value}
        for fault in error.shown
    ]
    detail = (
        f"{error.total:,} of {error.rows:,} rows have a fault, so nothing was queued. Correct them, or take "
        'the good rows with "on_invalid": "skip".'
    )
    return Problem("invalid", detail, errors=errors, more={"faults": error.total, "rows": error.rows})


def _validation(error: RequestValidationError) -> Problem:
    errors: list[dict[str, Any]] = []
    for found in error.errors()[:ERRORS_TOLD]:
        detail = found["msg"].removeprefix("Value error, ")
        if found["type"] == "json_invalid":
            detail = f"this is no JSON: {found.get('ctx', {}).get('error', detail)}"
        entry = {"detail": detail, **_place(found["loc"], found["type"], error.body)}
        if entry not in errors:
            errors.append(entry)
    return Problem("invalid", errors=errors)


def not_json(error: RequestValidationError, content_type: str) -> Problem | None:
    """Return what to say of a body that was not read as JSON because it did not say that it is."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return None
    unread = (e for e in error.errors() if e["loc"][:1] == ("body",) and e["type"] != "missing")
    if next(unread, None) is None:
        return None
    told = f"not {kind}" if kind else "and the request must say so"
    return Problem("unsupported-media-type", f"This takes application/json, {told}.")


def _place(loc: Iterable[str | int], kind: str, body: Any) -> dict[str, str]:
    """Return where a fault is: a JSON pointer into the body (RFC 6901), or a parameter's name.

    Pydantic names the member of a union on the way, which is nowhere in the body.
    """
    where, *rest = list(loc)
    if where != "body":
        return {"parameter": str(rest[0]) if rest else str(where)}
    parts: list[str] = []
    for part in rest if kind != "json_invalid" else ():
        try:
            body = body[part]
        except (KeyError, IndexError, TypeError):
            if not (kind == "missing" and part == rest[-1]):
                continue
        parts.append(f"/{escaped(str(part))}")
    return {"pointer": "".join(parts)}


def escaped(part: str) -> str:
    """Return a name as a part of a JSON pointer."""
    return part.replace("~", "~0").replace("/", "~1")
