"""Verifications on the wire: what requests hold, and what is answered."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from broadcaster.api.pages import Page
from broadcaster.api.shapes import Asked
from broadcaster.domain.verifications import VerifyChannel

_CHANNELS: Final = [one.value for one in VerifyChannel]
_VE: Final = "VE6b1f2c0d9e8a4f7b8c5d3e2f1a0b9c8d"
_VA: Final = "VA0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f"
Text = Annotated[str, StringConstraints(max_length=1000)]
Address = Annotated[str, StringConstraints(min_length=1, max_length=320)]
Service = Annotated[
    str | None,
    Field(pattern="^VA[0-9a-fA-F]{32}$", description="The Verify service; without it the settings' own."),
]


class NewVerification(Asked):
    """Whom to verify, and how."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"to": "+14155550100"},
                {"to": "+14155550100", "channel": "whatsapp", "locale": "pt-BR", "tags": {"shop": "7"}},
                {
                    "to": "ada@example.com",
                    "channel": "email",
                    "channel_configuration": {"from_name": "Owl Shop"},
                },
            ]
        }
    )

    to: Address = Field(description="A number, with `whatsapp:` if it goes there, or an e-mail address.")
    channel: Annotated[str, Field(max_length=20, json_schema_extra={"enum": _CHANNELS})] | None = Field(
        default=None, description="Without it: email, whatsapp or sms, by what `to` looks like."
    )
    service_sid: Service = None
    locale: Text | None = Field(default=None, description="The message's language: en, pt-BR.")
    template_sid: Text | None = Field(default=None, description="HJ…, in place of the service's own.")
    template_substitutions: dict[str, Any] = Field(default_factory=dict)
    custom_friendly_name: Text | None = Field(default=None, description="How this message calls you.")
    custom_code: Text | None = Field(
        default=None,
        repr=False,
        description="4 to 10 characters, where the service allows it. It is not kept.",
    )
    send_digits: Text | None = Field(default=None, description="Dialled when a call is answered.")
    rate_limits: dict[str, Any] = Field(
        default_factory=dict, description="Values by the unique names of the service's rate limits."
    )
    channel_configuration: dict[str, Any] = Field(default_factory=dict, description="Of e-mails.")
    app_hash: Text | None = Field(default=None, description="The Android app that reads the SMS.")
    device_ip: Text | None = Field(default=None, description="The person's, for the channel auto.")
    sna_client_token: bool | None = None
    risk_check: Annotated[str, Field(json_schema_extra={"enum": ["enable", "disable"]})] | None = None
    amount: Text | None = Field(default=None, description="Of a payment (PSD2).")
    payee: Text | None = Field(default=None, description="Of a payment (PSD2).")
    tags: dict[str, Text] = Field(default_factory=dict, description="At most 10; no personal data.")


class CodeToCheck(Asked):
    """A code that somebody has typed, and of whom or of which verification."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"to": "+14155550100", "code": "123456"}, {"sid": _VE, "code": "123456"}]
        }
    )

    to: Address | None = Field(default=None, description="Who is verified; or else `sid`.")
    sid: Text | None = Field(default=None, description="The verification.")
    code: Text | None = Field(default=None, repr=False, description="What was typed.")
    sna: bool = Field(default=False, description="No code: the phone has called `sna_url`.")
    service_sid: Service = None
    sna_client_token: Text | None = Field(
        default=None, description="What the phone got there, where the start asked for it."
    )
    amount: Text | None = None
    payee: Text | None = None


class CodeSent(BaseModel):
    """One time that a code was sent."""

    sid: str | None
    channel: str | None
    at: int | None


_VERIFICATION: Final[dict[str, Any]] = {
    "sid": _VE,
    "service_sid": _VA,
    "to": "+14155550100",
    "channel": "sms",
    "status": "pending",
    "valid": False,
    "created_at": 1795276800,
    "updated_at": 1795276800,
    "sends": [{"sid": "VL" + "0" * 32, "channel": "sms", "at": 1795276800}],
    "sna_url": None,
    "sna_codes": [],
    "lookup": {},
    "amount": None,
    "payee": None,
}


class Verification(BaseModel):
    """A verification. Times are in unix seconds."""

    model_config = ConfigDict(json_schema_extra={"examples": [_VERIFICATION]})

    sid: str
    service_sid: str | None
    to: str | None
    channel: str | None
    status: str | None = Field(
        description="pending, approved, canceled, max_attempts_reached, deleted, failed or expired."
    )
    valid: bool = Field(description="Whether the code that was checked is the right one.")
    created_at: int | None
    updated_at: int | None
    sends: list[CodeSent]
    sna_url: str | None = Field(description="What the phone is to call over its own network (`sna`).")
    sna_codes: list[int] = Field(description="Why that failed.")
    lookup: dict[str, Any] = Field(description="What Twilio knows of the number, where the service asks.")
    amount: str | None
    payee: str | None


_NAMES: Final[dict[str, Any]] = {
    "friendly_name": "Owl Shop",
    "code_length": 6,
    "custom_code_enabled": False,
    "lookup_enabled": False,
    "skip_sms_to_landlines": False,
    "dtmf_input_required": True,
    "do_not_share_warning_enabled": False,
    "psd2_enabled": False,
    "tts_name": None,
    "default_template_sid": None,
    "whatsapp_messaging_service_sid": None,
    "whatsapp_from": None,
    "verify_event_subscription_enabled": False,
}


class VerifyServiceChange(Asked):
    """What to set of a Verify service; what is left out stays."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"friendly_name": "Owl Shop", "code_length": 6}]}
    )

    friendly_name: Text | None = Field(default=None, description="How messages call you.")
    code_length: int | None = Field(default=None, description="4 to 10.")
    custom_code_enabled: bool | None = None
    lookup_enabled: bool | None = None
    skip_sms_to_landlines: bool | None = Field(default=None, description="Needs `lookup_enabled`.")
    dtmf_input_required: bool | None = Field(
        default=None, description="Whoever is called presses a key before the code is read out."
    )
    do_not_share_warning_enabled: bool | None = None
    psd2_enabled: bool | None = None
    tts_name: Text | None = None
    default_template_sid: Text | None = Field(default=None, description="HJ….")
    whatsapp_messaging_service_sid: Text | None = Field(default=None, description="MG….")
    whatsapp_from: Text | None = None
    verify_event_subscription_enabled: bool | None = None


class OnlyBySupport(BaseModel):
    """Twilio's defaults of what only its support can change, and no API shows."""

    code_valid_seconds: int
    sends: int
    checks: int


class VerifyService(BaseModel):
    """A Verify service. Times are in unix seconds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "sid": _VA,
                    **_NAMES,
                    "created_at": 1795276800,
                    "updated_at": 1795276800,
                    "only_by_support": {"code_valid_seconds": 600, "sends": 5, "checks": 5},
                }
            ]
        }
    )

    sid: str
    friendly_name: str | None
    code_length: int | None
    custom_code_enabled: bool | None
    lookup_enabled: bool | None
    skip_sms_to_landlines: bool | None
    dtmf_input_required: bool | None
    do_not_share_warning_enabled: bool | None
    psd2_enabled: bool | None
    tts_name: str | None
    default_template_sid: str | None
    whatsapp_messaging_service_sid: str | None
    whatsapp_from: str | None
    verify_event_subscription_enabled: bool | None
    created_at: int | None
    updated_at: int | None
    only_by_support: OnlyBySupport


class VerifyServicePage(Page[VerifyService]):
    """All of them on one page."""
