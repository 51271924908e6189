"""Settings of the Twilio account: who we are there, and who sends."""

from __future__ import annotations

from typing import Annotated

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from broadcaster.domain import settings_rules as rules
from broadcaster.domain.settings_types import Label, Url, text


class TwilioSettings(BaseSettings):
    """What is set about Twilio."""

    twilio_account_sid: Annotated[str | None, text(rules.sid("AC"))] = None
    """The account, AC…."""
    twilio_auth_token: SecretStr | None = None
    """The account's auth token; also checks Twilio's signatures."""
    twilio_auth_token_secondary: SecretStr | None = None
    """A second token accepted in signatures while it is being changed."""
    twilio_api_key: Annotated[str | None, text(rules.sid("SK"))] = None
    """An API key, SK…, used in the token's place to send."""
    twilio_api_secret: SecretStr | None = None
    """That key's secret."""
    twilio_region: Label = None
    """Twilio's processing region, like ie1."""
    twilio_edge: Label = None
    """Twilio's edge location, like dublin."""
    twilio_phone_number: Annotated[str | None, text(rules.sms_from)] = None
    """The sender when none is given."""
    twilio_whatsapp_from: Annotated[str | None, text(rules.whatsapp_from)] = None
    """The sender to whatsapp: recipients when none is given."""
    twilio_messaging_service_sid: Annotated[str | None, text(rules.sid("MG"))] = None
    """A Messaging Service, MG…; goes before the two senders above."""
    twilio_verify_service_sid: Annotated[str | None, text(rules.sid("VA"))] = None
    """A Verify service, VA…."""
    twilio_api_base_url: Url = None
    """Another server in Twilio's place: the simulator, a recording proxy, a test."""
