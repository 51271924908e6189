"""Verifications: codes that Twilio Verify sends, and whether somebody typed the right one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from broadcaster.client.asking import Asking
from broadcaster.client.broadcasts import given, key_or_new, new_key


@dataclass(frozen=True)
class Verification:
    """One person's verification. `valid`: the code that was checked is the right one.

    `status`: pending, approved, canceled, max_attempts_reached, deleted, failed or expired.
    """

    sid: str
    to: str | None = field(repr=False)
    channel: str | None
    status: str | None
    valid: bool
    raw: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Verification:
        """Read the API's object."""
        return cls(raw["sid"], raw["to"], raw["channel"], raw["status"], raw["valid"], raw)


class VerificationCalls(Asking):
    """What can be done with verifications, and with the services that they belong to."""

    def start_verification(self, to: str, *, idempotency_key: str | None = None, **more: Any) -> Verification:
        """Send a code to a number or e-mail address; `more` are the API's fields: `channel`, `locale`.

        Raises `ApiError`: 422 (Twilio's refusals too), 429 with `limit` in its `problem`, and `in-doubt`
        where Twilio's answer was lost: a code may have been sent, and under this key none is sent again.
        """
        body = {"to": to, **given(**more)}
        key = key_or_new(idempotency_key)
        return self.one(Verification.of, "POST", "/v1/verifications", json=body, idempotency_key=key)

    def check_verification(
        self, code: str | None, *, to: str | None = None, sid: str | None = None, **more: Any
    ) -> Verification:
        """Check a code, of a person or of a verification. A wrong one is no error: look at `valid`.

        Raises `ApiError` 404 where nothing is pending. It counts, so it is not asked again by itself.
        """
        body = given(code=code, to=to, sid=sid, **more)
        return self.one(Verification.of, "POST", "/v1/verifications/check", json=body)

    def verification(self, sid: str, *, service_sid: str | None = None) -> Verification:
        """Return a verification that Twilio still has. Raises `ApiError` 404."""
        return self.one(Verification.of, "GET", _at(sid), params=given(service_sid=service_sid))

    def cancel_verification(self, sid: str, *, service_sid: str | None = None) -> Verification:
        """End a verification: its code is good no more. Raises `ApiError` 404."""
        return self.one(Verification.of, "POST", f"{_at(sid)}/cancel", params=given(service_sid=service_sid))

    def approve_verification(self, sid: str, *, service_sid: str | None = None) -> Verification:
        """Tell Twilio that a custom code which you have checked was right. Raises `ApiError` 404."""
        return self.one(Verification.of, "POST", f"{_at(sid)}/approve", params=given(service_sid=service_sid))

    def create_verify_service(self, **settings: Any) -> dict[str, Any]:
        """Make a Verify service; `settings` are the API's fields. Needs an admin's key."""
        body, key = given(**settings), new_key()
        made: dict[str, Any] = self.json("POST", "/v1/verify-services", json=body, idempotency_key=key)
        return made

    def verify_services(self) -> list[dict[str, Any]]:
        """Return all Verify services of the account."""
        found: list[dict[str, Any]] = self.json("GET", "/v1/verify-services")["data"]
        return found

    def verify_service(self, sid: str = "default") -> dict[str, Any]:
        """Return a Verify service, by default the one that the API uses. Raises `ApiError` 404."""
        found: dict[str, Any] = self.json("GET", _service(sid))
        return found

    def update_verify_service(self, sid: str = "default", **settings: Any) -> dict[str, Any]:
        """Change a Verify service. Needs an admin's key. Raises `ApiError` 404."""
        changed: dict[str, Any] = self.json("PATCH", _service(sid), json=given(**settings))
        return changed


def _at(sid: str) -> str:
    return f"/v1/verifications/{quote(sid, safe='')}"


def _service(sid: str) -> str:
    return f"/v1/verify-services/{quote(sid, safe='')}"
