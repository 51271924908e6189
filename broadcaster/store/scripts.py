"""The Lua scripts, each called through one typed value.

A `Call` names a script, carries its arguments after the prefix and epoch, and decodes the reply; the
functions that make them live where their words belong (`lanes`, `ledger`, `intake`). Calls can be run one by
one or several in one round trip. Every write script may be run twice with the same input, so a call whose
answer was lost is asked again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgpack
import msgspec
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broadcaster.store.errors import EpochChanged, LeaseLost, StoreError, Unconfirmed, Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from redis.asyncio import Redis

T = TypeVar("T")
#: How long replicas may take to confirm.
CONFIRM_MS: Final = 1000
#: What more than one script has behind its prelude, and which.
_PARTS: Final = {
    "again": ("replay", "resend", "resume"),
    "auto_stop": ("record",),
    "give_back": ("leave", "release", "sweep"),
    "opt_out_changes": ("optout", "optout_tail", "pool", "reply"),
    "streams": ("append", "fall_back"),
}
Argument = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One script with its arguments (after prefix and epoch) and how its reply is read.

    `lasting`: what it did must outlive the primary before anything is built on it, so where replicas confirm
    (`Scripts`) it counts only with them. `about` is a word for whoever counts what was answered.
    """

    script: str
    arguments: tuple[Argument, ...]
    decode: Callable[[Any], T]
    lasting: bool = False
    about: str = ""


Heard = Callable[[Call[Any], Any], None]


def text(reply: bytes) -> str:
    """Read a reply that is a word."""
    return reply.decode()


unpacked: Callable[[bytes], Any] = msgspec.msgpack.Decoder().decode


def packed(value: Any) -> bytes:
    """Pack an argument for Lua's cmsgpack, which knows bytes only in msgpack's old string form."""
    return bytes(msgpack.packb(value, use_bin_type=False))


@cache
def read_script(name: str) -> str:
    """Return the text of `lua/<name>.lua` with the prelude, and its parts, put behind its shebang line.

    Read once in a process: every store has all of them.
    """
    folder = resources.files("broadcaster.store") / "lua"
    own = (folder / f"{name}.lua").read_text(encoding="utf-8")
    prelude = (folder / "prelude.lua").read_text(encoding="utf-8")
    for part, scripts in _PARTS.items():
        if name in scripts:
            prelude += "\n" + (folder / f"{part}.lua").read_text(encoding="utf-8")
    shebang, _, body = own.partition("\n")
    return f"{shebang}\n{prelude}\n{body}"


def script_names() -> list[str]:
    """Return the names of all scripts, the prelude and the parts left out."""
    folder = resources.files("broadcaster.store") / "lua"
    found = {file.name[:-4] for file in folder.iterdir() if file.name.endswith(".lua")}
    return sorted(found - {"prelude", *_PARTS})


#: Writes something; what was written before it is confirmed with it.
CONFIRM: Final = Call("confirm", (), int, lasting=True)


