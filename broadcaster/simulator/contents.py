"""`content.twilio.com` on the same host: templates, and what WhatsApp thinks of them.

Shapes: Twilio's OpenAPI file of the Content API. A template made here is one of the config's from then on.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from broadcaster.simulator.config import TemplateConfig
from broadcaster.simulator.exchange import Answer
from broadcaster.simulator.forms import parse_form
from broadcaster.simulator.messages import iso8601
from broadcaster.simulator.pages import page_of
from broadcaster.simulator.reading import failed, found
from broadcaster.simulator.templates import SESSION_ONLY, richest, types_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.simulator.exchange import Exchange
    from broadcaster.simulator.world import World

_PATH: Final = re.compile(r"/v1/Content/(HX[0-9a-fA-F]{32})(/ApprovalRequests(?:/whatsapp)?)?")
_NAME: Final = re.compile(r"[a-z0-9_]{1,512}")
_REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    "twilio/text": ("body",),
    "twilio/media": ("media",),
    "twilio/location": ("latitude", "longitude"),
    "twilio/list-picker": ("body", "button", "items"),
    "twilio/call-to-action": ("body", "actions"),
    "twilio/quick-reply": ("body", "actions"),
    "twilio/card": (),
    "twilio/catalog": ("body",),
    "twilio/carousel": ("body", "cards"),
    "twilio/flows": ("body", "button_text", "pages", "type"),
    "twilio/schedule": ("id", "title", "timeSlots"),
    "whatsapp/card": ("body",),
    "whatsapp/authentication": ("actions",),
    "whatsapp/flows": ("body", "button_text", "flow_id"),
}
_SUBMITTED: Final = ("approved", "received", "pending", "paused", "disabled")


class Update(msgspec.Struct, kw_only=True):
    """The body of an update; of a creation with `language`. Twilio's own client sends other types as null."""

    types: dict[str, dict[str, Any] | None]
    friendly_name: str | None = None
    language: str | None = None
    variables: dict[str, str] | None = None

    @property
    def given(self) -> dict[str, dict[str, Any]]:
        """The types that it has."""
        return {name: content for name, content in self.types.items() if content is not None}


class Request(msgspec.Struct, kw_only=True):
    """The body of a request for approval."""

    name: str
    category: Literal["UTILITY", "MARKETING", "AUTHENTICATION"]
    allow_category_change: bool = True


async def serve(world: World, exchange: Exchange) -> None:
    """Serve one request of the Content API v1."""
    body = await exchange.read_body() or b""
    try:
        answer = _route(world, exchange, body)
    except (msgspec.MsgspecError, ValueError) as error:
        answer = failed(20422, str(error))
    await exchange.answer(answer)


def changed_templates(world: World, patch: bytes) -> dict[str, object]:
    """Serve the control API: fields of templates change, null deletes one, an unknown sid is a new one.

    Raises msgspec.ValidationError before anything changed.
    """
    now = iso8601(world.now())
    templates = dict(world.config.templates)
    for sid, fields in msgspec.json.decode(patch, type=dict[str, dict[str, Any] | None]).items():
        if fields is None:
            templates.pop(sid, None)
            continue
        before = msgspec.to_builtins(templates[sid]) if sid in templates else {"date_created": now}
        templates[sid] = msgspec.convert(before | {"date_updated": now} | fields, TemplateConfig)
    _keep(world, templates)
    return shown_templates(world)


def shown_templates(world: World) -> dict[str, object]:
    """Return the control API's `templates`."""
    return {sid: msgspec.to_builtins(template) for sid, template in world.config.templates.items()}


def _keep(world: World, templates: dict[str, TemplateConfig]) -> None:
    world.configure(msgspec.structs.replace(world.config, templates=templates))


def _route(world: World, exchange: Exchange, body: bytes) -> Answer:
    path, method, base = exchange.path, exchange.method, exchange.origin
    templates = world.config.templates
    if path == "/v1/Content" and method == "POST":
        return _create(world, base, body)
    if path in ("/v1/Content", "/v1/ContentAndApprovals") and method == "GET":
        shown = _resource if path == "/v1/Content" else _with_approval
        rows = [shown(world, base, sid, template) for sid, template in templates.items()]
        return page_of(base + path, parse_form(exchange.query).fields, "contents", rows)
    matched = _PATH.fullmatch(path)
    sid, part = (matched[1], matched[2] or "") if matched else ("", "")
    if sid not in templates or (method, part) not in _ACTS:
        return failed(20404, f"{method} {path} was not found")
    return _ACTS[method, part](world, base, sid, body)


def _fetch(world: World, base: str, sid: str, _body: bytes) -> Answer:
    return found(_resource(world, base, sid, world.config.templates[sid]))


