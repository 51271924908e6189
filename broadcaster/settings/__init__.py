"""Settings: read once from the environment and a `.env` file, checked, then passed on as plain values.

A variable in the environment wins over the same one in `.env`; an empty one counts as not set. Every
secret may be given as `NAME_FILE`, the path of a file that holds it. Nothing else of the program
reads the environment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values
from pydantic import AliasGenerator, PrivateAttr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from broadcaster.domain import redis_tls
from broadcaster.domain import settings_rules as rules
from broadcaster.domain.public_names import is_private
from broadcaster.domain.sentinel_url import under_sentinel
from broadcaster.settings.following import FollowingSettings
from broadcaster.settings.naming import PREFIX, SettingsError, holds_secret, variable_of
from broadcaster.settings.people import PeopleSettings
from broadcaster.settings.replies import ReplySettings
from broadcaster.settings.secret_files import SecretFiles
from broadcaster.settings.sending import SendingSettings
from broadcaster.settings.service import ServiceSettings
from broadcaster.settings.twilio import TwilioSettings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["Settings", "SettingsError", "is_secret", "load_settings", "variable_of"]

_KUBERNETES: Final = (
    " Kubernetes sets this variable for a Service of that name: set enableServiceLinks: false, or rename it."
)


def is_secret(field_name: str) -> bool:
    """Tell whether a setting's value must never be shown."""
    return holds_secret(Settings.model_fields[field_name])


class Settings(
    FollowingSettings, PeopleSettings, ReplySettings, SendingSettings, ServiceSettings, TwilioSettings
):
    """Everything that can be set from outside; `variable_of` gives a field's variable."""

    model_config = SettingsConfigDict(
        alias_generator=AliasGenerator(validation_alias=variable_of),
        env_prefix=PREFIX,  # so that populate_by_name never reads a variable without our prefix
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if (self.twilio_api_key is None) != (self.twilio_api_secret is None):
            have, lack = ("KEY", "SECRET") if self.twilio_api_key else ("SECRET", "KEY")
            raise ValueError(f"TWILIO_API_{have} is set but TWILIO_API_{lack} is not: set both or neither")
        if self.backoff_cap_seconds < self.backoff_base_seconds:
            raise ValueError(f"{PREFIX}BACKOFF_CAP_SECONDS is below {PREFIX}BACKOFF_BASE_SECONDS: raise it")
        self._check_redis_tls()
        host = urlsplit(self.public_url or "").hostname or ""
        if self.public_url and self.twilio_api_base_url is None and (is_private(host) or "_" in host):
            raise ValueError(
                f"{PREFIX}PUBLIC_URL is {self.public_url}, which Twilio can't reach: it would refuse each "
                "message (21609): give the name that the internet knows, without underscores, or leave it out"
            )
        return self

    def _check_redis_tls(self) -> None:
        if (self.redis_tls_cert is None) != (self.redis_tls_key is None):
            have, lack = ("CERT", "KEY") if self.redis_tls_cert else ("KEY", "CERT")
            raise ValueError(f"REDIS_TLS_{have} is set but REDIS_TLS_{lack} is not: set both or neither")
        url = self.redis_url.get_secret_value() if self.redis_url else ""
        if (self.redis_tls_ca or self.redis_tls_cert) and not redis_tls.encrypted(url):
            told = " or ".join(f"{scheme}://" for scheme in redis_tls.SCHEMES)
            raise ValueError(f"REDIS_TLS_… is set, but REDIS_URL speaks no TLS: begin it with {told}")

    @property
    def redis_address(self) -> str | None:
        """`REDIS_URL` as plain text, password, TLS files and all; None: use the embedded server."""
        if self.redis_url is None:
            return None
        files = {"ca": self.redis_tls_ca, "certificate": self.redis_tls_cert, "key": self.redis_tls_key}
        return redis_tls.with_files(self.redis_url.get_secret_value(), **files)

    @property
    def redis_prefix(self) -> str:
        """What every key of this installation starts with."""
        return f"{self.key_prefix}:"

    @property
    def replicas_to_confirm(self) -> int:
        """How many replicas must have an intent before it counts."""
        if self.confirm_replicas is not None:
            return self.confirm_replicas
        return int(under_sentinel(self.redis_address or ""))

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The signing keys, the one to sign with first; empty if none is set."""
        text = self.secret_key.get_secret_value() if self.secret_key else ""
        return tuple(part.strip() for part in text.split(",") if part)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret's text, for the logs to hide."""
        held = (getattr(self, name) for name in type(self).model_fields if is_secret(name))
        texts = [secret.get_secret_value() for secret in held if secret]
        passwords = [unquote(urlsplit(text).password or "") for text in texts if "://" in text]
        return tuple(text for text in (*texts, *passwords, *self.secret_keys) if text)

    def credentials(self) -> tuple[str, str, str]:
        """Return (account SID, user, password). Raises `SettingsError` naming what is not set."""
        account = self.twilio_account_sid
        if account is None:
            raise SettingsError("TWILIO_ACCOUNT_SID is not set: put it into .env or the environment.")
        if self.twilio_api_key and self.twilio_api_secret:
            return account, self.twilio_api_key, self.twilio_api_secret.get_secret_value()
        if self.twilio_auth_token:
            return account, account, self.twilio_auth_token.get_secret_value()
        raise SettingsError("TWILIO_AUTH_TOKEN is not set (nor TWILIO_API_KEY and TWILIO_API_SECRET).")

    def origin(self, field_name: str) -> str:
        """Return where a value came from: `option`, `environment`, the `.env` file's name, or `default`."""
        return self._origins.get(field_name, "default")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings passes it by name
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Add the `NAME_FILE` variables to where values come from."""
        return init_settings, env_settings, dotenv_settings, SecretFiles(settings_cls, dotenv_settings)


def load_settings(env_file: Path | None = Path(".env"), **given: Any) -> Settings:
    """Read the settings. `given` wins over everything (a command's options).

    Raises `SettingsError` with a sentence for each variable that is wrong.
    """
    try:
        settings = Settings(**{"_env_file": env_file, "_env_file_encoding": "utf-8", **given})
    except ValidationError as error:
        raise SettingsError(*map(_sentence, error.errors(include_url=False))) from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"Cannot read {env_file}: {why}.") from None
    in_file = dotenv_values(env_file) if env_file else {}
    for origin, names in ((str(env_file), in_file), ("environment", os.environ), ("option", given)):
        for field_name in Settings.model_fields:
            written = {variable_of(field_name), f"{variable_of(field_name)}_FILE", field_name}
            if any(names.get(name) not in {None, ""} for name in written):
                settings._origins[field_name] = origin  # noqa: SLF001 - ours, and frozen from here on
    return settings


def _sentence(error: ErrorDetails) -> str:
    """Say which variable is wrong, what it must be, and what it holds where that can be shown."""
    if not error["loc"]:
        return f"{error['ctx']['error']}."
    field_name = str(error["loc"][0]).lower().removeprefix(PREFIX.lower())
    must = rules.explain(error["type"], error.get("ctx", {}), error["msg"])
    held = str(error["input"])
    # A token pasted into the wrong variable must not be echoed, nor a URL's password.
    hidden = is_secret(field_name) or field_name.startswith("twilio_") or "@" in held
    shown = "" if hidden else f", not {held!r}"
    return f"{variable_of(field_name)} {must}{shown}." + (_KUBERNETES if held.startswith("tcp://") else "")
