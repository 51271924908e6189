"""How a simulated Verify service is set, and its resource. Source: Twilio's OpenAPI file of Verify v2."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

VERIFY_SID: Final = "VA00000000000000000000000000000001"
MAX_NAME: Final = 32
CODE_LENGTHS: Final = range(4, 11)
_LINKS: Final = {
    "verification_checks": "VerificationCheck",
    "verifications": "Verifications",
    "rate_limits": "RateLimits",
    "messaging_configurations": "MessagingConfigurations",
    "entities": "Entities",
    "webhooks": "Webhooks",
    "access_tokens": "AccessTokens",
}


class RateLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bucket of a programmable rate limit: that many starts for one value in so many seconds."""

    max: int
    interval: float


class VerifyServiceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Verify service; the names are the resource's."""

    friendly_name: str = "Simulated"
    code_length: int = 6
    lookup_enabled: bool = False
    psd2_enabled: bool = False
    skip_sms_to_landlines: bool = False
    dtmf_input_required: bool = True
    tts_name: str | None = None
    do_not_share_warning_enabled: bool = False
    custom_code_enabled: bool = False
    default_template_sid: str | None = None
    verify_event_subscription_enabled: bool = False
    push: dict[str, Any] = msgspec.field(default_factory=dict)
    totp: dict[str, Any] = msgspec.field(default_factory=dict)
    whatsapp: dict[str, Any] = msgspec.field(default_factory=dict)
    passkeys: dict[str, Any] = msgspec.field(default_factory=dict)
    rate_limits: dict[str, RateLimit] = msgspec.field(default_factory=dict)
    """By the unique name that `RateLimits` of a start uses; at Twilio a resource of its own."""
    date_created: str = "2020-01-01T00:00:00Z"
    date_updated: str = "2020-01-01T00:00:00Z"


class BadParameterError(ValueError):
    """A parameter has a value that Verify refuses with 60200; the text is the parameter's name."""


def given_settings(fields: dict[str, str], before: VerifyServiceConfig) -> dict[str, Any]:
    """Return the settings that a form gives, whole groups merged with what was. Raises BadParameterError."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        read = _READERS.get(name)
        if read is None:
            continue
        group, _, part = _snake(name).partition(".")
        if part:
            found[group] = found.get(group, getattr(before, group)) | {part: read(name, value)}
        else:
            found[group] = read(name, value)
    if found.get("skip_sms_to_landlines") and not found.get("lookup_enabled", before.lookup_enabled):
        raise BadParameterError("SkipSmsToLandlines")
    return found


def service_resource(account: str, base: str, sid: str, service: VerifyServiceConfig) -> dict[str, object]:
    """Return the Service resource."""
    url = f"{base}/v2/Services/{sid}"
    relying = {part: service.passkeys.get(f"relying_party.{part}") for part in ("id", "name", "origins")}
    passkeys = {"relying_party": relying} | {name: service.passkeys.get(name) for name in _PASSKEYS}
    push = {"include_date": False, "apn_credential_sid": None, "fcm_credential_sid": None}
    groups: dict[str, object] = {
        "push": push | service.push,
        "totp": dict.fromkeys(("issuer", "time_step", "code_length", "skew")) | service.totp,
        "whatsapp": {"msg_service_sid": None, "from": None} | service.whatsapp,
        "passkeys": passkeys,
    }
    plain = msgspec.structs.asdict(service)
    del plain["rate_limits"]
    links = {name: f"{url}/{path}" for name, path in _LINKS.items()}
    return plain | groups | {"sid": sid, "account_sid": account, "url": url, "links": links}


def _flag(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise BadParameterError(name)
    return value.lower() == "true"


def _text(name: str, value: str) -> str:
    if name == "FriendlyName" and not 0 < len(value) <= MAX_NAME:
        raise BadParameterError(name)
    return value


def _within(allowed: range) -> Callable[[str, str], int]:
    def read(name: str, value: str) -> int:
        if not value.isdecimal() or int(value) not in allowed:
            raise BadParameterError(name)
        return int(value)

    return read


def sid_of(prefix: str) -> Callable[[str, str], str]:
    """Return a reader of sids with this prefix."""
    shape = re.compile(prefix + r"[0-9a-fA-F]{32}")

    def read(name: str, value: str) -> str:
        if not shape.fullmatch(value):
            raise BadParameterError(name)
        return value

    return read


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


_PASSKEYS: Final = ("authenticator_attachment", "discoverable_credentials", "user_verification")
_READERS: Final[dict[str, Callable[[str, str], Any]]] = {
    "FriendlyName": _text,
    "CodeLength": _within(CODE_LENGTHS),
    "LookupEnabled": _flag,
    "SkipSmsToLandlines": _flag,
    "DtmfInputRequired": _flag,
    "TtsName": _text,
    "Psd2Enabled": _flag,
    "DoNotShareWarningEnabled": _flag,
    "CustomCodeEnabled": _flag,
    "Push.IncludeDate": _flag,
    "Push.ApnCredentialSid": sid_of("CR"),
    "Push.FcmCredentialSid": sid_of("CR"),
    "Totp.Issuer": _text,
    "Totp.TimeStep": _within(range(20, 61)),
    "Totp.CodeLength": _within(range(3, 9)),
    "Totp.Skew": _within(range(3)),
    "DefaultTemplateSid": sid_of("HJ"),
    "Whatsapp.MsgServiceSid": sid_of("MG"),
    "Whatsapp.From": _text,
    "Passkeys.RelyingParty.Id": _text,
    "Passkeys.RelyingParty.Name": _text,
    "Passkeys.RelyingParty.Origins": _text,
    "Passkeys.AuthenticatorAttachment": _text,
    "Passkeys.DiscoverableCredentials": _text,
    "Passkeys.UserVerification": _text,
    "VerifyEventSubscriptionEnabled": _flag,
}
