"""The composition root: settings become connections, in order; they end in reverse."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from broadcaster.events.sending import Postman
from broadcaster.ledger.outcomes import RetryPolicy
from broadcaster.store.connection import Store, open_store
from broadcaster.store.witness import Witness
from broadcaster.twilio.engine import Timeouts
from broadcaster.twilio.hosts import base_url
from broadcaster.twilio.rest import TwilioRest
from broadcaster.twilio.send import MessageSender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.settings import Settings


@asynccontextmanager
async def opened_store(settings: Settings, redis_url: str, *, sends: bool = False) -> AsyncIterator[Store]:
    """Join the installation in this Redis. Raises `StoreError`.

    A process that `sends` keeps in the data directory what it knows of Redis, to find out when that is older.
    """
    store = await open_store(redis_url, prefix_of(settings), replicas=settings.replicas_to_confirm)
    if sends:
        seen = settings.data_dir / f"seen.{settings.key_prefix}"
        store.guard.remember_in(Witness(seen, store.epoch))
    try:
        yield store
    finally:
        await store.close()


def prefix_of(settings: Settings) -> str:
    """Return what every key of this installation starts with."""
    return f"{settings.key_prefix}:"


def message_sender(settings: Settings, concurrency: int) -> MessageSender:
    """Return the client of the send path. Raises `SettingsError` where credentials are missing."""
    account, user, password = settings.credentials()
    return MessageSender(
        account,
        (user, password),
        base_url(
            override=settings.twilio_api_base_url, region=settings.twilio_region, edge=settings.twilio_edge
        ),
        timeouts=Timeouts(connect=settings.connect_timeout_seconds, read=settings.read_timeout_seconds),
        concurrency=concurrency,
        proxy=settings.proxy_url.get_secret_value() if settings.proxy_url else None,
    )


def twilio_rest(settings: Settings) -> TwilioRest:
    """Return the client of everything but the send path. Raises `SettingsError` without credentials."""
    account, user, password = settings.credentials()
    return TwilioRest(
        account,
        (user, password),
        settings.twilio_api_base_url,
        region=settings.twilio_region,
        edge=settings.twilio_edge,
        proxy=settings.proxy_url.get_secret_value() if settings.proxy_url else None,
    )


def postman(settings: Settings) -> Postman:
    """Return what posts events to customers' endpoints."""
    return Postman(allow_private=settings.events_allow_private, allow_http=settings.events_allow_http)


def retry_policy(settings: Settings) -> RetryPolicy:
    """Return how transient failures are tried again."""
    return RetryPolicy(settings.max_attempts, settings.backoff_base_seconds, settings.backoff_cap_seconds)
