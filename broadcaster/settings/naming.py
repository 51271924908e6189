"""A setting's variable, and what is raised where one is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

PREFIX: Final = "BROADCASTER_"


def variable_of(field_name: str) -> str:
    """Return a field's environment variable: TWILIO_… and REDIS_URL as they are, others BROADCASTER_…."""
    name = field_name.upper()
    return name if name.startswith(("TWILIO_", "REDIS_")) else PREFIX + name


def holds_secret(field: FieldInfo) -> bool:
    """Tell whether a field's value must never be shown."""
    return field.annotation == SecretStr | None


class SettingsError(ValueError):
    """Settings that cannot be used; `faults` has one sentence for each variable. Never shows a secret."""

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        head = f"{len(faults)} settings are wrong:\n  " if len(faults) > 1 else ""
        super().__init__(head + "\n  ".join(faults))
