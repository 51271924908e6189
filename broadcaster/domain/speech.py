"""Which template a recipient gets: by the language that stands in a column of the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broadcaster.domain.templates import RenderError

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.domain.content import Content


def language_of(text: str) -> str:
    """Return a language as it is compared: `de_CH` and `DE-ch` are the same (BCP 47 knows no case)."""
    return text.strip().replace("_", "-").lower()


class Speech:
    """Templates by language. `de-CH` takes the one of `de` where it has none of its own."""

    __slots__ = ("_by_language", "_column", "_others")

    def __init__(self, content: Content) -> None:
        self._column = content.language_column or ""
        self._by_language = {language_of(name): sid for name, sid in content.languages.items()}
        self._others = content.content_sid

    def over(self, column: Callable[[str], Callable[[Any], str]]) -> Callable[[Any], str]:
        """Return what gives a row's template. It raises RenderError for a language that has none."""
        language = column(self._column)
        return lambda row: self._template(language(row))

    def _template(self, text: str) -> str:
        language = language_of(text)
        found = self._by_language.get(language) or self._by_language.get(language.partition("-")[0])
        found = found or self._others
        if found is None:
            there = ", ".join(sorted(self._by_language))
            said = f"no template for the language {text!r}" if language else "no language"
            raise RenderError(self._column, f"{said}; there are templates for {there}")
        return found
