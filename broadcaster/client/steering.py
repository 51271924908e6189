"""Senders, opt-outs, dead letters, the whole installation, workers, the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from broadcaster.client.asking import Asking
from broadcaster.client.broadcasts import given, new_key
from broadcaster.client.errors import ApiError
from broadcaster.client.values import Change, Message, OptOut, Sender, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_GONE = 404


class SteeringCalls(Asking):
    """What can be done with everything but broadcasts and messages."""

    # --- senders

    def senders(self) -> Iterator[Sender]:
        """Yield the senders that have been used or set, by name."""
        yield from self.every("/v1/senders", Sender.of)

    def sender(self, name: str) -> Sender:
        """Return one sender. Raises `ApiError` 404."""
        return self.one(Sender.of, "GET", _sender(name))

    def set_rate(self, sender: str, rate: float | str) -> Sender:
        """Set a sender's pace in segments a second (50, "1/3s", "100/min"), also while it is sending."""
        return self.one(Sender.of, "PATCH", _sender(sender), json={"rate": rate})

    def pause_sender(self, sender: str, reason: str | None = None) -> Sender:
        """Stop one sender within a second."""
        return self._steer_sender(sender, "pause", reason)

    def resume_sender(self, sender: str) -> Sender:
        """Let a stopped or held sender go on."""
        return self._steer_sender(sender, "resume")

    def _steer_sender(self, sender: str, verb: str, reason: str | None = None) -> Sender:
        path = f"{_sender(sender)}/{verb}"
        return self.one(Sender.of, "POST", path, json=given(reason=reason), idempotency_key=new_key())

    # --- opt-outs

    def opt_outs(
        self, *, address: str | None = None, sender: str | None = None, purpose: str | None = None
    ) -> Iterator[OptOut]:
        """Yield opt-outs by channel, number and sender; of one `address`, `sender` or `purpose`, if given."""
        wanted = given(address=address, sender=sender, purpose=purpose, limit=None if address else 500)
        yield from self.every("/v1/opt-outs", OptOut.of, **wanted)

    def opt_out(
        self,
        addresses: str | Sequence[str],
        *,
        sender: str | None = None,
        service: str | None = None,
        purpose: str | None = None,
        source: str | None = None,
    ) -> dict[str, int]:
        """Write to up to 1,000 numbers no more; return how many are new (`changed`) of how many.

        Only from this sender or Messaging Service, only for this purpose, if they are named.
        """
        named = [addresses] if isinstance(addresses, str) else list(addresses)
        body = {"addresses": named, **given(sender=sender, service=service, purpose=purpose, source=source)}
        result: dict[str, int] = self.json("POST", "/v1/opt-outs", json=body, idempotency_key=new_key())
        return result

    def import_opt_outs(self, opt_outs: Sequence[dict[str, Any]]) -> dict[str, int]:
        """Add up to 1,000 opt-outs as an export has them: `address`, and the rest where it is wanted."""
        body = {"opt_outs": list(opt_outs)}
        result: dict[str, int] = self.json("POST", "/v1/opt-outs", json=body, idempotency_key=new_key())
        return result

    def opt_in(self, address: str, *, sender: str | None = None, purpose: str | None = None) -> bool:
        """Forget an opt-out; tell whether there was one. Twilio keeps its own list."""
        try:
            self.ask("DELETE", f"/v1/opt-outs/{_part(address)}", params=given(sender=sender, purpose=purpose))
        except ApiError as error:
            if error.status == _GONE:
                return False
            raise
        return True

    def export_opt_outs(self, how: str = "csv") -> Iterator[bytes]:
        """Yield every opt-out as a file, `csv` or `ndjson`."""
        return self.stream("/v1/opt-outs/export", format=how)

    # --- dead letters

    def dead_letters(
        self, *, broadcast: str | None = None, codes: Sequence[int] = (), limit: int | None = None
    ) -> Iterator[Message]:
        """Yield messages that will not be sent, the newest broadcast first; `limit`: how many a page has."""
        wanted = given(broadcast=broadcast, code=list(codes) or None, limit=limit)
        yield from self.every("/v1/dead-letters", Message.of, **wanted)

    def dead_letter_codes(self, broadcast: str | None = None) -> list[dict[str, Any]]:
        """Return how many dead letters have each code, most first, of one broadcast or all."""
        answer = self.json("GET", "/v1/dead-letters/codes", params=given(broadcast=broadcast))
        return list(answer["data"])

    def replay(self, *, even_unknown: bool = False, **chosen: Any) -> dict[str, Any]:
        """Send dead letters again: `messages`, or those of a `broadcast` or with `codes`, or `all`."""
        body = {**given(**chosen), "even_unknown": even_unknown}
        result: dict[str, Any] = self.json(
            "POST", "/v1/dead-letters/replay", json=body, idempotency_key=new_key()
        )
        return result

    def discard(self, **chosen: Any) -> dict[str, Any]:
        """Lay dead letters down for good; chosen as in `replay`."""
        result: dict[str, Any] = self.json(
            "POST", "/v1/dead-letters/discard", json=given(**chosen), idempotency_key=new_key()
        )
        return result

    def export_dead_letters(
        self, how: str = "csv", *, broadcast: str | None = None, codes: Sequence[int] = ()
    ) -> Iterator[bytes]:
        """Yield dead letters as a file, `csv` or `ndjson`."""
        wanted = given(broadcast=broadcast, code=list(codes) or None)
        return self.stream("/v1/dead-letters/export", format=how, **wanted)

    # --- everything

    def pause_everything(self, reason: str | None = None) -> dict[str, Any]:
        """Stop everything within a second; return `paused`, `reason`, and whether that `changed` it."""
        return self._everything("pause", reason)

    def resume_everything(self) -> dict[str, Any]:
        """Let everything go on; senders and broadcasts that were paused by themselves stay so."""
        return self._everything("resume")

    def _everything(self, verb: str, reason: str | None = None) -> dict[str, Any]:
        result: dict[str, Any] = self.json(
            "POST", f"/v1/{verb}", json=given(reason=reason), idempotency_key=new_key()
        )
        return result

    # --- workers

    def workers(self) -> Iterator[Worker]:
        """Yield the workers, by id."""
        yield from self.every("/v1/workers", Worker.of)

    def drain_worker(self, worker: str) -> Worker:
        """Ask a worker to finish what is in flight, and to end. Raises `ApiError` 404, 409."""
        path = f"/v1/workers/{_part(worker)}/drain"
        return self.one(Worker.of, "POST", path, idempotency_key=new_key())

    # --- the audit

    def audit(self, *, what: str | None = None, limit: int | None = None) -> Iterator[Change]:
        """Yield who changed what, the newest first; `what` chooses: `broadcast`, `lane.rate`."""
        yield from self.every("/v1/audit", Change.of, **given(what=what, limit=limit))

    def export_audit(self, how: str = "csv") -> Iterator[bytes]:
        """Yield the whole audit as a file, `csv` or `ndjson`."""
        return self.stream("/v1/audit/export", format=how)


def _part(text: str) -> str:
    return quote(text, safe="")


def _sender(name: str) -> str:
    return f"/v1/senders/{_part(name)}"
