"""`send` over the API: the list goes there as it is read; what it comes to is printed as always."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from broadcaster.cli import preview, trial
from broadcaster.cli.exits import CommandFailedError, InputError
from broadcaster.cli.output import say
from broadcaster.cli.over_api import api
from broadcaster.cli.showing import show_broadcast
from broadcaster.cli.waiting import wait_over_api, waits_for_worker
from broadcaster.cli.whatsapp_preview import shown_text
from broadcaster.client import ApiError, NotReached
from broadcaster.client.asking import quoted, read_json
from broadcaster.client.broadcasts import new_key
from broadcaster.domain.senders import format_rate
from broadcaster.intake.dry_run import DryRun
from broadcaster.intake.faults import Fault, ListRefusedError, RejectsFile, UnreadableListError
from broadcaster.intake.submit import NotConfirmedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from rich.status import Status

    from broadcaster.cli.send import SendOptions
    from broadcaster.client import Client
    from broadcaster.domain.content import Content

_SHOW_SECONDS: Final = 0.1


def _key_of(options: SendOptions) -> str:
    """Return the key to send under. Raises InputError for one that no header can carry."""
    key = options.idempotency_key or new_key()
    try:
        quoted(key)
    except ValueError:
        told = "--idempotency-key takes 1 to 255 printable ASCII characters over an API: choose another"
        raise InputError(told) from None
    return key


def send_over_api(options: SendOptions) -> int:
    """Do what `send` was asked for over the API. Returns the exit code; raises what `explain` knows."""
    with api(options.settings) as client, _opened(options) as stream:
        sending = _Sending(options, client, stream)
        if options.dry_run:
            return preview.tell(sending.forecast(), options)
        if options.test_to:
            return trial.tell(read_json(sending.upload(test_to=options.test_to)), options)
        return sending.run()


class _Sending:
    """One list on its way."""

    def __init__(self, options: SendOptions, client: Client, stream: _Passing) -> None:
        self._options = options
        self._client = client
        self._stream = stream
        self._key = _key_of(options)

    def run(self) -> int:
        options = self._options
        if options.rejects is not None:
            RejectsFile(options.rejects, list_path=options.file).close()
        self._confirm()
        answer = self.upload(key=self._key)
        now: dict[str, Any] = read_json(answer)
        if options.idempotency_key and answer.headers.get("idempotent-replayed"):
            say(f"This list was taken before with this idempotency key, as broadcast {now['id']}.")
        if options.rejects is not None and now["rejected"]:
            with options.rejects.open("wb") as file:
                file.writelines(self._client.rejects(now["id"]))
            say(f"{now['rejected']:,} faulty rows are in {options.rejects}.")
        code = 0
        if options.wait and not options.draft:
            code, now = wait_over_api(self._client, now["id"])
        else:
            now = self._client.broadcast(now["id"]).raw
        show_broadcast(now, as_json=options.as_json)
        if now["state"] == "draft":
            say(f"Not started. Start it with: broadcaster broadcasts start {now['id']}")
        elif waits_for_worker(now):
            say("No worker is running; it is queued. Start one with: broadcaster worker")
        return code

    def forecast(self) -> DryRun:
        return msgspec.convert(read_json(self.upload(dry_run=True)), DryRun)

    def upload(self, *, key: str = "", **more: Any) -> Any:
        """Send the list with what is asked for; return the answer. Raises `ListRefusedError` besides."""
        options = self._options
        spec = _spec(options) | more
        try:
            return self._client.upload(self._stream, spec, key=key or new_key(), filename=self._stream.name)
        except NotReached as error:
            if error.nothing_sent or not key:
                raise
            raise CommandFailedError(
                f"the API at {options.settings.api_url} gave no whole answer: {error}. The list may have "
                f"been taken: send it again with --idempotency-key {key}, and it is taken once"
            ) from None
        except KeyboardInterrupt:
            if key:
                say(f"Sent again with --idempotency-key {key} the list is taken once, whatever became of it.")
            raise
        except ApiError as error:
            raise (_refused(error, self._stream.name) or error) from None
        finally:
            self._stream.close()

    def _confirm(self) -> None:
        """Ask before a list of more than one is sent, where somebody is there. Raises NotConfirmedError."""
        options = self._options
        if options.yes or options.draft or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return
        if self._stream.seekable():
            found = self.forecast()
            if found.refused or found.recipients <= 1:
                return
            say(_outline(found, options))
        else:
            say(f"{options.file} can be read only once: what is in it is seen when it is sent.")
        if not click.confirm("Send it?", err=True):
            raise NotConfirmedError


def _terms(options: SendOptions) -> dict[str, Any]:
    """Return purpose, consent and hours; a window that was not named here is the API's to choose."""
    consent, (hours, zone) = options.consent, options.window_text
    agreed = None if consent is None else datetime.fromtimestamp(consent.at, UTC).isoformat()
    return {
        "purpose": options.purpose.value,
        "consent": consent and {"source": consent.source, "at": agreed},
        "consent_column": options.consent_column,
        "send_window": hours,
        "zone": zone if hours else None,
        "ignore_window": options.ignore_window or None,
        "retention_days": options.retention_days,
    }


