"""The templates that an account has at Twilio, found and shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broadcaster.operations.errors import NotFound

if TYPE_CHECKING:
    from broadcaster.domain.message_templates import MessageTemplate
    from broadcaster.twilio.content import Templates

_SID: Final = re.compile(r"HX[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which templates: of this status, category, language (`de` is also `de_AT`); None: of any."""

    status: str | None = None
    category: str | None = None
    language: str | None = None

    def fits(self, template: MessageTemplate) -> bool:
        """Whether a template is one of them."""
        language = template.language.lower().replace("_", "-")
        asked = (self.language or "").lower().replace("_", "-")
        return (
            (self.status is None or template.status == self.status.lower())
            and (self.category is None or template.category == self.category.lower())
            and (not asked or language == asked or language.startswith(f"{asked}-"))
        )


async def listed(templates: Templates, wanted: Wanted) -> list[MessageTemplate]:
    """Return the templates that fit, by name. Raises `TwilioError` or `TwilioUnreachable`."""
    return sorted(filter(wanted.fits, await templates.every()), key=place_of)


async def existing(templates: Templates, sid: str) -> MessageTemplate:
    """Return one template. Raises NotFound, `TwilioError` or `TwilioUnreachable`."""
    found = await templates.find(sid) if _SID.fullmatch(sid) else None
    if found is None:
        raise NotFound("template", sid)
    return found


def place_of(template: MessageTemplate) -> tuple[str, str]:
    """Return where a template stands in a list: by name, those of one name by their SID."""
    return (template.name.casefold(), template.sid)
