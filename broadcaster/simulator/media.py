"""A message's media: list, resource of one file, the file itself (a redirect to where it lies), deleting."""

from __future__ import annotations

from mimetypes import guess_type
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from broadcaster.simulator.errors import error_body, status_of
from broadcaster.simulator.exchange import Answer
from broadcaster.simulator.listing import encoded, simple_page
from broadcaster.simulator.messages import rfc2822

if TYPE_CHECKING:
    from broadcaster.simulator.messages import Message
    from broadcaster.simulator.world import World


def media_sid(message: Message, place: int) -> str:
    """Return the sid of a message's media file; it only has the right form."""
    return f"ME{message.sid[2:-2]}{place:02x}"


def media_answer(world: World, method: str, path: str, message: Message) -> Answer:
    """Serve `…/Media.json`, `…/Media/{sid}.json` and `…/Media/{sid}`, where Twilio redirects to the file."""
    left = [place for place in range(message.media) if (message.sid, place) not in world.media_deleted]
    if path.endswith("/Media.json") and method == "GET":
        rows: list[object] = [_resource(world, message, place) for place in left]
        return simple_page(path, {}, "media_list", rows)
    name = path.rpartition("/")[2]
    for place in left:
        sid = media_sid(message, place)
        if name == sid and method == "GET":
            where = _file(world, message, place)[0]
            return Answer(307, b"", extra=((b"location", where.encode()),))
        if name == f"{sid}.json" and method == "GET":
            return Answer(200, encoded(_resource(world, message, place)))
        if name == f"{sid}.json" and method == "DELETE":
            world.media_deleted.add((message.sid, place))
            return Answer(204, b"")
    return Answer(status_of(20404), error_body(20404, status_of(20404), f"{path} was not found"))


def _file(world: World, message: Message, place: int) -> tuple[str, str]:
    """Return URL and type of a file."""
    kept = world.files if message.direction == "outbound-api" else world.conversation.media
    return kept[message.number][place]


def guessed(url: str) -> tuple[str, str]:
    """Return a URL with the type that its path promises; what it really is nobody looks up."""
    found = guess_type(urlsplit(url).path)[0]
    return url, found or "application/octet-stream"


def _resource(world: World, message: Message, place: int) -> dict[str, object]:
    sid, created = media_sid(message, place), rfc2822(int(message.created))
    return {
        "sid": sid,
        "account_sid": message.account,
        "parent_sid": message.sid,
        "content_type": _file(world, message, place)[1],
        "date_created": created,
        "date_updated": created,
        "uri": f"/2010-04-01/Accounts/{message.account}/Messages/{message.sid}/Media/{sid}.json",
    }
