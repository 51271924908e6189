"""Verifications: codes that were sent, how often, and whether one was given back in time.

Source: Twilio's pages on Verify's rate limits and timeouts, and on its error codes. A verification lives ten
minutes from its first message on; starting again for the same address continues it, with the same code.
"""

from __future__ import annotations

from hashlib import blake2b
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import msgspec

from broadcaster.simulator.messages import iso8601

if TYPE_CHECKING:
    from broadcaster.simulator.config import SimulatorConfig

MAX_SENDS: Final = 5
MAX_CHECKS: Final = 5
POLLS: Final = {60: 60, 3600: 180, 86_400: 250}
"""Seconds to the most fetches of one verification in them."""
TOO_MANY_CHECKS: Final = 60202
TOO_MANY_SENDS: Final = 60203
TOO_MANY_REQUESTS: Final = 20429
_WARNING: Final = " Don't share this code with anyone; our employees will never ask for the code"


class Sent(msgspec.Struct, frozen=True):
    """One message with the code; `at` in unix seconds."""

    at: float
    channel: str
    sid: str
    text: str


class Verification(msgspec.Struct, kw_only=True):
    """One verification. Times are unix seconds; `code` leaves the simulator by its control API alone."""

    sid: str
    service: str
    to: str
    channel: str
    code: str
    custom: bool
    created: float
    updated: float
    status: str = "pending"
    amount: str | None = None
    payee: str | None = None
    checks: int = 0
    polled: list[float] = msgspec.field(default_factory=list)
    """When it was fetched."""
    sent: list[Sent] = msgspec.field(default_factory=list)


class LimitReached(Exception):  # noqa: N818  an answer, not a fault
    """HTTP 429: Twilio's code, after how many seconds to come again, and which limit it was."""

    def __init__(self, code: int, seconds: float, limit: str) -> None:
        super().__init__(code, seconds, limit)
        self.code = code
        self.seconds = max(ceil(seconds), 1)
        self.limit = limit


