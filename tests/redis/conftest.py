"""A store over the run's server, and the shortest way to a loaded broadcast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.store.connection import Store, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """A new installation on an empty server."""
    opened = await open_store(redis_url)
    yield opened
    await opened.close()
