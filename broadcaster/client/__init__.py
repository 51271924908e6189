"""A typed client of the HTTP API; needs nothing but httpx.

::

    with Client("https://broadcaster.example.org", key="bc_live_…") as client:
        broadcast = client.create_broadcast(body="The river rises.", recipients=["+14155550100"])
        print(client.broadcast(broadcast.id).counts)
"""

from broadcaster.client.client import Client
from broadcaster.client.errors import ApiError, ClientError, NotReached
from broadcaster.client.values import Broadcast, Message, Page

__all__ = ["ApiError", "Broadcast", "Client", "ClientError", "Message", "NotReached", "Page"]
