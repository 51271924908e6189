"""The templates that the account has at Twilio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from broadcaster.client.asking import Asking

if TYPE_CHECKING:
    from collections.abc import Iterator


class TemplateCalls(Asking):
    """What can be asked about templates."""

    def templates(
        self, *, status: str | None = None, language: str | None = None, category: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield templates by name: `sid`, `name`, `status`, `category`, `variables` with defaults, ….

        `status`: `approved`, `pending`, `rejected`, …; `language`: `de` is also `de_AT`.
        """
        wanted = {"status": status, "language": language, "category": category}
        given = {name: value for name, value in wanted.items() if value is not None}
        yield from self.every("/v1/templates", dict, **given)

    def template(self, sid: str) -> dict[str, Any]:
        """Return one template, by its HX…. Raises `ApiError` 404."""
        found: dict[str, Any] = self.json("GET", f"/v1/templates/{quote(sid, safe='')}")
        return found
