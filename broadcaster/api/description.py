"""`python -m broadcaster.api.description > deploy/openapi.json`: the description of the whole API."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from broadcaster.api.app import create_app

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from broadcaster.api.parts import Parts


def text() -> str:
    """Return it as it is committed: indented, with a newline at its end."""

    def none() -> AbstractAsyncContextManager[Parts]:
        raise AssertionError("an application that is only described opens nothing")

    described = create_app(none).openapi()
    return msgspec.json.format(msgspec.json.encode(described), indent=2).decode() + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
