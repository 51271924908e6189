"""What requests for event endpoints, and the answers to them, are made of."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from broadcaster.api.pages import Page
from broadcaster.api.shapes import LONGEST_NAME, Asked
from broadcaster.events.endpoints import KINDS

_ENDPOINT: Final[dict[str, Any]] = {
    "id": "ep_4f1c0b6a7d2e9835",
    "url": "https://hooks.example.com/broadcaster",
    "types": ["message.failed", "broadcast.completed"],
    "description": "billing",
    "state": "enabled",
    "state_reason": "",
    "created_at": 1795276800,
    "old_secret_until": None,
    "delivered": 1200,
    "waiting": 3,
    "parked": 0,
    "behind": 0,
    "lost": 0,
    "dropped": 0,
    "failing_since": None,
    "held_until": None,
    "last_answer": "HTTP 204",
    "last_answer_at": 1795276811,
}
Kind = Annotated[str, Field(max_length=LONGEST_NAME, json_schema_extra={"enum": list(KINDS)})]
_URL: Final = r"^https://([a-z][a-z0-9-]*[a-z0-9]\.)+[a-z]{2,}/[!-\"$-~]*$"


class EventEndpoint(BaseModel):
    """An endpoint, and how far it is with what happened. Times are in unix seconds."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ENDPOINT]})

    id: str
    url: str = Field(description="Without its query.")
    types: list[str]
    description: str
    state: Literal["enabled", "disabled"]
    state_reason: str = Field(description="Why it is told nothing.")
    created_at: int
    old_secret_until: int | None = Field(description="Until then requests are signed by the old secret, too.")
    delivered: int
    waiting: int = Field(description="Deliveries that are due, or will be tried again.")
    parked: int = Field(description="Deliveries that were given up; they can be replayed.")
    behind: int = Field(description="Steps of ours, of up to some hundred events each, still to be read.")
    lost: int = Field(description="Such steps that were dropped, as it was too far behind.")
    dropped: int = Field(description="Parked deliveries that were dropped, as there were too many.")
    failing_since: int | None
    held_until: float | None = Field(description="Until then it is left in peace.")
    last_answer: str | None
    last_answer_at: int | None


class EndpointWithSecret(EventEndpoint):
    """An endpoint with its secret, which is shown this once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{**_ENDPOINT, "secret": "whsec_bm90IGEgcmVhbCBzZWNyZXQsIGp1c3QgMzIgYg=="}]
        }
    )

    secret: str = Field(description="`whsec_…`: checks our signatures (Standard Webhooks).")


class NewEndpoint(Asked):
    """Where to send which events."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"url": _ENDPOINT["url"], "types": _ENDPOINT["types"], "description": "billing"}]
        }
    )

    url: str = Field(
        max_length=2000, description="https, at a public address.", json_schema_extra={"pattern": _URL}
    )
    types: list[Kind] = Field(min_length=1, max_length=len(KINDS), description="The events it is told of.")
    description: str = Field(default="", max_length=200)


class EndpointPage(Page[EventEndpoint]):
    """Every endpoint."""


class EndpointTried(BaseModel):
    """How a test went."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"ok": True, "status": 204, "answer": "HTTP 204", "event": "evt_9b1d", "seconds": 0.081}
            ]
        }
    )

    ok: bool
    status: int | None = Field(description="The HTTP status; null where no answer came.")
    answer: str
    event: str = Field(description="Its `webhook-id`.")
    seconds: float


class Delivery(BaseModel):
    """An event that an endpoint has not taken yet. Times are in unix seconds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "evt_5d0f5b2f8f2f4dfc8f8a2f3a0a1b2c3d",
                    "type": "message.failed",
                    "state": "parked",
                    "happened_at": 1795276800.123,
                    "tries": 8,
                    "last_answer": "HTTP 500",
                    "due_at": None,
                    "parked_at": 1795400000.5,
                }
            ]
        }
    )

    id: str = Field(description="Its `webhook-id`.")
    type: str
    state: Literal["waiting", "parked"]
    happened_at: float
    tries: int
    last_answer: str | None
    due_at: float | None
    parked_at: float | None


class DeliveryPage(Page[Delivery]):
    """A page of deliveries."""


class ParkedChosen(Asked):
    """Which parked deliveries go again: `deliveries` by id, or `all` (at most 10,000 at once)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"all": True}, {"deliveries": ["evt_5d0f5b2f8f2f4dfc8f8a2f3a0a1b2c3d"]}]
        }
    )

    deliveries: list[Annotated[str, Field(max_length=LONGEST_NAME)]] = Field(default=[], max_length=1000)
    all: bool = False

    @model_validator(mode="after")
    def _one_of_them(self) -> ParkedChosen:
        if bool(self.deliveries) == self.all:
            raise ValueError("give `deliveries` or `all`")
        return self


class EventsReplayed(BaseModel):
    """How many go again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"replayed": 12}]})

    replayed: int
