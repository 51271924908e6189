"""Broadcasts: made of a list, steered, read."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote

import httpx

from broadcaster.client.asking import Asking, read_json
from broadcaster.client.values import Broadcast, Message

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_CSV: Final = "text/csv"
#: An answer to an upload comes when the whole list is taken; a piece of it waits for those before.
_UPLOAD: Final = httpx.Timeout(30.0, read=600.0, write=300.0)


class Readable(Protocol):
    """A binary file, or what reads like one; with `seek` and `tell` too where it is `seekable`."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, b"" at the end."""

    def seekable(self) -> bool:
        """Whether it can be read once more."""


class BroadcastCalls(Asking):
    """What can be done with broadcasts."""

    def create_broadcast(
        self, *, recipients: Sequence[Any] = (), idempotency_key: str | None = None, **spec: Any
    ) -> Broadcast:
        """Create a broadcast for up to 10,000 `recipients`: numbers, or {to, variables, reference}.

        `spec` holds the other fields: body, from_ (or a list), name, schedule_at, draft, …
        """
        body = {**spec_of(spec), **({"recipients": list(recipients)} if recipients else {})}
        key = key_or_new(idempotency_key)
        return self.one(Broadcast.of, "POST", "/v1/broadcasts", json=body, idempotency_key=key)

    def dry_run(self, *, recipients: Sequence[Any], **spec: Any) -> dict[str, Any]:
        """Return what a broadcast would come to; nothing is queued."""
        body = {**spec_of(spec), "recipients": list(recipients), "dry_run": True}
        report: dict[str, Any] = self.json("POST", "/v1/broadcasts", json=body, idempotency_key=new_key())
        return report

    def upload_broadcast(
        self,
        recipients: Readable,
        *,
        idempotency_key: str | None = None,
        filename: str = "recipients",
        content_type: str = _CSV,
        **spec: Any,
    ) -> dict[str, Any]:
        """Create a broadcast from a file of any size, CSV or NDJSON, as it is read; return the API's object.

        With `dry_run` or `test_to` in the spec that is a report, and nothing is queued. A file that can be
        read again is sent again after a lost answer; of a pipe that is so only while nothing was taken from
        it: after `NotReached` give the same list and `idempotency_key` once more.
        """
        answer = self.upload(
            recipients, spec, key=key_or_new(idempotency_key), filename=filename, content_type=content_type
        )
        result: dict[str, Any] = read_json(answer)
        return result

    def upload(
        self,
        recipients: Readable,
        spec: Mapping[str, Any],
        *,
        key: str,
        filename: str = "recipients",
        content_type: str = _CSV,
    ) -> httpx.Response:
        """Do as `upload_broadcast` does; return the answer with its headers."""
        source = recipients if recipients.seekable() else _Forward(recipients)
        files: dict[str, Any] = {
            "spec": (None, json.dumps(spec_of(spec)), "application/json"),
            "recipients": (filename, source, content_type),
        }

        def rewind() -> bool:  # httpx goes back to the start of what can do that
            return not (isinstance(source, _Forward) and source.begun)

        return self.ask(
            "POST", "/v1/broadcasts", files=files, idempotency_key=key, rewind=rewind, timeout=_UPLOAD
        )

    def add_recipients(
        self, broadcast: str, recipients: Sequence[Any], *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Add up to 10,000 recipients to a draft; the same key twice adds them once."""
        result: dict[str, Any] = self.json(
            "POST",
            f"{_at(broadcast)}/recipients",
            json={"recipients": list(recipients)},
            idempotency_key=key_or_new(idempotency_key),
        )
        return result

    def broadcast(self, broadcast: str) -> Broadcast:
        """Return one broadcast. Raises `ApiError` 404."""
        return self.one(Broadcast.of, "GET", _at(broadcast))

    def broadcasts(
        self, *, state: Sequence[str] = (), name: str | None = None, limit: int | None = None
    ) -> Iterator[Broadcast]:
        """Yield broadcasts, the newest first; `limit` is how many a page has."""
        wanted = given(state=list(state) or None, name=name, limit=limit)
        yield from self.every("/v1/broadcasts", Broadcast.of, **wanted)

    def everything_stopped(self) -> str | None:
        """Say what keeps every message from leaving; None if nothing does, or the API is too old to tell."""
        found: str | None = self.json("GET", "/v1/broadcasts", params={"limit": 1}).get("everything_stopped")
        return found

    def start(self, broadcast: str) -> Broadcast:
        """Start a draft, or a scheduled broadcast before its time."""
        return self.steer(broadcast, "start")

    def pause(self, broadcast: str, reason: str | None = None) -> Broadcast:
        """Stop a running broadcast within a second."""
        return self.steer(broadcast, "pause", reason)

    def resume(self, broadcast: str) -> Broadcast:
        """Let a paused broadcast go on."""
        return self.steer(broadcast, "resume")

    def cancel(self, broadcast: str, reason: str | None = None) -> Broadcast:
        """End a broadcast: what has not left is skipped."""
        return self.steer(broadcast, "cancel", reason)

    def steer(self, broadcast: str, verb: str, reason: str | None = None) -> Broadcast:
        """Carry out `start`, `pause`, `resume` or `cancel`. Raises `ApiError` 404, or 409 with its state."""
        path = f"{_at(broadcast)}/{verb}"
        return self.one(Broadcast.of, "POST", path, json=given(reason=reason), idempotency_key=new_key())

    def retry(
        self, broadcast: str, *, codes: Sequence[int] = (), even_unknown: bool = False
    ) -> dict[str, Any]:
        """Send again to those who failed, with one of `codes` if given; return how many that are."""
        body = {"codes": list(codes), "even_unknown": even_unknown}
        path = f"{_at(broadcast)}/retry"
        result: dict[str, Any] = self.json("POST", path, json=body, idempotency_key=new_key())
        return result

    def delete_broadcast(self, broadcast: str) -> None:
        """Remove an ended broadcast and all that is known of its recipients. Raises `ApiError` 404 or 409."""
        self.ask("DELETE", _at(broadcast))

    def broadcast_messages(self, broadcast: str, **filters: Any) -> Iterator[Message]:
        """Yield a broadcast's messages: `state`, `code`, `to`, `reference` choose."""
        yield from self.every(f"{_at(broadcast)}/messages", Message.of, **given(**filters))

    def export_broadcast(self, broadcast: str, how: str = "csv") -> Iterator[bytes]:
        """Yield a broadcast's messages as a file, `csv` or `ndjson`."""
        return self.stream(f"{_at(broadcast)}/export", format=how)

    def archive_broadcast(self, broadcast: str) -> Iterator[bytes]:
        """Yield an ended broadcast whole, as gzip of NDJSON: itself, then a line a message.

        Raises `ApiError` 404, or 409 where it is open, or removed.
        """
        return self.stream(f"{_at(broadcast)}/archive")

    def remove_people(self, broadcast: str, *, ended_at: int | None = None) -> Broadcast:
        """Remove an ended broadcast's people, and the replies to it; its counts stay.

        `ended_at`: only if it ended then.
        """
        path = f"{_at(broadcast)}/remove"
        asked = given(ended_at=ended_at)
        return self.one(Broadcast.of, "POST", path, json=asked, idempotency_key=new_key(), timeout=_UPLOAD)

    def rejects(self, broadcast: str) -> Iterator[bytes]:
        """Yield the rows that were not taken, as CSV with their line and the reason."""
        return self.stream(f"{_at(broadcast)}/rejects")


class _Forward:
    """A stream that is read once, forward; without a size, for there is none to be known."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.begun = False

    def read(self, size: int = -1) -> bytes:
        self.begun = True
        return self._stream.read(size)


def _at(broadcast: str) -> str:
    return f"/v1/broadcasts/{quote(broadcast, safe='')}"


def key_or_new(key: str | None) -> str:
    """Return the key that was given, a new one for none. An empty one is no key: asking with it fails."""
    return new_key() if key is None else key


def new_key() -> str:
    """Return an Idempotency-Key that nobody has used."""
    return str(uuid.uuid4())


def spec_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec as the API names its fields; `from` is no name in Python."""
    return {
        ("from" if name == "from_" else name): value for name, value in fields.items() if value is not None
    }


def given(**values: Any) -> dict[str, Any]:
    """Return those that are not None."""
    return {name: value for name, value in values.items() if value is not None}
