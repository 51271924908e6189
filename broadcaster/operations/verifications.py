"""Verifications: started once for each idempotency key, checked, looked at, ended.

Twilio sends the codes and keeps them; we keep none, and no log line, audit entry or error has one. A start
under a key is written down before Twilio is asked (`ledger/verifications.py`): where its answer is lost, or
the process dies, a code may have been sent, and nobody starts again under that key.
"""

from __future__ import annotations

import hmac
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import structlog

from broadcaster.domain.verification_rules import check_faults, start_faults
from broadcaster.domain.verifications import Start, is_verification_sid, masked, named_verification
from broadcaster.domain.verify_services import is_service_sid
from broadcaster.ledger import verifications as ledger
from broadcaster.operations import audit
from broadcaster.operations.errors import Fault, InDoubt, Invalid, KeyReused, UnderWay, invalid
from broadcaster.operations.verify_answers import refusal
from broadcaster.settings import SettingsError
from broadcaster.store.errors import StoreError
from broadcaster.twilio.verify import LONGEST_CALL_SECONDS, Verification, Verify, doubtful
from broadcaster.twilio.wire import TwilioError, TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from broadcaster.domain.verifications import Wrong
    from broadcaster.operations.actor import Actor
    from broadcaster.settings import Settings
    from broadcaster.store.connection import Store

log = structlog.get_logger("verifications")