class Scripts:
    """Runs calls against one Redis; loads a script the server does not know (restart, failover, flush).

    A server without our scripts may be one that has lost writes, so `before_loading` is awaited first.
    With `names` it knows, and loads, no others: who only reads lets nobody send by that.
    With `replicas` > 0 a lasting call counts only once so many replicas have it (WAIT, redis.io): else its
    answer is `Unconfirmed`. `heard`, if set, is told of each call with its answer, which may be a
    `StoreError`; of a round trip without one its first call is told.
    """

    def __init__(
        self,
        redis: Redis,
        prefix: str,
        epoch: str,
        *,
        replicas: int = 0,
        before_loading: Callable[[], Awaitable[object]] | None = None,
        follow: Callable[[], Awaitable[bool]] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self._redis: Any = redis
        self._fixed = (prefix, epoch)
        self._replicas = replicas
        self._before_loading = before_loading
        self.heard: Heard | None = None
        self._follow = follow
        self._text = {name: read_script(name) for name in names or script_names()}
        self._sha = {name: hashlib.sha1(body.encode()).hexdigest() for name, body in self._text.items()}  # noqa: S324 - Redis names scripts by SHA-1

    def under(self, epoch: str) -> None:
        """Make every further call under this epoch of the installation."""
        self._fixed = (self._fixed[0], epoch)

    def before_joining(self, epoch: str) -> Scripts:
        """Return what is asked under an epoch before it becomes ours: nothing that could send."""
        return Scripts(
            self._redis, self._fixed[0], epoch, replicas=self._replicas, names=("guard", CONFIRM.script)
        )

    async def run(self, call: Call[T]) -> T:
        """Run one call. Raises a `StoreError`; on `Unreachable` the call may have been carried out."""
        answer = (await self.run_each([call]))[0]
        if isinstance(answer, StoreError):
            raise answer
        found: T = answer
        return found

    async def run_unloaded(self, call: Call[T]) -> T:
        """Run one call by its text, on a server that may not know our scripts. Raises a `StoreError`."""
        try:
            reply = await self._redis.eval(self._text[call.script], 0, *self._fixed, *call.arguments)
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            raise Unreachable(f"Redis gave no answer to {call.script}: {error}") from error
        except ResponseError as error:
            refused = refusal(error, call.script)
            if isinstance(refused, EpochChanged) and await self._followed():
                return await self.run_unloaded(call)
            raise refused from error
        return call.decode(reply)

    async def _followed(self) -> bool:
        """Tell whether the installation goes on under another epoch, which we then know (`Store.follow`)."""
        return self._follow is not None and await self._follow()

    async def run_all(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run several calls in one round trip, in order. A refused call raises after all were carried out."""
        answers = await self.run_each(calls)
        for answer in answers:
            if isinstance(answer, StoreError):
                raise answer
        return answers

    async def run_each(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run several calls in one round trip, in order; a refused call's answer is its `StoreError`.

        Raises `Unreachable` when it is not known which of them were carried out.
        """
        try:
            answers = await self._answers(calls)
        except Unreachable as error:
            if self.heard is not None and calls:
                self.heard(calls[0], error)
            raise
        if self.heard is not None:
            for call, answer in zip(calls, answers, strict=True):
                self.heard(call, answer)
        return answers

    async def _answers(self, calls: Sequence[Call[Any]]) -> list[Any]:
        replies, confirmed = await self._pipeline(calls)
        if unknown := [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]:
            await self._load()
            confirmed = await self._again(calls, unknown, replies) and confirmed
        # refused by its first lines, so not carried out; none of those behind the first one was either
        gone = [i for i, reply in enumerate(replies) if _is_another_epoch(reply)]
        if gone and await self._followed():
            again = await self._again(calls, gone, replies)
            # what confirms the last of them confirms all that was written before
            confirmed = again and (confirmed or any(calls[i].lasting for i in gone))
        answers = []
        for call, reply in zip(calls, replies, strict=True):
            if isinstance(reply, Exception):
                refused = refusal(reply, call.script)
                if isinstance(refused, Unreachable):
                    raise refused from reply
                answers.append(refused)
            elif call.lasting and not confirmed:
                answers.append(
                    Unconfirmed(f"{call.script}: fewer than {self._replicas} replicas have confirmed it")
                )
            else:
                answers.append(call.decode(reply))
        return answers

    async def _again(self, calls: Sequence[Call[Any]], which: list[int], replies: list[Any]) -> bool:
        """Run some calls once more, put in their replies, and tell whether they are confirmed."""
        again, confirmed = await self._pipeline([calls[i] for i in which])
        for i, reply in zip(which, again, strict=True):
            replies[i] = reply
        return confirmed

    async def _load(self) -> None:
        """Load all scripts: a server that knows only some would run a round trip out of order."""
        try:
            if self._before_loading is not None:
                await self._before_loading()
            async with self._redis.pipeline(transaction=False) as pipe:
                for body in self._text.values():
                    pipe.script_load(body)
                await pipe.execute()
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            raise Unreachable(f"Redis gave no answer: {error}") from error
        except ResponseError as error:
            raise refusal(error, "loading scripts") from error

    async def _pipeline(self, calls: Sequence[Call[Any]]) -> tuple[list[Any], bool]:
        """Return the replies, and whether replicas have confirmed them where that is asked."""
        confirm = self._replicas > 0 and any(call.lasting for call in calls)
        # WAIT asks for what its connection wrote last, and a call that was made before writes nothing
        sent = [*calls, CONFIRM] if confirm else calls
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for call in sent:
                    pipe.execute_command("EVALSHA", self._sha[call.script], 0, *self._fixed, *call.arguments)
                if confirm:
                    pipe.execute_command("WAIT", self._replicas, CONFIRM_MS)
                replies: list[Any] = await pipe.execute(raise_on_error=False)
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            raise Unreachable(f"Redis gave no answer: {error}") from error
        if not confirm:
            return replies, True
        *replies, written, acknowledged = replies
        if isinstance(written, NoScriptError):  # one of another version of ours has loaded the rest
            await self._load()
        confirmed = written == 1 and isinstance(acknowledged, int) and acknowledged >= self._replicas
        return replies, confirmed


def _is_another_epoch(reply: Any) -> bool:
    return isinstance(reply, ResponseError) and isinstance(refusal(reply, ""), EpochChanged)


#: A server that takes no writes now and may later: a replica, one still loading, without its replicas, with a
#: full disk, busy with a script. redis-py cuts the word READONLY off.
_PASSING = (RedisConnectionError, RedisTimeoutError, ReadOnlyError)
_PASSING_WORDS = ("LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS", "MISCONF", "BUSY")


def refusal(error: Exception, script: str) -> StoreError:
    """Turn an error reply into the exception whose name says what to do about it."""
    message = str(error)
    if message.startswith("EPOCH") or " EPOCH " in message[:40]:
        return EpochChanged()
    if message.startswith("LEASE"):
        return LeaseLost(message)
    if isinstance(error, _PASSING) or message.startswith(_PASSING_WORDS):
        return Unreachable(f"{script}: {message}")
    return StoreError(f"{script}: {message}")
