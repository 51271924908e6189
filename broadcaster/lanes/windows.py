"""Send windows: the openings that broadcasts carry, kept ahead by whoever runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from broadcaster.domain.openings import openings_text, opens_at
from broadcaster.ledger.specs import read_spec
from broadcaster.store.scripts import Call, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broadcaster.domain.openings import Hours
    from broadcaster.store.connection import Store

_AT_ONCE: Final = 100


class News(NamedTuple):
    """A broadcast with something to send that has come to its closing time, or may go on.

    `opens` is when it goes on, in unix seconds; None: it does now.
    """

    broadcast: str
    window: Hours
    opens: int | None


def keep(openings: Sequence[tuple[str, str]]) -> Call[list[str]]:
    """Write broadcasts' next openings, (id, text) each; answers what `windows.lua` says of each."""
    return Call("windows", (packed(openings),), lambda reply: [_str(said) for said in unpacked(reply)])


async def keep_ahead(store: Store, only: Iterable[str] | None = None) -> list[News]:
    """Write the next openings of every broadcast that has a window, or of `only` those; return what is news.

    Raises `StoreError` and redis' errors; then it is to be done again. Doing it twice changes nothing.
    """
    keys = store.keys
    named = [raw.decode() for raw in await store.redis.smembers(keys.plain("windowed"))]
    names = sorted(named if only is None else set(named) & set(only))
    news: list[News] = []
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        async with store.redis.pipeline(transaction=False) as pipe:
            for name in some:
                pipe.hget(keys.broadcast(name), "spec")
            specs = await pipe.execute()
        now, _ = await store.redis.time()
        # the hours of what this version can't read stay as they are
        read = [
            (name, window) for name, raw in zip(some, specs, strict=True) for window in _window(name, raw)
        ]
        some, windows = [name for name, _ in read], [window for _, window in read]
        texts = ["" if window is None else openings_text(window, now) for window in windows]
        said = await store.run(keep(list(zip(some, texts, strict=True))))
        news += [
            News(name, window, opens_at(window, now))
            for name, window, what in zip(some, windows, said, strict=True)
            if window is not None and what in ("open", "closed")
        ]
    return news


def _window(broadcast: str, raw: bytes | None) -> list[Hours | None]:
    """Return its hours, one or none, in a list; an empty one where they can't be read."""
    spec = read_spec(broadcast, raw)
    return [] if spec is None and raw is not None else [None if spec is None else spec.hours]


def _str(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
