"""What the simulated Twilio is like: account, senders, limits, clock, and the faults it makes.

Everything here can be changed while it runs (`POST /_simulator/config`), the listening address aside.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from broadcaster.simulator.verify_settings import VERIFY_SID, VerifyServiceConfig

ACCOUNT_SID: Final = "AC00000000000000000000000000000001"
TEST_ACCOUNT_SID: Final = "AC00000000000000000000000000000002"
SERVICE_SID: Final = "MG00000000000000000000000000000001"
TEMPLATE_SID: Final = "HX00000000000000000000000000000001"
_SHARES: Final = (
    "callback_duplicates",
    "callback_early",
    "callback_extras",
    "callback_lost",
    "no_receipts",
    "reads",
    "reply_share",
    "stop_share",
)


class ServiceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Messaging Service: its pool and the flags that change what recipients see."""

    senders: tuple[str, ...] = ()
    friendly_name: str = "Simulated service"
    smart_encoding: bool = False
    status_callback: str | None = None
    """Where its messages' callbacks go that name no `StatusCallback`."""
    inbound_request_url: str | None = None
    use_inbound_webhook_on_number: bool = False
    advanced_opt_out: bool = False
    link_domain: str = "twil.example"
    validity_period: int = 36_000


class TemplateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Content template: text with `{{1}}` placeholders, defaults for them, media it carries.

    `types` are the Content API's own (`{"twilio/text": {"body": …}, …}`); given, they go before `body` and
    `media`, which are the short way to write a text or a media template.
    """

    body: str = ""
    variables: dict[str, str] = msgspec.field(default_factory=dict)
    media: tuple[str, ...] = ()
    types: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    friendly_name: str = ""
    language: str = "en"
    status: Literal["approved", "pending", "rejected", "received", "paused", "disabled", "unsubmitted"] = (
        "approved"
    )
    """Where its approval by WhatsApp is; text messages need none."""
    name: str = ""
    """Its name at WhatsApp, as submitted."""
    category: Literal["UTILITY", "MARKETING", "AUTHENTICATION", ""] = "UTILITY"
    rejection_reason: str = ""
    failure: int = 0
    """The code with which all its WhatsApp messages end, say 63027 (missing there) or 63053 (syncing)."""
    date_created: str = "2020-01-01T00:00:00Z"
    date_updated: str = "2020-01-01T00:00:00Z"


class NumberConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one of the account's numbers is set: where it sends what people write."""

    sms_url: str | None = None
    sms_method: Literal["GET", "POST"] = "POST"
    status_callback: str | None = None
    """Of voice calls; shown only."""


class WhatsAppSenderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A WhatsApp sender; the messaging limit is kept (63018) for those that the config describes."""

    name: str = "Simulated"
    status: str = "ONLINE"
    quality_rating: str = "HIGH"
    messaging_limit: str = "10K Customers/24hr"


class RecipientFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault for one recipient: on its first `tries` tries, on all of them when `tries` is 0."""

    fault: str
    tries: int = 0


class SimulatorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One simulated account. Rates are segments a second, probabilities 0 to 1, times in the unit named.

    `faults` maps a fault's name (see `faults.FAULTS`, or any Twilio code as digits) to the share of tries
    that meet it; `recipients` maps a `To` to a fault, a `RecipientFault`, or a list with one fault per
    try ("" for none). The draw depends on `seed`, `To` and the number of the try only, so the order in
    which requests arrive changes nothing.
    """

    account_sid: str = ACCOUNT_SID
    token: str = "simulator"  # noqa: S105  a fake account's, documented
    secondary_token: str = ""
    """A token that opens the account too, as the secondary one does until it is promoted; "" for none."""
    api_keys: dict[str, str] = msgspec.field(default_factory=dict)
    test_account_sid: str = TEST_ACCOUNT_SID
    test_token: str = "simulator-test"  # noqa: S105
    account_type: Literal["Full", "Trial"] = "Full"
    account_status: Literal["active", "suspended", "closed"] = "active"
    verified: tuple[str, ...] | None = None
    """On a trial account, the only recipients allowed (21608), listed as outgoing caller IDs; None allows all
    and lists nobody."""
    caller_names: dict[str, str] = msgspec.field(default_factory=dict)
    """The friendly names of `verified` numbers that have one."""

    senders: dict[str, float] = msgspec.field(default_factory=dict)
    """Sender to its rate; others get their kind's default."""
    any_sender: bool = True
    """Accept a `From` that is not in `senders` or a pool; otherwise 21606."""
    queue_seconds: float = 36_000.0
    services: dict[str, ServiceConfig] = msgspec.field(
        default_factory=lambda: {SERVICE_SID: ServiceConfig(senders=("+15005550006",))}
    )
    templates: dict[str, TemplateConfig] = msgspec.field(
        default_factory=lambda: {TEMPLATE_SID: TemplateConfig(body="Hi {{1}}", variables={"1": "there"})}
    )
    verify_services: dict[str, VerifyServiceConfig] = msgspec.field(
        default_factory=lambda: {VERIFY_SID: VerifyServiceConfig()}
    )
    verify_seconds: float = 600.0
    """How long a verification lives."""
    verify_recipients: dict[str, int] = msgspec.field(default_factory=dict)
    """A `To` to the code that its verifications are refused with: 60205 (landline), 60410 (fraud)."""
    magic_numbers: bool = True
    """Twilio's magic numbers act for the live credentials too, not only for the test ones."""
    denied: dict[str, int] = msgspec.field(default_factory=dict)
    """Beginning of a path (`/v1/Content`, `/v2/Channels`) to the code that all under it is refused with.
    Create Message has its own faults."""

    seed: int = 1
    faults: dict[str, float] = msgspec.field(default_factory=dict)
    recipients: dict[str, str | list[str] | RecipientFault] = msgspec.field(default_factory=dict)
    sender_faults: dict[str, str] = msgspec.field(default_factory=dict)
    """A `From`, or a service, to the fault of all it sends (after `recipients`, before `faults`)."""
    connection_faults: float = 0.0
    """Share of new connections that are aborted as soon as they are made."""
    refuse_every_seconds: float = 0.0
    """Close the listener this often (0: never), for `refuse_for_seconds`: connecting is then refused."""
    refuse_for_seconds: float = 0.05
    delivery_failures: dict[str, float] = msgspec.field(default_factory=dict)
    """Twilio code to the share of recipients whose message ends `undelivered` with it."""
    no_receipts: float = 0.0
    """Share of recipients of texts whose carrier gives no receipt: their messages end `sent`."""
    reads: float = 0.0
    """Share of WhatsApp recipients who read what was delivered, `read_seconds` later."""
    read_seconds: float = 1.0

    callbacks: bool = True
    """Tell statuses to the message's `StatusCallback`, or its service's."""
    callback_concurrency: int = 64
    """Connections at once to each receiver."""
    callback_delay_ms: float = 0.0
    callback_jitter_ms: float = 0.0
    callback_shuffle: bool = False
    """The callbacks of a message come in any order, all within the jitter after it came to its end.
    Otherwise each comes when the one before it was answered or given up."""
    callback_sending: bool = False
    """Tell `sending` too."""
    callback_duplicates: float = 0.0
    """Share of callbacks that come twice, the second with its own idempotency token."""
    callback_early: float = 0.0
    """Share of messages that are sent at once and whose callback is answered before their 201 is."""
    callback_lost: float = 0.0
    """Share of callbacks that never come."""
    callback_extras: float = 0.02
    """Share of callbacks with parameters nobody has heard of."""

    whatsapp_window: bool = False
    """Free-form messages to whom did not write within 24 hours end with 63016."""
    whatsapp_senders: dict[str, WhatsAppSenderConfig] = msgspec.field(default_factory=dict)
    not_on_whatsapp: dict[str, int] = msgspec.field(default_factory=dict)
    """Beginning of a number, or all of it, to the code of WhatsApp messages to it: 63024 or 63003."""
    withholds_us_marketing: bool = False
    """Marketing templates to +1 end with 63049, as since April 2025."""
    sandbox_code: str = ""
    """What follows `join` in a text to the sandbox; empty: any word."""
    media_failures: dict[str, int] = msgspec.field(default_factory=dict)
    """Beginning of a media URL to the code of messages with it: 63019 (no download), 30019 (too large), …"""

    numbers: dict[str, NumberConfig] = msgspec.field(default_factory=dict)
    """Settings of numbers; each belongs to the account."""
    inbound_url: str | None = None
    """Where numbers and services send what people write that have no URL of their own."""

    reply_share: float = 0.0
    """Share of recipients who write back once they have the message, within `reply_seconds`."""
    stop_share: float = 0.0
    """Share of recipients who write STOP then."""
    reply_seconds: float = 10.0

    concurrency_limit: int = 0
    """Requests at once before 429/20429; 0 is no limit."""
    tells_concurrency: bool = True
    """Answer with `Twilio-Concurrent-Requests`."""
    retry_after_seconds: int | None = None
    """`Retry-After` on every 429; the 2010 API documents none."""
    keep_alive_seconds: float = 75.0
    """Idle connections are closed after this long; for connections made from now on."""
    latency_ms: float = 0.0
    latency_jitter_ms: float = 0.0
    slow_body_seconds: float = 5.0
    accept_delay_seconds: float = 26.0
    """How long a `late_accept` waits before it accepts, whether or not the client is still there."""

    clock_skew_seconds: float = 0.0
    list_lag_seconds: float = 0.0
    list_nulls: Literal["first", "last"] = "first"
    """Where the list, ordered by `date_sent` descending, puts messages that were not sent yet."""
    nulls_pass_date_filters: bool = False
    list_fail_from_page: int = 0
    """Pages of the list with this number and later are refused; 0 is never, -1 the first page too."""
    list_fail_status: Literal[500, 429] = 500
    choose_sender_seconds: float = 1.0
    """How long a service's message stays `accepted`, without a `from`."""
    delivery_seconds: float = 1.0
    """From `sent` to `delivered`."""

    def __post_init__(self) -> None:
        """Check what would break arithmetic; raises ValueError."""
        wrong = [name for name in _SHARES if not 0 <= getattr(self, name) <= 1]
        if wrong or self.reply_share + self.stop_share > 1:
            raise ValueError(f"shares are from 0 to 1: {', '.join(wrong or ('reply_share + stop_share',))}")
        if self.callback_concurrency < 1:
            raise ValueError("callback_concurrency must be 1 or more")
        slow = [name for name, rate in self.senders.items() if rate <= 0]
        if slow:
            raise ValueError(f"senders need rates above 0: {', '.join(slow)}")


def changed(config: SimulatorConfig, patch: bytes) -> SimulatorConfig:
    """Return the config with the fields of a JSON object replaced; raises msgspec.ValidationError."""
    fields = msgspec.json.decode(patch, type=dict[str, msgspec.Raw])
    whole = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in _builtins(config).items()}
    return msgspec.json.decode(msgspec.json.encode(whole | fields), type=SimulatorConfig)


def public(config: SimulatorConfig) -> dict[str, object]:
    """Return the config as JSON types, without its secrets."""
    hidden = ("token", "secondary_token", "test_token", "api_keys")
    return {name: value for name, value in _builtins(config).items() if name not in hidden}


def _builtins(config: SimulatorConfig) -> dict[str, object]:
    built: dict[str, object] = msgspec.to_builtins(config)
    return built