def _delete(world: World, _base: str, sid: str, _body: bytes) -> Answer:
    _keep(world, {other: template for other, template in world.config.templates.items() if other != sid})
    return Answer(204, b"")


def _approvals(world: World, base: str, sid: str, _body: bytes) -> Answer:
    return found(
        {
            "sid": sid,
            "account_sid": world.config.account_sid,
            "whatsapp": {"type": "whatsapp"} | _approval(world.config.templates[sid]),
            "url": f"{base}/v1/Content/{sid}/ApprovalRequests",
        }
    )


def _create(world: World, base: str, body: bytes) -> Answer:
    asked = _checked(body)
    if not asked.language:
        raise ValueError("language is missing")
    seed = f"{world.prefix}{len(world.config.templates)}{world.requests}"
    sid = f"HX{blake2b(seed.encode(), digest_size=16).hexdigest()}"
    now = iso8601(world.now())
    template = TemplateConfig(
        types=asked.given,
        friendly_name=asked.friendly_name or "",
        language=asked.language,
        variables=asked.variables or {},
        status="unsubmitted",
        category="",
        date_created=now,
        date_updated=now,
    )
    _keep(world, world.config.templates | {sid: template})
    return found(_resource(world, base, sid, template), 201)


def _update(world: World, base: str, sid: str, body: bytes) -> Answer:
    """Change what was not submitted yet."""
    asked, template = _checked(body), world.config.templates[sid]
    if template.status in _SUBMITTED:
        return failed(20409, "a template that was submitted for approval can't be changed")
    fields: dict[str, Any] = {"friendly_name": asked.friendly_name, "language": asked.language}
    fields |= {"variables": asked.variables, "types": asked.given, "date_updated": iso8601(world.now())}
    given = {name: value for name, value in fields.items() if value is not None}
    template = msgspec.structs.replace(template, **given)
    _keep(world, world.config.templates | {sid: template})
    return found(_resource(world, base, sid, template))


def _checked(body: bytes) -> Update:
    """Return the body of a creation or update; raises ValueError for types that can't be."""
    asked = msgspec.json.decode(body, type=Update)
    if not asked.given:
        raise ValueError("types is empty")
    for name, content in asked.given.items():
        if name not in _REQUIRED:
            raise ValueError(f"there is no content type {name}")
        missing = [part for part in _REQUIRED[name] if part not in content]
        if missing:
            raise ValueError(f"{name} lacks {', '.join(missing)}")
    return asked


def _submit(world: World, _base: str, sid: str, body: bytes) -> Answer:
    """Ask WhatsApp for approval: `received` until somebody decides over the control API."""
    asked, template = msgspec.json.decode(body, type=Request), world.config.templates[sid]
    if not _NAME.fullmatch(asked.name):
        raise ValueError("name may have lower-case letters, digits and underscores only")
    if richest(template, whatsapp=True) in SESSION_ONLY:
        raise ValueError("this content type can't be submitted: it is for open conversations only")
    if template.status in _SUBMITTED:
        return failed(92009)
    template = msgspec.structs.replace(
        template, status="received", name=asked.name, category=asked.category, rejection_reason=""
    )
    _keep(world, world.config.templates | {sid: template})
    return found(_approval(template), 201)


_ACTS: Final[dict[tuple[str, str], Callable[[World, str, str, bytes], Answer]]] = {
    ("GET", ""): _fetch,
    ("PUT", ""): _update,
    ("DELETE", ""): _delete,
    ("GET", "/ApprovalRequests"): _approvals,
    ("POST", "/ApprovalRequests/whatsapp"): _submit,
}


def _approval(template: TemplateConfig) -> dict[str, object]:
    submitted = template.status != "unsubmitted"
    return {
        "name": (template.name or template.friendly_name) if submitted else "",
        "category": template.category if submitted else "",
        "content_type": next(iter(types_of(template))) if submitted else "",
        "status": template.status,
        "rejection_reason": template.rejection_reason,
        "allow_category_change": True,
    }


def _common(world: World, sid: str, template: TemplateConfig) -> dict[str, object]:
    return {
        "sid": sid,
        "account_sid": world.config.account_sid,
        "friendly_name": template.friendly_name,
        "language": template.language,
        "variables": template.variables,
        "types": types_of(template),
        "date_created": template.date_created,
        "date_updated": template.date_updated,
    }


def _resource(world: World, base: str, sid: str, template: TemplateConfig) -> dict[str, object]:
    url = f"{base}/v1/Content/{sid}"
    links = {
        "approval_create": f"{url}/ApprovalRequests/whatsapp",
        "approval_fetch": f"{url}/ApprovalRequests",
    }
    return _common(world, sid, template) | {"url": url, "links": links}


def _with_approval(world: World, _base: str, sid: str, template: TemplateConfig) -> dict[str, object]:
    return _common(world, sid, template) | {"approval_requests": _approval(template)}