#: What a request may take beside Twilio's part of it.
_SPARE_SECONDS: Final = 5.0
_DOUBT: Final = (
    "Twilio gave no good answer to this start: a code may have been sent. It is not started again under this "
    "key. If the person has a code, check it. Else start with another key: while a verification is pending "
    "Twilio goes on with it and sends the same code again. Its console shows what was sent (Verify, Logs)"
)
_DOUBT_UNKEYED: Final = (
    "Twilio gave no good answer to this start: a code may have been sent. If the person has it, check it. "
    "Else start again: while a verification is pending Twilio goes on with it and sends the same code again"
)


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key: `nonce` names it without telling it, by `text` what was asked for is hashed.

    None at all (`Key()`) makes nothing idempotent.
    """

    nonce: str = ""
    text: str = ""

    def __repr__(self) -> str:
        return f"Key({self.nonce!r})"

    @classmethod
    def of_shell(cls, text: str | None) -> Key:
        """Return the key that somebody gave on the command line, which is nobody's API key's."""
        if text is None:
            return cls()
        return cls(sha256(f"\0shell\0{text}".encode()).hexdigest()[:32], text)

    def digest(self, asked: Any) -> str:
        """Return what tells the same request from others; a custom code can't be found by trying."""
        payload = msgspec.json.encode(asked, order="deterministic")
        return hmac.new(self.text.encode(), payload, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Verifying:
    """What acts on verifications work with: the store, Twilio, who acts, and the settings' defaults."""

    store: Store
    twilio: Verify
    actor: Actor
    service: str | None
    region: str | None

    @classmethod
    def of(cls, store: Store, twilio: Verify, actor: Actor, settings: Settings) -> Verifying:
        """Make it of the settings."""
        return cls(store, twilio, actor, settings.twilio_verify_service_sid, settings.region)

    def chosen(self, service: str | None) -> str:
        """Return the service to use. Raises Invalid, or SettingsError where none is named or set."""
        found = service or self.service
        if found is None:
            raise SettingsError(
                "TWILIO_VERIFY_SERVICE_SID is not set and no service was named: `broadcaster verify service "
                "create` makes one, whose SID is VA and 32 digits."
            )
        if not is_service_sid(found):
            raise Invalid(Fault("must be VA and 32 hexadecimal digits", "/service_sid"))
        return found


class Started(NamedTuple):
    """A verification; `replayed`: it was started before, under the same key."""

    verification: Verification
    replayed: bool = False


async def start(work: Verifying, asked: Start, *, service: str | None = None, key: Key) -> Verification:
    """Return what `started` does."""
    return (await started(work, asked, service=service, key=key)).verification


async def started(work: Verifying, asked: Start, *, service: str | None = None, key: Key) -> Started:
    """Start a verification, once under a key; the same request gets the same answer again for a day.

    Raises Invalid with every fault, Refused, Limited, KeyReused, UnderWay, InDoubt; `TwilioUnreachable` where
    nothing was sent.
    """
    refuse(start_faults(asked, work.region))
    chosen, asked = work.chosen(service), asked.resolved(work.region)
    form = asked.form()
    if not key.nonce:
        await _note_start(work, chosen, form)
        try:
            found = await work.twilio.start(chosen, form)
        except (TwilioError, TwilioUnreachable) as error:
            if doubtful(error):
                raise InDoubt(_DOUBT_UNKEYED, int(time.time())) from None
            raise refusal(error, chosen) from None
        _log("verification.started", work, found, asked.to)
        return Started(found)
    return await _once(work, chosen, form, key)


async def _once(work: Verifying, service: str, form: Mapping[str, str], key: Key) -> Started:
    """Start under a key. Between its two writes a process may die: the second request finds a doubt."""
    token = secrets.token_hex(8)
    lasts = LONGEST_CALL_SECONDS + _SPARE_SECONDS
    try:
        begun = await work.store.run(
            ledger.begin(key.nonce, token, key.digest([service, form]), seconds=lasts)
        )
    except StoreError:  # it may be written, unheard; nothing was asked of Twilio
        with suppress(StoreError):
            await work.store.run(ledger.drop(key.nonce, token))
        raise
    match begun.word:
        case "kept":
            found = msgspec.json.decode(begun.answer, type=Verification)
            return Started(msgspec.structs.replace(found, **_of_request(form)), replayed=True)
        case "reused":
            raise KeyReused
        case "running":
            raise UnderWay("a start with this idempotency key is being carried out", begun.wait_seconds)
        case "doubt":
            raise InDoubt(_DOUBT, begun.at)
    began_at = int(time.time())
    await _note_start(work, service, form)  # without it the key is a doubt once its time is over
    try:
        found = await work.twilio.start(service, form)
    except (TwilioError, TwilioUnreachable) as error:
        unknown = doubtful(error)
        with suppress(StoreError):  # then it runs out, and is a doubt
            await work.store.run((ledger.doubt if unknown else ledger.drop)(key.nonce, token))
        if unknown:
            raise InDoubt(_DOUBT, began_at) from None
        raise refusal(error, service) from None
    _log("verification.started", work, found, form["To"])
    kept = msgspec.json.encode(msgspec.structs.replace(found, **dict.fromkeys(_of_request(form))))
    with suppress(StoreError):  # whoever asked is told all the same; asked again it is a doubt
        await work.store.run(ledger.finish(key.nonce, token, kept))
    return Started(found)


def _of_request(form: Mapping[str, str]) -> dict[str, Any]:
    """Return what an answer tells of the request itself: the person and the payment, which are not kept."""
    return {"to": form["To"], "amount": form.get("Amount"), "payee": form.get("Payee")}


async def check(
    work: Verifying,
    *,
    to: str | None = None,
    sid: str | None = None,
    code: str | None,
    service: str | None = None,
    sna: bool = False,
    sna_client_token: str | None = None,
    amount: str | None = None,
    payee: str | None = None,
) -> Verification:
    """Check a code: `valid` of what is returned says whether it is right. Each check counts at Twilio.

    `sna`: there is no code, the phone's network was asked in its place.

    Raises Invalid, Refused, Limited; NotFound where nothing is pending; InDoubt where Twilio's answer is
    lost, which may have used the code up.
    """
    refuse(check_faults(to, sid, code, work.region, sna=sna or sna_client_token is not None))
    chosen = work.chosen(service)
    parameter, name = named_verification(sid or to or "", work.region)
    given = {"Code": code, "SnaClientToken": sna_client_token, "Amount": amount, "Payee": payee}
    form = {parameter: name, **{field: value for field, value in given.items() if value}}
    try:
        found = await work.twilio.check(chosen, form)
    except (TwilioError, TwilioUnreachable) as error:
        if doubtful(error):
            raise InDoubt(
                "Twilio gave no good answer to this check: the code may have been taken. Check it once more: "
                "where it was right, nothing is pending any more",
                int(time.time()),
            ) from None
        raise refusal(error, chosen, sid or masked(name)) from None
    _log("verification.checked", work, found, found.to or name)
    await _note(work, "verification.check", found.to or name, {"valid": bool(found.valid)})
    return found


async def show(work: Verifying, sid: str, *, service: str | None = None) -> Verification:
    """Return a verification. Raises Invalid, Refused, Limited, or NotFound where it is gone."""
    check_sid(sid)
    chosen = work.chosen(service)
    try:
        return await work.twilio.fetch(chosen, sid)
    except (TwilioError, TwilioUnreachable) as error:
        raise refusal(error, chosen, sid) from None


async def end(work: Verifying, sid: str, status: str, *, service: str | None = None) -> Verification:
    """Make a verification `approved` or `canceled`. Raises as `show` does.

    Approved is what a custom code that somebody else has checked is to be told as.
    """
    chosen, before = work.chosen(service), await show(work, sid, service=service)
    what = "verification.approve" if status == "approved" else "verification.cancel"
    # the audit first: an act that nobody is named for is worse than a name for an act that Twilio refused
    await audit.record(work.store, work.actor, what, sid, old=before.status, new=status)
    try:
        found = await work.twilio.end(chosen, sid, status)
    except (TwilioError, TwilioUnreachable) as error:
        raise refusal(error, chosen, sid) from None
    _log(f"verification.{status}", work, found, found.to or "")
    return found


def check_sid(sid: str) -> None:
    """Raise Invalid for what is no verification's SID."""
    if not is_verification_sid(sid):
        raise Invalid(Fault(f"{sid!r} is no verification: VE and 32 hexadecimal digits"))


def refuse(wrong: Iterable[Wrong]) -> None:
    """Raise Invalid if anything is wrong."""
    invalid(Fault(one.words, f"/{one.field}" if one.field else "") for one in wrong)


async def _note_start(work: Verifying, service: str, form: Mapping[str, str]) -> None:
    await _note(work, "verification.start", form["To"], {"channel": form["Channel"], "service": service})


async def _note(work: Verifying, what: str, to: str, new: dict[str, Any]) -> None:
    """Add what a person does to the audit. Services do it by the thousand: that is in the log."""
    if work.actor.who.startswith("person:"):
        target = to if is_verification_sid(to) else await audit.person(work.store, to)
        await audit.record(work.store, work.actor, what, target, new=new)


def _log(event: str, work: Verifying, found: Verification, to: str) -> None:
    log.info(
        event,
        verification=found.sid,
        to=masked(to),
        channel=found.channel,
        status=found.status,
        valid=bool(found.valid),
        who=work.actor.who,
    )