class Verifications:
    """All verifications of one world, in order."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.all: list[Verification] = []
        self.starting: set[tuple[str, str]] = set()
        """Whose start is being processed just now."""
        self._pending: dict[tuple[str, str], Verification] = {}
        self._taken: dict[tuple[str, str, str], list[float]] = {}

    def pending(self, service: str, key: str, config: SimulatorConfig, now: float) -> Verification | None:
        """Return the one that is still open, by address or sid."""
        found = self._pending.get((service, key))
        if found is None:
            found = next(
                (one for one in self._pending.values() if (one.service, one.sid) == (service, key)), None
            )
        if found is not None and now >= found.created + config.verify_seconds:
            self.close(found, "expired", now)
            return None
        return found

    def close(self, one: Verification, status: str, now: float) -> None:
        """End a verification."""
        one.status, one.updated = status, now
        self._pending.pop((one.service, one.to), None)

    def forget_service(self, service: str) -> None:
        """Forget what was open with a service that is deleted."""
        for key in [key for key in self._pending if key[0] == service]:
            del self._pending[key]

    def count(self, service: str, values: dict[str, str], config: SimulatorConfig, now: float) -> None:
        """Take one from each programmable rate limit named. Raises LimitReached before any is taken."""
        limits = config.verify_services[service].rate_limits
        taken: list[list[float]] = []
        for name, value in values.items():
            limit = limits[name]
            times = self._taken.setdefault((service, name, value), [])
            times[:] = [at for at in times if at > now - limit.interval]
            if len(times) >= limit.max:
                raise LimitReached(TOO_MANY_REQUESTS, times[0] + limit.interval - now, name)
            taken.append(times)
        for times in taken:
            times.append(now)

    def start(
        self, service: str, fields: dict[str, str], config: SimulatorConfig, now: float
    ) -> Verification:
        """Send a code, again where one is open for that address. Raises LimitReached."""
        to, channel = fields["To"], fields["Channel"]
        shown = "sms" if channel == "auto" else channel
        one = self.pending(service, to, config, now)
        if one is None:
            one = self._new(service, fields, shown, config, now)
        elif len(one.sent) >= MAX_SENDS:
            raise LimitReached(TOO_MANY_SENDS, one.created + config.verify_seconds - now, "send_attempts")
        elif "CustomCode" in fields:
            one.code, one.custom = fields["CustomCode"], True
        one.channel, one.updated = shown, now
        text = _text(one.code, fields, config.verify_services[service].friendly_name)
        if config.verify_services[service].do_not_share_warning_enabled and shown == "sms":
            text += "." + _WARNING
        one.sent.append(Sent(now, shown, f"VL{self._digest(one.sid, len(one.sent))}", text))
        return one

    def poll(self, one: Verification, now: float) -> None:
        """Count a fetch. Raises LimitReached where there were too many."""
        for seconds, most in POLLS.items():
            recent = [at for at in one.polled if at > now - seconds]
            if len(recent) >= most:
                raise LimitReached(TOO_MANY_REQUESTS, recent[-most] + seconds - now, "status_polls")
        one.polled.append(now)

    def check(self, one: Verification, fields: dict[str, str], config: SimulatorConfig, now: float) -> None:
        """Compare a code: `approved` where it is right. Raises LimitReached after five wrong ones.

        By `sna` there is none: here every phone has called the address, over the network of its number.
        """
        if one.checks >= MAX_CHECKS:
            one.status = "max_attempts_reached"
            raise LimitReached(TOO_MANY_CHECKS, one.created + config.verify_seconds - now, "check_attempts")
        one.checks += 1
        one.updated = now
        same = (fields.get("Amount"), fields.get("Payee")) == (one.amount, one.payee)
        if same and (fields.get("Code") == one.code or (one.channel == "sna" and "Code" not in fields)):
            self.close(one, "approved", now)

    def rows(self, to: str | None) -> list[dict[str, Any]]:
        """Return the control API's `verifications`, codes included."""
        return [msgspec.to_builtins(one) for one in self.all if to is None or one.to == to]

    def _new(
        self, service: str, fields: dict[str, str], channel: str, config: SimulatorConfig, now: float
    ) -> Verification:
        sid, length = f"VE{self._digest(len(self.all))}", config.verify_services[service].code_length
        drawn = int(blake2b(f"{config.seed}/{sid}".encode(), digest_size=8).hexdigest(), 16)
        one = Verification(
            sid=sid,
            service=service,
            to=fields["To"],
            channel=channel,
            code=fields.get("CustomCode") or f"{drawn % 10**length:0{length}d}",
            custom="CustomCode" in fields,
            created=now,
            updated=now,
            amount=fields.get("Amount"),
            payee=fields.get("Payee"),
        )
        self.all.append(one)
        self._pending[service, one.to] = one
        return one

    def _digest(self, *parts: object) -> str:
        return blake2b(repr((self._prefix, *parts)).encode(), digest_size=16).hexdigest()


def _text(code: str, fields: dict[str, str], name: str) -> str:
    """Return what the person reads. Other languages and templates are not imitated."""
    text = f"Your {fields.get('CustomFriendlyName') or name} verification code is: {code}"
    return f"<#> {text} {fields['AppHash']}" if "AppHash" in fields else text


def resource(one: Verification, account: str, base: str, *, lookup: bool) -> dict[str, object]:
    """Return the Verification resource, without its code."""
    carrier = {"carrier": {"mobile_country_code": "310", "type": "mobile", "error_code": None,
                           "mobile_network_code": "456", "name": "Simulated"}}  # fmt: skip
    attempts = [
        {
            "time": iso8601(sent.at),
            "channel": "whatsapp" if sent.channel == "whatsapp" else sent.channel.upper(),
            "attempt_sid": sent.sid,
        }
        for sent in one.sent
    ]
    return _common(one, account) | {
        "lookup": carrier if lookup and one.to.startswith("+") else {},
        "send_code_attempts": attempts,
        "sna": None,
        "url": f"{base}/v2/Services/{one.service}/Verifications/{one.sid}",
    }


def check_resource(one: Verification, account: str) -> dict[str, object]:
    """Return the VerificationCheck resource."""
    return _common(one, account) | {"sna_attempts_error_codes": []}


def _common(one: Verification, account: str) -> dict[str, object]:
    return {
        "sid": one.sid,
        "service_sid": one.service,
        "account_sid": account,
        "to": one.to,
        "channel": one.channel,
        "status": one.status,
        "valid": one.status == "approved",
        "amount": one.amount,
        "payee": one.payee,
        "date_created": iso8601(one.created),
        "date_updated": iso8601(one.updated),
    }