def _spec(options: SendOptions) -> dict[str, Any]:
    """Return what is asked for as the API has it; what was not named is the API's to choose."""
    content = options.content
    at = options.schedule_at
    return {
        "name": options.name,
        "from": list(options.senders) or None,
        "messaging_service_sid": options.service,
        **content_fields(content),
        "outside_window": options.outside_window.value,
        "scheduler": options.scheduler.value,
        "schedule_at": None if at is None else datetime.fromtimestamp(at, UTC).isoformat(),
        "priority": options.priority.value,
        "expires_in": options.expires_in_seconds,
        "on_doubt": options.on_doubt.value if options.on_doubt_is_ours else None,
        "rate": options.rate,
        **_terms(options),
        "region": options.region,
        "to_column": options.to_column,
        "delimiter": options.delimiter,
        "encoding": options.encoding,
        "draft": options.draft or None,
        "on_invalid": "skip" if options.rejects is not None else None,
    }


def content_fields(content: Content) -> dict[str, Any]:
    """Return what is sent as the API has it (`ContentForm`); None where it says nothing."""
    fallback, sms = content.fallback, content.sms
    return {
        "body": content.body,
        "media_urls": list(content.media_urls) or None,
        "content_sid": content.content_sid,
        "content_sids": dict(content.languages) or None,
        "language_column": content.language_column,
        "content_variables": dict(content.content_variables) or None,
        "fallback": fallback and {"content_sid": fallback.sid, "content_variables": dict(fallback.variables)},
        "sms_fallback": sms and {"from": sms.sender, **({} if sms.body is None else {"body": sms.body})},
        "options": dict(content.options) or None,
    }


def _refused(error: ApiError, name: str) -> ListRefusedError | None:
    """Return what the local command raises for faulty rows; None for any other problem."""
    lines = [fault for fault in error.errors if "line" in fault]
    if "faults" not in error.problem or not lines:
        return None
    shown = tuple(
        Fault(fault["line"], fault.get("column") or "", fault.get("value") or "", fault["detail"])
        for fault in lines
    )
    total, rows = int(error.problem["faults"]), int(error.problem["rows"])
    return ListRefusedError(name=name, total=total, rows=rows, shown=shown, path=None)


def _outline(report: DryRun, options: SendOptions) -> str:
    """Return what a person must know to say yes: as `preview.outline`, without what only sending shows."""
    skipped = f"; skipped: {report.duplicates:,} duplicates" if report.duplicates else ""
    lines = [f"{report.recipients:,} recipients, {report.segments:,} segments{skipped}"]
    lines += [
        f"  {s.recipients:,} from {s.sender}; unless its pace is set, {format_rate(s.rate)}"
        for s in report.senders
    ]
    if report.by_fallback:
        lines.append(f"  {preview.by_fallback(report.by_fallback)}")
    for message in report.messages[:1]:
        template = message.content_sid or options.content.content_sid
        body = shown_text(message.body or "", message.to, err=True)
        text = body or message.content_variables or f"template {template}"
        lines.append(f"  first message, to {message.to}: {text}")
    lines += [f"  warning: {text}" for text in report.warnings]
    return "\n".join(lines)


class _Passing:
    """A list that is being sent; on a terminal it says how far it is."""

    def __init__(self, stream: BinaryIO, name: str, size: int) -> None:
        self.name = name
        self._stream = stream
        self._size = size
        self._next = 0.0
        self._done = 0
        self._status: Status | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            part = self._stream.read(size)
        except OSError as error:
            raise UnreadableListError(f"cannot read {self.name}: {error.strerror or error}") from None
        self._done += len(part)
        if sys.stderr.isatty() and time.monotonic() > self._next:
            self._next = time.monotonic() + _SHOW_SECONDS
            self._show()
        return part

    def seekable(self) -> bool:
        return self._stream.seekable()

    def seek(self, place: int, whence: int = 0) -> int:
        self._done = self._stream.seek(place, whence)
        return self._done

    def tell(self) -> int:
        return self._stream.tell()

    def _show(self) -> None:
        if self._status is None:
            from rich.console import Console  # noqa: PLC0415 - only a terminal needs it

            self._status = Console(stderr=True).status("")
            self._status.start()
        share = f" ({self._done / self._size:.0%})" if self._size else ""
        self._status.update(f"sending {self.name}: {self._done / 1e6:,.1f} MB{share}")

    def close(self) -> None:
        """Leave the screen to others."""
        if self._status is not None:
            self._status.stop()
            self._status = None


@contextmanager
def _opened(options: SendOptions) -> Iterator[_Passing]:
    """Open the list. Raises UnreadableListError."""
    with ExitStack() as stack:
        if options.file == "-":
            name, stream, size = "standard input", sys.stdin.buffer, 0
        else:
            name = options.file
            try:
                stream = stack.enter_context(Path(name).open("rb"))
                size = Path(name).stat().st_size
            except OSError as error:
                raise UnreadableListError(f"cannot read {name}: {error.strerror or error}") from None
        passing = _Passing(stream, name, size)
        stack.callback(passing.close)
        yield passing
