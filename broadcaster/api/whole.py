"""Requests that are there whole, and their answers in one piece: what the short way on the wire hands over.

Most requests that come thousands a second are a kilobyte, and whole before anybody looks at them. Spoken
through ASGI each of them costs four times what their bytes cost; `short_http.py` asks a `ShortWay` instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from starlette.types import Scope


class Answer(NamedTuple):
    """What is answered. `headers` tell the length of a body, and are ours: nobody else's text is in them."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class ShortWay(Protocol):
    """Answers the whole POSTs of one path whose bodies have at most `most_bytes`; the others go by ASGI."""

    @property
    def most_bytes(self) -> int:
        """The largest body that is kept until it is whole."""

    def takes(self, headers: list[tuple[bytes, bytes]]) -> bool:
        """Whether a request with these headers is one of them."""

    def __call__(
        self, scope: Scope, body: bytes, answer: Callable[[Answer], None]
    ) -> Coroutine[Any, Any, None] | None:
        """Have `answer` called once, now or later; or return who will call it, which becomes a task.

        `scope` is ASGI's. What raises, or ends without an answer, closes the connection.
        """
