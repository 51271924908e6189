"""Celery with twilio-python: the way most tutorials do it."""

from __future__ import annotations

import functools
import os

from celery import Celery
from peer_measure import ACCOUNT, FORM
from twilio.http.http_client import TwilioHttpClient  # type: ignore[import-untyped]
from twilio.rest import Client  # type: ignore[import-untyped]

app = Celery("peer", broker=os.environ["REDIS_URL"])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=4, worker_hijack_root_logger=False)


@functools.cache
def client() -> Client:
    made = Client(ACCOUNT, "token", http_client=TwilioHttpClient(pool_connections=True))
    made.api.base_url = os.environ["SINK"]
    return made


def send_message(to: str, body: str) -> str:
    return str(client().messages.create(to=to, from_=FORM["From"], body=body).sid)


send = app.task(autoretry_for=(Exception,), retry_backoff=True, acks_late=True)(send_message)
