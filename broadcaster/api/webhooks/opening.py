"""What the webhooks work with, made from the settings when the process starts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from broadcaster.api.webhooks.writing import StatusWriter
from broadcaster.domain.reference import References
from broadcaster.operations.replies import rules_of
from broadcaster.telemetry.bounded import sample_of
from broadcaster.twilio.signatures import Validator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.operations.replies import ReplyRules
    from broadcaster.settings import Settings
    from broadcaster.store.connection import Store
    from broadcaster.telemetry.metrics import Metrics

log = structlog.get_logger("webhooks")


@dataclass(frozen=True, slots=True)
class WebhookParts:
    """Who checks, reads and writes; what replies mean; what to look at where signatures don't fit."""

    validator: Validator
    references: References
    writer: StatusWriter
    rules: ReplyRules
    hint: str


def webhook_parts(settings: Settings, store: Store, metrics: Metrics, keys: Sequence[str]) -> WebhookParts:
    """Return them; `keys` sign references. Without an auth token nothing is let in, which is said once."""
    set_ = (settings.twilio_auth_token, settings.twilio_auth_token_secondary)
    tokens = [token.get_secret_value() for token in set_ if token]
    if tokens:
        # a user and a password for the proxy may stand in it
        public = settings.public_url and re.sub("//[^/]*@", "//***@", settings.public_url)
        origin = public or "https:// and the request's Host (BROADCASTER_PUBLIC_URL is not set)"
        hint = f"TWILIO_AUTH_TOKEN must be the account's, and Twilio must call {origin}"
    else:
        hint = "set TWILIO_AUTH_TOKEN: without it no signature of Twilio's can be checked"
        log.warning("webhooks.closed", hint=hint)
    return WebhookParts(
        Validator(tokens, settings.public_url),
        References(keys),
        StatusWriter(store, metrics, sample_of(settings.log_sample, settings.log_level)),
        rules_of(settings),
        hint,
    )
