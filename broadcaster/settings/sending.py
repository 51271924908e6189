"""Settings of sending: pace, retries, doubt."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from broadcaster.domain import settings_rules as rules
from broadcaster.domain.settings_types import Region, Seconds, secret, small


class SendingSettings(BaseSettings):
    """What is set about sending."""

    concurrency: Annotated[int, Field(ge=1, le=2000)] = 64
    """Requests that a worker has in flight."""
    account_rate: Annotated[float | None, Field(gt=0, le=100_000)] = None
    """Segments a second over all senders; without it only the senders' own rates count."""
    account_concurrency: Annotated[int, Field(ge=1, le=100_000)] = 400
    """Requests in flight over all workers, at most."""
    max_attempts: Annotated[int, Field(ge=1, le=15)] = 5
    """Attempts that a message may spend."""
    backoff_base_seconds: Seconds = 2.0
    """Longest wait before the first retry; doubles with each."""
    backoff_cap_seconds: Seconds = 300.0
    """Longest wait before any retry."""
    confirm_replicas: Annotated[int | None, Field(ge=0, le=10)] = None
    """Replicas that must have an intent before its message leaves; by default 1 under Sentinel, else 0."""
    lease_seconds: Annotated[float, Field(ge=2, le=300)] = 8.0
    """A claim's life unless its worker renews it."""
    owner_gone_seconds: Seconds = 900.0
    """Longest stop of a worker that the promise covers: after it, what it had in flight may be re-sent."""
    settle_seconds: Seconds = 60.0
    """How long after a send could last have been in flight its absence from Twilio's list is believed."""
    settle_alone_seconds: Seconds = 120.0
    """The same while the list shows nothing later either."""
    settle_every_seconds: Annotated[float, Field(ge=1, le=60)] = 5.0
    """How often a worker looks after messages in doubt."""
    settle_concurrency: Annotated[int, Field(ge=1, le=100)] = 2
    """Requests at once that look for them at Twilio."""
    on_doubt: Annotated[Literal["resend", "hold"], small] = "resend"
    """What becomes of a message of which no evidence is found: resend or hold."""
    stop_failure_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    """A broadcast pauses when more than this share of its last outcomes are permanent failures; 1: never."""
    stop_after: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Outcomes before that is judged."""
    stop_window: Annotated[int, Field(ge=10, le=100_000)] = 500
    """How many of the last outcomes it looks at."""
    connect_timeout_seconds: Seconds = 10.0
    """How long connecting to Twilio may take."""
    read_timeout_seconds: Annotated[float, Field(ge=30, le=600)] = 35.0
    """How long Twilio's answer may take (it gives up itself after about 26 s)."""
    shutdown_seconds: Annotated[float, Field(ge=1, le=600)] = 45.0
    """After SIGTERM, time for what is in flight."""
    region: Region = None
    """Country of numbers written without +."""
    check_media: Annotated[Literal["public", "any", "off"], small] = "public"
    """Whether media URLs are looked at before a list is queued: in public networks, in any, or not at all."""
    proxy_url: Annotated[SecretStr | None, secret(rules.url("http", "https"))] = None
    """An HTTP proxy on the way to Twilio; none is used unless this is set."""
