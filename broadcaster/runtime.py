"""The composition root: settings become connections, in order; they end in reverse."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from broadcaster.domain.owner import Owner
from broadcaster.domain.reference import References
from broadcaster.events.sending import Postman
from broadcaster.ledger.outcomes import RetryPolicy
from broadcaster.store.connection import Store, open_store
from broadcaster.store.errors import OtherAccount
from broadcaster.store.owning import own, owner_of
from broadcaster.twilio.callback_urls import CallbackUrls
from broadcaster.twilio.engine import Timeouts
from broadcaster.twilio.hosts import base_url
from broadcaster.twilio.rest import TwilioRest
from broadcaster.twilio.send import MessageSender
from broadcaster.twilio.wire import CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from broadcaster.settings import Settings


@asynccontextmanager
async def opened_store(settings: Settings, redis_url: str, *, sends: bool = False) -> AsyncIterator[Store]:
    """Join the installation in this Redis. Raises `StoreError`.

    A process that `sends` keeps in the data directory what it knows of Redis, to find out when that is older.
    """
    store = await open_store(redis_url, prefix_of(settings), replicas=settings.replicas_to_confirm)
    if settings.people_key is not None:
        store.people_secret = settings.people_key.get_secret_value()
    try:
        if sends:
            await store.remember_in(settings.data_dir / f"seen.{settings.key_prefix}")
        yield store
    finally:
        await store.close()


def owner_in(settings: Settings) -> Owner | None:
    """Return the account that is set, and where it is asked; None where none is."""
    if settings.twilio_account_sid is None:
        return None
    return Owner.of(settings.twilio_account_sid, settings.twilio_api_base_url)


async def check_owner(settings: Settings, store: Store, *, takes: bool = True) -> None:
    """Return if the installation belongs to the account that is set, or to nobody.

    Nobody's is that account's from now on, if it `takes` it. Costs a round trip, once for a
    process. Raises OtherAccount or another StoreError, or redis' errors.
    """
    asks = owner_in(settings)
    if asks is None:
        return
    if takes:
        await own(store, asks)
    elif (owner := await owner_of(store)) is not None and owner != asks:
        raise OtherAccount(owner, asks)


def prefix_of(settings: Settings) -> str:
    """Return what every key of this installation starts with."""
    return settings.redis_prefix


async def signing_keys(settings: Settings, store: Store) -> Sequence[str]:
    """Return the keys that sign cursors and references: those that are set, and the installation's own.

    The first signs, all are accepted: what was signed before one was set is known afterwards. Raises redis'
    errors.
    """
    name = store.keys.plain("signing")
    own = await store.redis.get(name)  # read first: a full Redis takes no SET, and needs none
    if settings.secret_keys:
        return (*settings.secret_keys, own.decode()) if own else settings.secret_keys
    if own is None:
        await store.redis.set(name, secrets.token_urlsafe(32), nx=True)
        own = await store.redis.get(name)
    return (own.decode(),)


async def callback_urls(settings: Settings, store: Store) -> CallbackUrls | None:
    """Return what makes the addresses of status callbacks; None where Twilio can't reach us."""
    if settings.public_url is None:
        return None
    return CallbackUrls(settings.public_url, References(await signing_keys(settings, store)))


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


def twilio_rest(settings: Settings, *, connections: int = CONNECTIONS) -> TwilioRest:
    """Return the client of everything but the send path. Raises `SettingsError` without credentials."""
    account, user, password = settings.credentials()
    return TwilioRest(
        account,
        (user, password),
        settings.twilio_api_base_url,
        region=settings.twilio_region,
        edge=settings.twilio_edge,
        proxy=settings.proxy_url.get_secret_value() if settings.proxy_url else None,
        connections=connections,
    )


def postman(settings: Settings) -> Postman:
    """Return what posts events to customers' endpoints."""
    return Postman(allow_private=settings.events_allow_private, allow_http=settings.events_allow_http)


def retry_policy(settings: Settings) -> RetryPolicy:
    """Return how transient failures are tried again."""
    return RetryPolicy(settings.max_attempts, settings.backoff_base_seconds, settings.backoff_cap_seconds)
