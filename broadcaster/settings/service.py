"""Settings of the service: where it listens, where it keeps its data, what it logs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from broadcaster.domain import settings_rules as rules
from broadcaster.domain.settings_types import Port, Prefix, PublicUrl, Seconds, Url, secret, small
from broadcaster.settings.files import ReadableFile


class ServiceSettings(BaseSettings):
    """What is set about the service itself."""

    redis_url: Annotated[SecretStr | None, secret(rules.redis_url)] = None
    """A Redis 7.0 or later: redis://, rediss://, unix://, redis+sentinel://…/SERVICE; else the embedded."""

    redis_tls_ca: ReadableFile = None
    """The file with the certificate of the CA that signed Redis' own; the system's are trusted anyway."""
    redis_tls_cert: ReadableFile = None
    """The file with the certificate that we show to Redis, where it wants one (PEM)."""
    redis_tls_key: ReadableFile = None
    """The file with that certificate's key."""

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
    public_url: PublicUrl = None
    """Where Twilio reaches the API, as https://…: for status callbacks and replies."""
    secret_key: Annotated[SecretStr | None, secret(rules.signing_keys)] = None
    """Signs references and cursors; the same on every host; NEW,OLD while it is being changed."""
    data_dir: Path = Path(".broadcaster")
    """Where the embedded server keeps its data."""
    key_prefix: Prefix = "broadcaster"
    """Keeps several installations apart on one Redis."""
    metrics_host: str = "127.0.0.1"
    """Where a worker's and the exporter's /metrics listen."""
    metrics_port: Port = 9464
    """The port of a worker's /metrics; 0: any free one."""
    exporter_port: Port = 9465
    """The port of the exporter, which shows what is in Redis; 0: any free one."""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], small] = "info"
    """The least level that is logged: debug, info, warning, error."""
    log_sample: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of messages that have lines of their own at debug; the same ones in every process."""
    log_format: Annotated[Literal["auto", "json", "console"], small] = "auto"
    """json, console, or auto: console on a terminal."""
