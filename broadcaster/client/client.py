"""The calls, one method each. Lists are iterators that fetch page after page."""

from __future__ import annotations

import json
import uuid
from typing import IO, TYPE_CHECKING, Any

from broadcaster.client.asking import Asking
from broadcaster.client.values import Broadcast, Message, Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_CSV = "text/csv"


class Client(Asking):
    """The API of one installation, for one key. Use it as a context manager, or `close` it.

    What creates something carries an Idempotency-Key, a new one unless you give yours: a call whose answer
    was lost is asked again and done once.
    """

    # --- broadcasts

    def create_broadcast(
        self, *, recipients: Sequence[Any] = (), idempotency_key: str | None = None, **spec: Any
    ) -> Broadcast:
        """Create a broadcast for up to 10,000 `recipients`: numbers, or {to, variables, reference}.

        `spec` holds the other fields: body, from_ (or a list), name, schedule_at, draft, …
        """
        body = {**_spec(spec), **({"recipients": list(recipients)} if recipients else {})}
        key = idempotency_key or new_key()
        return Broadcast.of(self.json("POST", "/v1/broadcasts", json=body, idempotency_key=key))

    def dry_run(self, *, recipients: Sequence[Any], **spec: Any) -> dict[str, Any]:
        """Return what a broadcast would come to; nothing is queued."""
        body = {**_spec(spec), "recipients": list(recipients), "dry_run": True}
        report: dict[str, Any] = self.json("POST", "/v1/broadcasts", json=body, idempotency_key=new_key())
        return report

    def upload_broadcast(
        self,
        recipients: IO[bytes],
        *,
        idempotency_key: str | None = None,
        content_type: str = _CSV,
        **spec: Any,
    ) -> dict[str, Any]:
        """Create a broadcast from a file of any size, CSV or NDJSON, as it is read; return the API's object.

        It is sent once only, since the file is read once: after `NotReached` open it again and give the same
        `idempotency_key`.
        """
        key = idempotency_key or new_key()
        files = {
            "spec": (None, json.dumps(_spec(spec)), "application/json"),
            "recipients": ("recipients", recipients, content_type),
        }
        answer = self.ask("POST", "/v1/broadcasts", files=files, headers={"Idempotency-Key": f'"{key}"'})
        result: dict[str, Any] = answer.json()
        return result

    def add_recipients(
        self, broadcast: str, recipients: Sequence[Any], *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Add up to 10,000 recipients to a draft; the same key twice adds them once."""
        result: dict[str, Any] = self.json(
            "POST",
            f"/v1/broadcasts/{broadcast}/recipients",
            json={"recipients": list(recipients)},
            idempotency_key=idempotency_key or new_key(),
        )
        return result

    def broadcast(self, broadcast: str) -> Broadcast:
        """Return one broadcast. Raises `ApiError` 404."""
        return Broadcast.of(self.json("GET", f"/v1/broadcasts/{broadcast}"))

    def broadcasts(self, *, state: Sequence[str] = (), name: str | None = None) -> Iterator[Broadcast]:
        """Yield broadcasts, the newest first."""
        wanted = _given(state=list(state) or None, name=name)
        yield from self.every("/v1/broadcasts", Broadcast.of, **wanted)

    def start(self, broadcast: str) -> Broadcast:
        """Start a draft, or a scheduled broadcast before its time."""
        return self._steer(broadcast, "start")

    def pause(self, broadcast: str, reason: str | None = None) -> Broadcast:
        """Stop a running broadcast within a second."""
        return self._steer(broadcast, "pause", reason=reason)

    def resume(self, broadcast: str) -> Broadcast:
        """Let a paused broadcast go on."""
        return self._steer(broadcast, "resume")

    def cancel(self, broadcast: str, reason: str | None = None) -> Broadcast:
        """End a broadcast: what has not left is skipped."""
        return self._steer(broadcast, "cancel", reason=reason)

    def _steer(self, broadcast: str, verb: str, **body: Any) -> Broadcast:
        path = f"/v1/broadcasts/{broadcast}/{verb}"
        return Broadcast.of(self.json("POST", path, json=_given(**body), idempotency_key=new_key()))

    def retry(
        self, broadcast: str, *, codes: Sequence[int] = (), even_unknown: bool = False
    ) -> dict[str, Any]:
        """Send again to those who failed, with one of `codes` if given."""
        body = {"codes": list(codes), "even_unknown": even_unknown}
        path = f"/v1/broadcasts/{broadcast}/retry"
        result: dict[str, Any] = self.json("POST", path, json=body, idempotency_key=new_key())
        return result

    def delete_broadcast(self, broadcast: str) -> None:
        """Remove an ended broadcast and all that is known of its recipients."""
        self.ask("DELETE", f"/v1/broadcasts/{broadcast}")

    def broadcast_messages(self, broadcast: str, **filters: Any) -> Iterator[Message]:
        """Yield a broadcast's messages: `state`, `code`, `to`, `reference` choose."""
        yield from self.every(f"/v1/broadcasts/{broadcast}/messages", Message.of, **_given(**filters))

    def export_broadcast(self, broadcast: str, how: str = "csv") -> Iterator[bytes]:
        """Yield a broadcast's messages as a file, `csv` or `ndjson`."""
        return self.stream(f"/v1/broadcasts/{broadcast}/export", format=how)

    def rejects(self, broadcast: str) -> Iterator[bytes]:
        """Yield the rows that were not taken, as CSV with their line and the reason."""
        return self.stream(f"/v1/broadcasts/{broadcast}/rejects")

    # --- messages

    def send(
        self, to: str | Sequence[Any], *, idempotency_key: str | None = None, **content: Any
    ) -> list[Message]:
        """Send a message to one, or to up to 100: alerts and notices, urgent unless `priority` says else."""
        body = {**_spec(content), "to": to if isinstance(to, str) else list(to)}
        key = idempotency_key or new_key()
        answer = self.json("POST", "/v1/messages", json=body, idempotency_key=key)
        return [Message.of(entry) for entry in answer["messages"]]

    def message(self, message: str) -> Message:
        """Return one message with its history, by our id or Twilio's SID. Raises `ApiError` 404."""
        return Message.of(self.json("GET", f"/v1/messages/{message}"))

    def messages(self, to: str) -> Iterator[Message]:
        """Yield a person's messages across broadcasts, the newest first."""
        yield from self.every("/v1/messages", Message.of, to=to)

    def cancel_message(self, message: str) -> Message:
        """Stop a message that has not left. Raises `ApiError` 409 where it has."""
        return Message.of(self.json("POST", f"/v1/messages/{message}/cancel", idempotency_key=new_key()))

    # --- every list

    def page(self, path: str, of: Callable[[dict[str, Any]], Any], **parameters: Any) -> Page[Any]:
        """Return one page; `cursor` and `limit` are parameters like others."""
        answer = self.json("GET", path, params=parameters)
        return Page(tuple(of(entry) for entry in answer["data"]), answer.get("next"))

    def every(self, path: str, of: Callable[[dict[str, Any]], Any], **parameters: Any) -> Iterator[Any]:
        """Yield all of a list, page by page."""
        cursor: dict[str, str] = {}
        while True:
            page = self.page(path, of, **parameters, **cursor)
            yield from page.data
            if page.next is None:
                return
            cursor = {"cursor": page.next}


def new_key() -> str:
    """Return an Idempotency-Key that nobody has used."""
    return str(uuid.uuid4())


def _spec(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec as the API names its fields; `from` is no name in Python."""
    return {
        ("from" if name == "from_" else name): value for name, value in given.items() if value is not None
    }


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
