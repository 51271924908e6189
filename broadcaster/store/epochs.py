"""Which epoch took the place of another: an installation whose format was raised goes on under a new one.

A restored backup has a new epoch, too; nobody of before goes on under that, and yet it is known which it was.
"""

from __future__ import annotations

from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broadcaster.domain.data_format import KNOWN
from broadcaster.store.errors import NewerData, Unreachable

#: Before the epoch that a restored backup got, in `raised`: which it had. It names no way on (`epoch_after`).
RESTORED: Final = "restored:"


async def epoch_after(redis: Any, prefix: str, epoch: str) -> str | None:
    """Return the installation's epoch if it is `epoch` or followed from it; None: it is another installation.

    Raises NewerData where this program doesn't know its format, and `Unreachable`.
    """
    try:
        async with redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(f"{prefix}raised")
            pipe.mget([f"{prefix}epoch", f"{prefix}format"])
            raised, (now, found) = await pipe.execute()
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise Unreachable(f"Redis does not answer: {error}") from error
    at: bytes | None = epoch.encode()
    for _ in raised:
        if at == now or at is None:
            break
        at = raised.get(at)
    if now is None or at != now:
        return None
    check_format(found)
    return str(now.decode())


async def epochs_before(redis: Any, prefix: str, epoch: str) -> tuple[str, ...]:
    """Return the epochs that this installation had before `epoch`, the latest first. Raises `Unreachable`."""
    try:
        raised = await redis.hgetall(f"{prefix}raised")
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise Unreachable(f"Redis does not answer: {error}") from error
    before: dict[str, str] = {}
    for field, value in ((field.decode(), value.decode()) for field, value in raised.items()):
        if field.startswith(RESTORED):
            before[field.removeprefix(RESTORED)] = value
        else:  # `fenced` and `began` are in it as well: what they say is no epoch
            before[value] = field
    found: list[str] = []
    while (epoch := before.get(epoch, "")) and epoch not in found:
        found.append(epoch)
    return tuple(found)


def check_format(found: bytes | None) -> None:
    """Raise NewerData if the data has a format that this program doesn't know."""
    if int(found or 0) > KNOWN:
        raise NewerData(int(found or 0), KNOWN)
