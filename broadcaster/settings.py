"""Settings: read once from the environment and a `.env` file, checked, then passed on as plain values.

A variable in the environment wins over the same one in `.env`; an empty one counts as not set. Every
secret may be given as `NAME_FILE`, the path of a file that holds it. Nothing else of the program
reads the environment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from dotenv import dotenv_values
from pydantic import (
    AliasGenerator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from broadcaster.domain import settings_rules as rules
from broadcaster.domain.sentinel_url import under_sentinel
from broadcaster.domain.settings_types import Label, Port, Prefix, Region, Seconds, Url, secret, small, text

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

_PREFIX: Final = "BROADCASTER_"
_KUBERNETES: Final = (
    " Kubernetes sets this variable for a Service of that name: set enableServiceLinks: false, or rename it."
)


def variable_of(field_name: str) -> str:
    """Return a field's environment variable: TWILIO_… and REDIS_URL as they are, others BROADCASTER_…."""
    name = field_name.upper()
    return name if name.startswith(("TWILIO_", "REDIS_")) else _PREFIX + name


def is_secret(field_name: str) -> bool:
    """Tell whether a setting's value must never be shown."""
    return Settings.model_fields[field_name].annotation == SecretStr | None


class SettingsError(ValueError):
    """Settings that cannot be used; `faults` has one sentence for each variable. Never shows a secret."""

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        head = f"{len(faults)} settings are wrong:\n  " if len(faults) > 1 else ""
        super().__init__(head + "\n  ".join(faults))


class Settings(BaseSettings):
    """Everything that can be set from outside; `variable_of` gives a field's variable."""

    model_config = SettingsConfigDict(
        alias_generator=AliasGenerator(validation_alias=variable_of),
        env_prefix=_PREFIX,  # so that populate_by_name never reads a variable without our prefix
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

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
    redis_url: Annotated[SecretStr | None, secret(rules.redis_url)] = None
    """A Redis 7.0 or later: redis://, rediss://, unix://, redis+sentinel://…/SERVICE; else the embedded."""

    api_url: Url = None
    """The API that the command line talks to; goes before REDIS_URL wherever a command can go over it."""
    api_key: SecretStr | None = None
    """The key that the command line shows to it."""
    api_host: str = "127.0.0.1"
    """Where the API listens."""
    api_port: Port = 8080
    """The API's port."""
    api_metrics_port: Port | None = None
    """Another port for the API's /metrics; without it they are on the API's own."""
    api_upload_bytes: Annotated[int, Field(ge=1024, le=1 << 40)] = 4 << 30
    """The largest list that the API takes in one request."""
    api_upload_rows: Annotated[int, Field(ge=1, le=1 << 40)] = 20_000_000
    """The longest list that the API takes in one request."""
    api_stall_seconds: Seconds = 30.0
    """How long the API waits for the next bytes of a request's body."""
    audit_days: Annotated[int, Field(ge=1, le=36_500)] = 400
    """Days that audit entries are kept."""
    events_allow_private: bool = False
    """Whether event endpoints may be in private networks or on this host."""
    events_allow_http: bool = False
    """Whether event endpoints may be http://; else they are https:// only."""
    events_retry_scale: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Stretches the waits of an event that can't be delivered (5 s, 5 min, 30 min, 2, 5, 10, 14 h)."""
    public_url: Url = None
    """Where Twilio reaches the API, for status callbacks."""
    secret_key: Annotated[SecretStr | None, secret(rules.signing_keys)] = None
    """Signs references and cursors; the same on every host; NEW,OLD while it is being changed."""
    data_dir: Path = Path(".broadcaster")
    """Where the embedded server keeps its data."""
    key_prefix: Prefix = "broadcaster"
    """Keeps several installations apart on one Redis."""
    metrics_host: str = "127.0.0.1"
    """Where a worker's /metrics listens."""
    metrics_port: Port = 9464
    """The port of a worker's /metrics; 0: any free one."""
    retention_days: Annotated[int, Field(ge=1, le=3650)] = 30
    """Days that a finished broadcast is kept."""
    messages_kept_hours: Annotated[int, Field(ge=1, le=8760)] = 24
    """Hours that single messages are kept after the last change of one that was posted in their hour."""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], small] = "info"
    """The least level that is logged: debug, info, warning, error."""
    log_format: Annotated[Literal["auto", "json", "console"], small] = "auto"
    """json, console, or auto: console on a terminal."""

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
    proxy_url: Annotated[SecretStr | None, secret(rules.url("http", "https"))] = None
    """An HTTP proxy on the way to Twilio; none is used unless this is set."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if (self.twilio_api_key is None) != (self.twilio_api_secret is None):
            have, lack = ("KEY", "SECRET") if self.twilio_api_key else ("SECRET", "KEY")
            raise ValueError(f"TWILIO_API_{have} is set but TWILIO_API_{lack} is not: set both or neither")
        if self.backoff_cap_seconds < self.backoff_base_seconds:
            raise ValueError(f"{_PREFIX}BACKOFF_CAP_SECONDS is below {_PREFIX}BACKOFF_BASE_SECONDS: raise it")
        return self

    @property
    def redis_address(self) -> str | None:
        """`REDIS_URL` as plain text, password and all; None: use the embedded server."""
        return self.redis_url.get_secret_value() if self.redis_url else None

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
        return tuple(secret.get_secret_value() for secret in held if secret)

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
        return init_settings, env_settings, dotenv_settings, _SecretFiles(settings_cls, dotenv_settings)


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads a secret from the file that `NAME_FILE` names, in the environment or in `.env`."""

    def __init__(self, settings_cls: type[BaseSettings], dotenv: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        in_file = dotenv.env_vars if isinstance(dotenv, DotEnvSettingsSource) else {}
        self.variables = {name.upper(): value for name, value in in_file.items() if value}
        self.variables |= {name.upper(): value for name, value in os.environ.items() if value}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Return (value, field name, not complex); the value is None without a `NAME_FILE`."""
        name = variable_of(field_name)
        path = self.variables.get(f"{name}_FILE")
        if not path or not is_secret(field_name):
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
    field_name = str(error["loc"][0]).lower().removeprefix(_PREFIX.lower())
    must = rules.explain(error["type"], error.get("ctx", {}), error["msg"])
    held = str(error["input"])
    # A token pasted into the wrong variable must not be echoed, nor a URL's password.
    hidden = is_secret(field_name) or field_name.startswith("twilio_") or "@" in held
    shown = "" if hidden else f", not {held!r}"
    return f"{variable_of(field_name)} {must}{shown}." + (_KUBERNETES if held.startswith("tcp://") else "")
