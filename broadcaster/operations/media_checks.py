"""Before anything is queued: media are looked at, for Twilio refuses or drops what it can't take.

A definite answer refuses (nothing there, a wrong type, too large, a private address); no answer is a warning.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from broadcaster import __version__
from broadcaster.domain.addresses import Channel
from broadcaster.domain.media_rules import MMS_TOTAL_BYTES, MOST_BYTES, media_fault, media_hint
from broadcaster.operations.errors import Fault
from broadcaster.outside.connecting import Guard
from broadcaster.outside.looking import NoAnswer, Private, Refused, look

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from broadcaster.domain.content import Content
    from broadcaster.outside.looking import Seen

#: So long a broadcast waits for what the servers of its media say, all of them together.
PATIENCE_SECONDS: Final = 3.0
_SHOWN: Final = 80
_AGENT: Final = f"broadcaster/{__version__}"


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong (`faults`: nothing may be queued), and what somebody should know."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


async def check_media(
    content: Content,
    channels: Collection[Channel],
    *,
    allow_private: bool = False,
    patience_seconds: float = PATIENCE_SECONDS,
    guard: Guard | None = None,
) -> Checked:
    """Look at every media URL of a content. Never raises.

    `channels`: where it goes; empty: not known yet, so that only what no channel takes is a fault.
    `allow_private`: also in networks that aren't public, which Twilio does not reach.
    """
    guard = guard or Guard(ssl.create_default_context(), allow_private=allow_private)
    urls = content.media_urls
    looked = await asyncio.gather(*(_look(guard, url, patience_seconds) for url in urls))
    checked = Checked()
    for index, (url, seen) in enumerate(zip(urls, looked, strict=True)):
        place = f"/media_urls/{index}"
        match seen:
            case Private():
                hint = "BROADCASTER_CHECK_MEDIA=any asks others, too"
                checked.faults.append(Fault(f"{_shown(url)}: {seen}; {hint}", place))
            case Refused():
                checked.faults.append(Fault(f"{_shown(url)}: {seen}", place))
            case NoAnswer():
                checked.warnings.append(f"{_shown(url)} could not be looked at: {seen}")
            case _:
                _judge(checked, f"{_shown(url)}: ", place, seen, channels, with_text=bool(content.body))
    if (
        Channel.WHATSAPP in channels and len(urls) > 1
    ):  # a service's senders hide it from the rules of Create Message
        checked.faults.append(Fault("WhatsApp sends one file a message and drops the others", "/media_urls"))
    lengths = [seen.length for seen in looked if not isinstance(seen, Exception)]
    if Channel.SMS in channels and not checked.faults and sum(lengths) > MMS_TOTAL_BYTES:
        checked.faults.append(Fault("all media of one MMS are 5 MB together at most", "/media_urls"))
    return checked


async def _look(guard: Guard, url: str, patience_seconds: float) -> Seen | Refused | NoAnswer:
    try:
        async with asyncio.timeout(patience_seconds):
            return await look(guard, url, most=MOST_BYTES, agent=_AGENT)
    except TimeoutError:
        return NoAnswer(f"no answer within {patience_seconds:g} s")
    except (Refused, NoAnswer) as error:
        return error


def _judge(
    checked: Checked, shown: str, place: str, seen: Seen, channels: Collection[Channel], *, with_text: bool
) -> None:
    asked: Sequence[Channel] = [channel for channel in Channel if channel in (channels or Channel)]
    found = [media_fault(channel, seen.content_type, seen.length) for channel in asked]
    told = list(dict.fromkeys(filter(None, found)))
    if told and (channels or all(found)):
        checked.faults.append(Fault(shown + "; ".join(told), place))
        return
    checked.warnings.extend(shown + text for text in told)
    if channels:
        hints = [media_hint(channel, seen.content_type, with_text=with_text) for channel in asked]
        checked.warnings.extend(shown + text for text in filter(None, hints))


def _shown(url: str) -> str:
    """Return a URL without what may be secret in it: name, password, query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a media URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:_SHOWN]
