"""Secrets out of files: `NAME_FILE` in place of `NAME`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource

from broadcaster.settings.naming import SettingsError, holds_secret, variable_of

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


class SecretFiles(PydanticBaseSettingsSource):
    """Reads a secret from the file that `NAME_FILE` names, in the environment or in `.env`."""

    def __init__(self, settings_cls: type[BaseSettings], dotenv: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        in_file = dotenv.env_vars if isinstance(dotenv, DotEnvSettingsSource) else {}
        self.variables = {name.upper(): value for name, value in in_file.items() if value}
        self.variables |= {name.upper(): value for name, value in os.environ.items() if value}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return (value, field name, not complex); the value is None without a `NAME_FILE`."""
        name = variable_of(field_name)
        path = self.variables.get(f"{name}_FILE")
        if not path or not holds_secret(field):
            return None, field_name, False
        if name in self.variables:
            raise SettingsError(f"{name} and {name}_FILE are both set: keep one of them.")
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise SettingsError(f"{name}_FILE: cannot read {path}: {why}.") from None

    def __call__(self) -> dict[str, Any]:
        """Return the secrets that came from files."""
        found = {n: self.get_field_value(f, n)[0] for n, f in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value}
