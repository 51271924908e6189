"""Whether a template may be used for what somebody wants to send: approved, of the right category, filled in.

Sources: Twilio's pages "Content API resources" (statuses), "Content types overview" (which types may be sent
without approval inside the 24-hour window) and of the error 63028 (the number of variables); Meta's "Template
categorization" (categories).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broadcaster.domain.message_templates import APPROVED
from broadcaster.domain.purpose import Purpose
from broadcaster.domain.template_values import faults_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.domain.message_templates import MessageTemplate

#: Which category a purpose takes. Meta bills, limits and withholds by category, and opt-outs go by purpose: a
#: marketing text must not pass for a notice, nor a notice be held back like marketing. TRANSACTIONAL and
#: OTP are what UTILITY and AUTHENTICATION were called until 2023.
CATEGORIES: Final[dict[Purpose, tuple[str, ...]]] = {
    Purpose.MARKETING: ("marketing",),
    Purpose.UTILITY: ("utility", "transactional"),
    Purpose.EMERGENCY: ("utility", "transactional"),
    Purpose.AUTHENTICATION: ("authentication", "otp"),
}
_PURPOSE_OF: Final = {
    name: next(p for p in (Purpose.UTILITY, *CATEGORIES) if name in CATEGORIES[p])
    for names in CATEGORIES.values()
    for name in names
}
#: Types that Twilio takes without approval while the 24-hour window is open.
SESSION_TYPES: Final = frozenset(
    ("twilio/text", "twilio/media", "twilio/location", "twilio/quick-reply", "twilio/list-picker")
)
#: Of these WhatsApp approves none: it takes them only inside the window.
_SESSION_ONLY: Final = frozenset(("twilio/location", "twilio/list-picker"))
_CODE: Final = re.compile(r"\{\{|\{%|\{#")
_ONLY_AN_ANSWER: Final = (
    "is of a type ({types}) that WhatsApp takes only within 24 hours of what somebody wrote, and approves "
    "never: send it to such people as single messages"
)
_UNTIL_THEN: Final = "; until then it goes as a single message to whoever wrote within 24 hours"
_WHY: Final = {
    "unsubmitted": "was never submitted to WhatsApp for approval: submit it in Twilio's Console, under "
    "Content Template Builder{answers}",
    "received": "is not approved yet, it was submitted: wait for WhatsApp's answer",
    "pending": "is not approved yet, WhatsApp is looking at it: wait for its answer",
    "rejected": "was rejected by WhatsApp{reason}: make a new one that keeps to its rules",
    "paused": "is paused by WhatsApp for its low quality{reason}: wait until it is let go on, or use another",
    "disabled": "was disabled by WhatsApp{reason}: use another",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and where: `/content_sid`, `/content_variables/2`."""

    pointer: str
    detail: str


def approval_fault(template: MessageTemplate, *, in_session: bool = False) -> str | None:
    """Return why a template can't go to WhatsApp now, None if it can.

    `in_session`: the caller may answer somebody within 24 hours, where some types need no approval.
    """
    if template.status == APPROVED:
        return None
    free = template.status == "unsubmitted" and SESSION_TYPES.issuperset(template.types)
    if in_session and free:
        return None
    if free and _SESSION_ONLY.intersection(template.types):
        return f"template {template.sid} {_ONLY_AN_ANSWER.format(types=', '.join(template.types))}"
    reason = f" ({template.rejection_reason})" if template.rejection_reason else ""
    answers = _UNTIL_THEN if free else ""
    why = _WHY.get(template.status, f"is {template.status!r}, not approved: look at it in Twilio's Console")
    return f"template {template.sid} {why.format(reason=reason, answers=answers)}"


def category_fault(template: MessageTemplate, purpose: Purpose) -> str | None:
    """Return why a template is not for this purpose, None if it is, or nobody knows."""
    fits = _PURPOSE_OF.get(template.category)
    if fits is None or template.category in CATEGORIES[purpose]:
        return None
    return (
        f"template {template.sid} is of the category {template.category.upper()}, this is {purpose.value}: "
        f"use a template of {CATEGORIES[purpose][0].upper()}, or send it with the purpose {fits.value}"
    )


def missing_variables(template: MessageTemplate, given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a template needs and was not given, and what to do."""
    return {
        key: f"template {template.sid} needs variable {key}, which has no default there: give it"
        for key in template.required
        if key not in given
    }


def unknown_variables(templates: list[MessageTemplate], given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that none of these templates takes, and what to do."""
    known = list(dict.fromkeys(key for template in templates for key in sorted(template.known)))
    names = ", ".join(dict.fromkeys(template.sid for template in templates))
    takes = f"takes {', '.join(known)}" if known else "takes no variables"
    return {
        key: f"template {names} has no variable {key}: it {takes}. Leave it out"
        for key in given
        if templates and key not in known
    }


def value_faults(given: Mapping[str, str], *, whatsapp: bool = True) -> dict[str, str]:
    """Return what is wrong with values that all get alike; a recipient's own are looked at by intake."""
    alike = {key: value for key, value in given.items() if not _CODE.search(value)}
    return {fault.key: fault.detail for fault in faults_in(alike, whatsapp=whatsapp)}


def defaults_used(template: MessageTemplate, given: Mapping[str, str]) -> str | None:
    """Return a warning about variables that everybody gets as the template has them."""
    left = [
        f"{key} ({value})"
        for key, value in template.variables.items()
        if value and key in template.placeholders and key not in given
    ]
    if not left:
        return None
    return f"template {template.sid}: not given, so everybody gets the template's default: {', '.join(left)}"


def language_hint(template: MessageTemplate, language: str) -> str | None:
    """Return a warning about a template that is in another language than the one it stands for."""
    if not template.language:
        return None
    here, there = (_subtags(name) for name in (language, template.language))
    if here[: len(there)] == there or there[: len(here)] == here:
        return None
    return f"the template for {language}, {template.sid}, is in {template.language}: is it the right one?"


def _subtags(language: str) -> list[str]:
    return language.lower().replace("_", "-").split("-")
