"""Before anything is queued: does Twilio have the templates, may they be used, and are they filled in?

A definite answer refuses; Twilio that does not answer, or may not be asked, is a warning.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from broadcaster.domain import template_rules as rules
from broadcaster.domain.message_templates import APPROVED, likeness
from broadcaster.operations.errors import Fault
from broadcaster.twilio.wire import TwilioError, TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.domain.content import Content
    from broadcaster.domain.message_templates import MessageTemplate
    from broadcaster.domain.purpose import Purpose
    from broadcaster.twilio.content import Templates

#: So long a list waits for what Twilio says of its templates.
PATIENCE_SECONDS: Final = 10.0
_MISSING: Final = (
    "this account has no template {sid}: `broadcaster templates list` shows those there are; one of another "
    "account can't be used"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong (`faults`: nothing may be queued), and what somebody should know."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Use:
    """Where an order names a template, and for which language if for one."""

    sid: str
    pointer: str
    language: str | None = None


async def check_templates(
    templates: Templates,
    content: Content,
    purpose: Purpose,
    *,
    whatsapp: bool,
    in_session: bool = False,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Checked:
    """Check every template that a content names: its own, one a language, the fallback's. Never raises.

    `whatsapp`: some of it goes there; SMS needs no approval and knows no categories. `in_session`: these are
    answers to people rather than a list, see `rules.approval_fault`.
    """
    checked = Checked()
    try:
        async with asyncio.timeout(patience_seconds):
            for uses, given, place in _groups(content):
                found = await _read(templates, uses, checked)
                _check_each(found, given, place, purpose, checked, (whatsapp, in_session))
            if whatsapp and content.body and not in_session:
                checked.warnings.extend(await _hints_about_text(templates, content.body))
    except TimeoutError:
        checked.warnings.append(_unchecked(f"no answer within {patience_seconds:.0f} s"))
    except (TwilioError, TwilioUnreachable) as error:
        checked.warnings.append(_unchecked(str(error)))
    return checked


def names_templates(content: Content) -> bool:
    """Whether there is anything to ask Twilio about a content's templates."""
    return any(uses for uses, _, _ in _groups(content))


def _groups(content: Content) -> list[tuple[list[_Use], Mapping[str, str], str]]:
    """Return the templates that share variables, these, and where they are in an order."""
    own = [_Use(content.content_sid, "/content_sid")] if content.content_sid else []
    groups: list[tuple[list[_Use], Mapping[str, str], str]] = [
        (own, content.content_variables, "/content_variables")
    ]
    return groups


async def _read(
    templates: Templates, uses: Sequence[_Use], checked: Checked
) -> list[tuple[_Use, MessageTemplate]]:
    """Return the templates that there are. Raises `TwilioError` or `TwilioUnreachable`."""
    found = await asyncio.gather(*(templates.find(use.sid) for use in uses))
    for use, template in zip(uses, found, strict=True):
        if template is None:
            checked.faults.append(Fault(_MISSING.format(sid=use.sid), use.pointer))
    return [(use, template) for use, template in zip(uses, found, strict=True) if template is not None]


def _check_each(
    found: Sequence[tuple[_Use, MessageTemplate]],
    given: Mapping[str, str],
    place: str,
    purpose: Purpose,
    checked: Checked,
    where: tuple[bool, bool],
) -> None:
    whatsapp, in_session = where
    about_variables: dict[str, str] = {}
    for use, template in found:
        faults = []
        if whatsapp:
            faults += [
                rules.approval_fault(template, in_session=in_session),
                rules.category_fault(template, purpose),
            ]
        checked.faults.extend(Fault(fault, use.pointer) for fault in faults if fault)
        for key, fault in rules.variable_faults(template, given).items():
            about_variables.setdefault(key, fault)
        hints = [rules.defaults_used(template, given)]
        hints += [rules.language_hint(template, use.language)] if use.language else []
        checked.warnings.extend(hint for hint in hints if hint)
    about_variables |= rules.unknown_variables([template for _, template in found], given)
    about_variables |= rules.value_faults(given, whatsapp=whatsapp)
    checked.faults.extend(
        Fault(fault, f"{place}/{_escaped(key)}") for key, fault in about_variables.items()
    )


async def _hints_about_text(templates: Templates, body: str) -> list[str]:
    """Warn of free text that says what an approved template says: outside the window only that one goes."""
    wanted = likeness(body)
    for template in await templates.every():
        if template.status == APPROVED and template.body and likeness(template.body) == wanted:
            return [
                f"this is template {template.sid}'s text ({template.name}), sent as free text, which WhatsApp "
                f"takes only within 24 hours of what the person wrote last: use --content-sid {template.sid}"
            ]
    return []


def _unchecked(why: str) -> str:
    return f"the templates could not be checked at Twilio: {why}"


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
