"""The options of `send` that say what is sent, read into a content."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from broadcaster.cli.exits import InputError
from broadcaster.domain.content import Content, SmsFallback, Template
from broadcaster.domain.create_message import REPEATED, option_pairs, options_of
from broadcaster.domain.location import LocationError, parse_location

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    _Command = TypeVar("_Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--body", help="The text; {{ column }} is replaced by each row's value."),
    click.option(
        "--media-url", "media_urls", multiple=True, help="A picture or file to send along; repeatable."
    ),
    click.option(
        "--content-sid",
        "content_sids",
        multiple=True,
        metavar="[LANG=]HX…",
        help="A Content template in place of --body; LANG=HX… for each language.",
    ),
    click.option("--language-column", metavar="COLUMN", help="The column with each recipient's language."),
    click.option(
        "--content-variables", metavar="JSON", help='The template\'s variables: {"1": "{{ name }}"}.'
    ),
    click.option("--location", metavar="LAT,LON[,LABEL]", help="A place, on WhatsApp; --body is its name."),
    click.option(
        "--outside-window",
        type=click.Choice(["refuse", "send"]),
        default="refuse",
        show_default=True,
        help="Free text to whom WhatsApp's 24-hour window is closed: refuse, or leave it to Twilio.",
    ),
    click.option(
        "--fallback-content-sid", metavar="HX…", help="The template that goes where free text may not."
    ),
    click.option("--fallback-content-variables", metavar="JSON", help="Its variables."),
    click.option("--sms-fallback", metavar="SENDER", help="Send an SMS, once, to whom WhatsApp can't reach."),
    click.option("--sms-fallback-body", metavar="TEXT", help="Its text, if not --body."),
    click.option(
        "--option",
        "further",
        multiple=True,
        metavar="NAME=VALUE",
        help="A further parameter of Twilio's Create Message, by its name there; repeatable.",
    ),
)


def content_options(command: _Command) -> _Command:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def content_of(given: dict[str, Any]) -> Content:
    """Return what they say. Raises InputError."""
    sid, languages = _sids(given["content_sids"])
    options = _further(given["further"])
    if given["location"] is not None:
        try:
            place = ("PersistentAction", parse_location(given["location"]).action)
            options = options_of([*option_pairs(options), place])
        except LocationError as error:
            raise InputError(f"--location: {error}") from None
    return Content(
        body=given["body"],
        media_urls=given["media_urls"],
        content_sid=sid,
        content_variables=_variables(given["content_variables"], "--content-variables"),
        options=options,
        languages=languages,
        language_column=given["language_column"],
        fallback=_fallback(given),
        sms=_sms(given),
    )


def _sids(given: Sequence[str]) -> tuple[str | None, dict[str, str]]:
    """Return the template for everybody, and those by language."""
    languages: dict[str, str] = {}
    plain: list[str] = []
    for text in given:
        language, equals, sid = text.partition("=")
        if not equals:
            plain.append(text)
        elif not language.strip() or language.strip() in languages:
            raise InputError(f"--content-sid {text!r}: name each language once, like de=HX…")
        else:
            languages[language.strip()] = sid.strip()
    if len(plain) > 1:
        raise InputError("--content-sid is given twice: put the language before each, like de=HX…")
    return (plain[0] if plain else None), languages


def _fallback(given: dict[str, Any]) -> Template | None:
    sid, variables = given["fallback_content_sid"], given["fallback_content_variables"]
    if sid is None:
        if variables is not None:
            raise InputError("--fallback-content-variables belong to --fallback-content-sid: give it too")
        return None
    return Template(sid, _variables(variables, "--fallback-content-variables"))


def _sms(given: dict[str, Any]) -> SmsFallback | None:
    sender, body = given["sms_fallback"], given["sms_fallback_body"]
    if sender is None:
        if body is not None:
            raise InputError("--sms-fallback-body is the text of --sms-fallback SENDER: give it too")
        return None
    return SmsFallback(sender, body)


def _further(given: Sequence[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name or (name in options and name not in REPEATED):
            raise InputError(f"--option {text!r}: write each once, like ValidityPeriod=3600")
        options[name] = f"{options[name]}\n{value}" if name in options else value
    return options


def _variables(text: str | None, option: str) -> dict[str, str]:
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"{option} is no JSON: {error}") from None
    if not isinstance(value, dict) or not all(isinstance(v, str | int | float) for v in value.values()):
        raise InputError(f'{option} must be a JSON object of texts, like {{"1": "{{{{ name }}}}"}}')
    return {str(key): str(text) for key, text in value.items()}
