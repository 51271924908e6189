"""Settings about people: when they may be written to, how long they are known, how they are forgotten."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from broadcaster.domain import settings_rules as rules
from broadcaster.domain.settings_types import secret, text


class PeopleSettings(BaseSettings):
    """What is set about the people at the other end."""

    send_window: Annotated[str | None, text(rules.send_window)] = None
    """When broadcasts may be sent that name no window (not single messages): 09:00-20:00 America/Lima."""
    retention_days: Annotated[int, Field(ge=1, le=3650)] = 30
    """Days that the people of a broadcast are known after its end; counts stay."""
    messages_kept_hours: Annotated[int, Field(ge=1, le=8760)] = 24
    """Hours that single messages are kept after the last change of one that was posted in their hour."""
    people_key: Annotated[SecretStr | None, secret(rules.lasting_key)] = None
    """Hashes numbers of forgotten people who had opted out; it must never change; unset: one in Redis."""
