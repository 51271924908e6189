"""A typed client of the HTTP API; needs nothing but httpx: `pip install floodcast` brings no more.

The typed client
----------------
::

    with Client("https://broadcaster.example.org", key="bc_live_…") as client:
        broadcast = client.create_broadcast(body="The river rises.", recipients=["+14155550100"])
        print(client.broadcast(broadcast.id).counts)

        with open("people.csv", "rb") as people:  # of any size: sent as it is read
            client.upload_broadcast(people, body="Hi {{ name }}", idempotency_key="flood-2026-11-21")

        client.send("+14155550100", body="The pump has failed.")  # one message, urgent
        for letter in client.dead_letters(codes=[30003]):
            print(letter.to, letter.meaning)

Values are frozen dataclasses; each has the API's whole object in `raw`. What creates or changes something
carries an Idempotency-Key of its own: where an answer is lost, or is 429 or 503, the call is made again with
the same one, for up to `patience_seconds`, and done once. What can't be done raises a `ClientError`:
`ApiError` with the problem and every fault, `NotReached` where no answer came (ask again with the same
`idempotency_key`), `NotTheApi` where something else answers at the address. A client is not for several
threads at once.
"""

from broadcaster.client.client import Client
from broadcaster.client.errors import ApiError, ClientError, NotReached, NotTheApi
from broadcaster.client.replies import Reply
from broadcaster.client.values import Broadcast, Change, Message, OptOut, Page, Sender, Worker
from broadcaster.client.verifications import Verification

__all__ = [
    "ApiError",
    "Broadcast",
    "Change",
    "Client",
    "ClientError",
    "Message",
    "NotReached",
    "NotTheApi",
    "OptOut",
    "Page",
    "Reply",
    "Sender",
    "Verification",
    "Worker",
]
