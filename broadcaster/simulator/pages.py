"""Pages of the newer APIs (`messaging.`, `content.`, `verify.`): `meta` with whole URLs beside the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from broadcaster.simulator.reading import failed, found

if TYPE_CHECKING:
    from broadcaster.simulator.exchange import Answer

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 1000
_PLACE: Final = ("PageSize", "Page", "PageToken")


def page_of(url: str, query: dict[str, str], key: str, rows: list[dict[str, object]]) -> Answer:
    """Return one page of the rows under their key; 20007 for a page that can't be."""
    size_text, page_text = query.get("PageSize", str(DEFAULT_PAGE)), query.get("Page", "0")
    if not (size_text.isdecimal() and page_text.isdecimal() and 0 < int(size_text) <= MAX_PAGE):
        return failed(20007)
    size, page = int(size_text), int(page_text)

    filters = {name: value for name, value in query.items() if name not in _PLACE}

    def at(number: int) -> str:
        return f"{url}?{urlencode(filters | {'PageSize': str(size), 'Page': str(number)})}"

    meta = {
        "key": key,
        "page": page,
        "page_size": size,
        "url": at(page),
        "first_page_url": at(0),
        "previous_page_url": at(page - 1) if page else None,
        "next_page_url": at(page + 1) if (page + 1) * size < len(rows) else None,
    }
    return found({"meta": meta, key: rows[page * size : (page + 1) * size]})
