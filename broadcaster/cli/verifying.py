"""What every `verify` command does: opens what its act works with, here or over the API; names options."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from broadcaster.cli.connect import at_hand
from broadcaster.cli.options import settings_from
from broadcaster.operations.actor import at_the_shell
from broadcaster.operations.verifications import Verifying
from broadcaster.runtime import twilio_rest
from broadcaster.twilio.verify import Verify

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from broadcaster.client import Client
    from broadcaster.store.connection import Store

_T = TypeVar("_T")


def at_verify(
    env_file: Path | None,
    act: Callable[[Verifying], Awaitable[_T]],
    there: Callable[[Client], _T],
) -> _T:
    """Carry an act out beside Redis with Twilio's credentials, or `there` over the API that is named.

    Raises what `at_hand` and the acts raise; of a fault it names the option.
    """

    async def here(store: Store) -> _T:
        settings = settings_from(env_file)
        async with twilio_rest(settings) as twilio:
            work = Verifying.of(store, Verify(twilio), at_the_shell(), settings)
            return await act(work)

    return at_hand(env_file, here, there)
