"""Before anything is queued: Twilio is asked whether it has the templates and they may be used as they are.

A definite answer refuses; Twilio that does not answer, or may not be asked, is a warning.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from broadcaster.domain import template_rules as rules
from broadcaster.operations.errors import Fault
from broadcaster.twilio.wire import TwilioError, TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from broadcaster.domain.content import Content
    from broadcaster.domain.message_templates import MessageTemplate
    from broadcaster.domain.purpose import Purpose
    from broadcaster.twilio.content import Templates

#: So long a list waits for what Twilio says of its templates.
PATIENCE_SECONDS: Final = 10.0
_HINT_SECONDS: Final = 3.0
_LATER: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
_MISSING: Final = (
    "this account has no template {sid}: `broadcaster templates list` shows those there are; one of another "
    "account can't be used"
)
_IN_SANDBOX: Final = "the sandbox takes only templates that Twilio has given it: {detail}"
_TOO_MANY: Final = (
    "variable {key} goes to every language, and the template for {lacking} doesn't take it: WhatsApp may "
    "refuse that (63028). Give all languages the same variables, or send that one as a broadcast of its own"
)
_SAME_TEXT: Final = (
    "this is the text of template {sid} ({name}), sent as free text, which WhatsApp takes only within 24 "
    "hours of what the person wrote last: send the template itself, by its content SID"
)


@dataclass(slots=True)
class Checked:
    """What is wrong (`faults`: nothing may be queued), and what somebody should know.

    `unanswered`: why nobody knows, "" if Twilio answered; another time it may. It is a warning, too.
    """

    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unanswered: str = ""


class _Use(NamedTuple):
    """Where an order names a template, and for which language if for one."""

    sid: str
    pointer: str
    language: str | None = None


class _Group(NamedTuple):
    """Templates that share their variables, and where these are in an order.

    `stands_in`: they go where the 24-hour window is closed.
    """

    uses: Sequence[_Use]
    given: Mapping[str, str]
    place: str
    stands_in: bool = False


async def check_templates(
    templates: Templates,
    content: Content,
    purpose: Purpose,
    *,
    whatsapp: bool | None,
    in_session: bool = False,
    sandbox: bool = False,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Checked:
    """Check every template that a content names: its own, one a language, the fallback's. Never raises.

    `whatsapp`: some of it goes there, None: perhaps (then what WhatsApp forbids is a warning); SMS needs no
    approval and knows no categories. `in_session`: these are answers to people rather than a list, see
    `rules.approval_fault`. `sandbox`: that is the sender, which has templates of Twilio's own, the same for
    everybody (quickstart "WhatsApp sandbox"), of which this account knows nothing: no more than warnings.
    """
    checked = Checked()
    try:
        async with asyncio.timeout(patience_seconds):
            for group in _groups(content):
                found, missing = await _read(templates, group.uses)
                refusals = list(_refusals(found, purpose, in_session=in_session and not group.stands_in))
                if sandbox:
                    told = (_IN_SANDBOX.format(detail=fault.detail) for fault in (*missing, *refusals))
                    checked.warnings.extend(told)
                else:
                    checked.faults.extend((*missing, *refusals) if whatsapp else missing)
                if whatsapp is None and not sandbox:
                    checked.warnings.extend(f"not to WhatsApp: {fault.detail}" for fault in refusals)
                checked.faults.extend(_faults_of_variables(found, group, whatsapp=bool(whatsapp)))
                checked.warnings.extend(dict.fromkeys(_hints(found, group)))
                checked.warnings.extend(_left_over(found, group))
    except TimeoutError:
        checked.unanswered = _unchecked(f"no answer within {patience_seconds:.0f} s")
    except TwilioUnreachable as error:
        checked.unanswered = _unchecked(str(error))
    except TwilioError as error:
        if error.status in _LATER or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            checked.unanswered = _unchecked(str(error))
        else:
            checked.warnings.append(_unchecked(str(error)))
    if checked.unanswered:
        checked.warnings.append(checked.unanswered)
    return checked


def names_templates(content: Content) -> bool:
    """Whether there are templates that Twilio can be asked about."""
    return content.is_template or content.fallback is not None


async def hints_about_text(templates: Templates, body: str) -> list[str]:
    """Warn of free text that says what an approved template says: outside the window only that one goes.

    It is only a hint: where the templates can't be read soon there is none.
    """
    found = None
    with contextlib.suppress(TwilioError, TwilioUnreachable, TimeoutError):
        async with asyncio.timeout(_HINT_SECONDS):
            found = await templates.saying(body)
    return [] if found is None else [_SAME_TEXT.format(sid=found.sid, name=found.name)]


def _groups(content: Content) -> list[_Group]:
    """Return the templates of an order: those that share variables together."""
    named = [_Use(content.content_sid, "/content_sid")] if content.content_sid else []
    for language, sid in content.languages.items():
        named.append(_Use(sid, f"/content_sids/{_escaped(language)}", language))
    groups = [_Group(named, content.content_variables, "/content_variables")] if named else []
    fallback = content.fallback
    if fallback is not None:
        use = _Use(fallback.sid, "/fallback/content_sid")
        groups.append(_Group([use], fallback.variables, "/fallback/content_variables", stands_in=True))
    return groups


async def _read(
    templates: Templates, uses: Sequence[_Use]
) -> tuple[list[tuple[_Use, MessageTemplate]], list[Fault]]:
    """Return the templates that there are, and which there are not.

    Raises `TwilioError` or `TwilioUnreachable`.
    """
    if len(uses) == 1:  # as a single message's, which is mostly known already
        found = [await templates.find(uses[0].sid)]
    else:
        found = await asyncio.gather(*(templates.find(use.sid) for use in uses))
    named = list(zip(uses, found, strict=True))
    missing = [Fault(_MISSING.format(sid=use.sid), use.pointer) for use, one in named if one is None]
    return [(use, one) for use, one in named if one is not None], missing


def _refusals(
    found: Sequence[tuple[_Use, MessageTemplate]], purpose: Purpose, *, in_session: bool
) -> Iterable[Fault]:
    for use, template in found:
        for detail in (
            rules.approval_fault(template, in_session=in_session),
            rules.category_fault(template, purpose),
        ):
            if detail is not None:
                yield Fault(detail, use.pointer)


def _faults_of_variables(
    found: Sequence[tuple[_Use, MessageTemplate]], group: _Group, *, whatsapp: bool
) -> Iterable[Fault]:
    """Yield one fault a variable: unknown to all of the templates, missing in one, or not fit to send."""
    faults: dict[str, str] = {}
    for _, template in found:
        faults = rules.missing_variables(template, group.given) | faults
    faults |= rules.unknown_variables([template for _, template in found], group.given)
    faults |= rules.value_faults(group.given, whatsapp=whatsapp)
    for key, detail in faults.items():
        yield Fault(detail, f"{group.place}/{_escaped(key)}")


def _hints(found: Sequence[tuple[_Use, MessageTemplate]], group: _Group) -> Iterable[str]:
    for use, template in found:
        hints = [rules.defaults_used(template, group.given)]
        if use.language is not None:
            hints.append(rules.language_hint(template, use.language))
        yield from filter(None, hints)


def _left_over(found: Sequence[tuple[_Use, MessageTemplate]], group: _Group) -> Iterable[str]:
    """Warn of variables that only some of the templates take: each of them gets all."""
    known = [template.known for _, template in found]
    for key in group.given:
        lacking = [use.language or use.sid for use, template in found if key not in template.known]
        if lacking and any(key in names for names in known):
            yield _TOO_MANY.format(key=key, lacking=", ".join(lacking))


def _unchecked(why: str) -> str:
    return f"the templates could not be checked at Twilio: {why}"


def _escaped(part: str) -> str:
    """Return a name as a part of a JSON pointer (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")
