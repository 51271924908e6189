"""Single messages on the wire: what a request holds, and what is answered."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from broadcaster.api.shapes import MESSAGE, Message
from broadcaster.operations.content_form import (  # noqa: TC001 - pydantic reads them
    FallbackForm,
    Further,
    LocationForm,
    SmsFallbackForm,
)
from broadcaster.operations.order_form import ConsentForm  # noqa: TC001 - pydantic reads it

_STRICT = ConfigDict(extra="forbid", populate_by_name=True)
Text = Annotated[str, StringConstraints(max_length=10_000)]
Address = Annotated[
    str,
    StringConstraints(min_length=1, max_length=60),
    Field(examples=["+14155550100", "whatsapp:+14155550100"]),
]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Scalar = str | int | float | bool | None
Variables = Annotated[dict[str, Scalar], Field(max_length=100)]


class MessageRecipient(BaseModel):
    """One recipient, with what the text says to them and your own id for it."""

    model_config = _STRICT

    to: Address
    variables: Variables = Field(default_factory=dict)
    reference: Reference | None = None


class MessageRequest(BaseModel):
    """A message for one recipient, or for up to 100."""

    model_config = ConfigDict(
        **_STRICT,
        json_schema_extra={
            "examples": [
                {
                    "to": "+14155550100",
                    "body": "The river rises: leave the valley now.",
                    "reference": "alert-17",
                },
                {
                    "to": [{"to": "+14155550100", "variables": {"name": "Ada"}}, "+14155550101"],
                    "body": "{{ name or 'Hello' }}: the shelter opens at 18:00.",
                    "priority": "normal",
                },
            ]
        },
    )

    to: Address | Annotated[list[Address | MessageRecipient], Field(min_length=1, max_length=100)]
    body: Text | None = Field(default=None, description="The text; {{ variables }} are replaced.")
    media_urls: Annotated[list[Text], Field(max_length=10)] = Field(default_factory=list)
    content_sid: Annotated[str, StringConstraints(pattern="^HX[0-9a-fA-F]{32}$")] | None = None
    content_variables: dict[str, Text] = Field(default_factory=dict)
    from_: Text | Annotated[list[Text], Field(min_length=1, max_length=100)] | None = Field(
        default=None, alias="from", description="Who sends; without it the senders of the settings."
    )
    messaging_service_sid: Annotated[str, StringConstraints(pattern="^MG[0-9a-fA-F]{32}$")] | None = None
    priority: Literal["urgent", "normal", "bulk"] = "urgent"
    expires_in: (
        Annotated[float, Field(ge=1, le=604_800)]
        | Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)?[smhd]$")]
        | None
    ) = Field(default=None, description="Skip it if it has not left after so many seconds, or 90m, 2h.")
    on_doubt: Literal["resend", "hold"] | None = None
    purpose: Literal["emergency", "utility", "marketing", "authentication"] = Field(
        default="utility", description="Why people are written to; marketing needs `consent`."
    )
    consent: ConsentForm | None = Field(default=None, description="Where and when they agreed to it.")
    location: LocationForm | None = Field(
        default=None, description="A place to send, on WhatsApp; `body` is its name."
    )
    outside_window: Literal["refuse", "send"] = Field(
        default="refuse",
        description="Free text to somebody who has not written to a WhatsApp sender for a day: refuse it, or "
        "leave it to Twilio. A `fallback` goes before both.",
    )
    fallback: FallbackForm | None = Field(
        default=None, description="The template that goes where free text may not."
    )
    sms_fallback: SmsFallbackForm | None = Field(
        default=None, description="An SMS, once, for whom WhatsApp can't reach."
    )
    region: Annotated[str, StringConstraints(pattern="^[A-Za-z]{2}$")] | None = None
    options: Annotated[dict[Text, Further], Field(max_length=100)] = Field(
        default_factory=dict, description="Further parameters of Create Message, by Twilio's names."
    )
    variables: Variables = Field(default_factory=dict, description="Of the one recipient.")
    reference: Reference | None = Field(default=None, description="Your own id, of the one recipient.")

    @model_validator(mode="after")
    def _of_one(self) -> MessageRequest:
        if not isinstance(self.to, str) and (self.reference is not None or self.variables):
            raise ValueError("reference and variables belong to each entry of `to`, where that is a list")
        return self

    def recipients(self) -> list[tuple[str, dict[str, str], str | None]]:
        """Return (address as given, variables as text, reference) of each."""
        if isinstance(self.to, str):
            return [(self.to, _texts(self.variables), self.reference)]
        return [
            (entry, {}, None)
            if isinstance(entry, str)
            else (entry.to, _texts(entry.variables), entry.reference)
            for entry in self.to
        ]


def _texts(values: dict[str, Scalar]) -> dict[str, str]:
    """Return variables as a list's cells would hold them: true and false as words, null as nothing."""
    return {name: _text(value) for name, value in values.items()}


def _text(value: Scalar) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


class MessageAccepted(BaseModel):
    """A message that is queued (or skipped at once: `code` says why)."""

    id: str = Field(examples=["06k3c8w0v5m2qa.0.0.0"])
    to: str
    state: str = Field(examples=["queued"])
    reference: str | None
    code: int | None = None


class MessagesAccepted(BaseModel):
    """What became of each recipient, in the order of the request."""

    messages: list[MessageAccepted]


class MessageAttempt(BaseModel):
    """One attempt: when, how it ended, and what that is known by."""

    attempt: int
    state: str
    code: int | None = None
    meaning: str | None = None
    class_: str | None = Field(default=None, alias="class", description="What its code is about.")
    sid: str | None = None
    began_at: int
    ended_at: int
    evidence: str | None = None


_ATTEMPT: Final[dict[str, Any]] = {
    "attempt": 1,
    "state": "dead",
    "code": 21211,
    "meaning": "the number is not valid",
    "class": "recipient",
    "sid": None,
    "began_at": 1795276800,
    "ended_at": 1795276801,
    "evidence": "answer",
}


class MessageWithHistory(Message):
    """A message and its attempts."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**MESSAGE, "history": [_ATTEMPT]}]})

    history: list[MessageAttempt]
