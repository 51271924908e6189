"""API keys: `bc_live_ID_SECRET`, what each may do, and how little of it is kept.

A secret has 256 bits of chance, so one SHA-256 of it is as good as a slow hash: there is nothing to guess.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_LETTERS: Final = 10
_KEY: Final = re.compile(r"bc_live_([0-9a-z]{10})_([A-Za-z0-9_-]{43})")
#: Requests a second that a key may make unless it was made with another bound.
DEFAULT_RATE: Final = 500.0


class Scope(enum.StrEnum):
    """What a key may do. Writing does not include reading."""

    BROADCASTS_READ = "broadcasts:read"
    BROADCASTS_WRITE = "broadcasts:write"
    MESSAGES_READ = "messages:read"
    MESSAGES_WRITE = "messages:write"
    SENDERS_READ = "senders:read"
    SENDERS_WRITE = "senders:write"
    OPT_OUTS_READ = "opt-outs:read"
    OPT_OUTS_WRITE = "opt-outs:write"
    REPLIES_READ = "replies:read"
    REPLIES_WRITE = "replies:write"
    PEOPLE_READ = "people:read"
    PEOPLE_WRITE = "people:write"
    DEAD_LETTERS_READ = "dead-letters:read"
    DEAD_LETTERS_WRITE = "dead-letters:write"
    EVENTS_READ = "events:read"
    EVENTS_WRITE = "events:write"
    TEMPLATES_READ = "templates:read"
    TWILIO_READ = "twilio:read"
    TWILIO_WRITE = "twilio:write"
    VERIFY = "verify"
    AUDIT_READ = "audit:read"
    WORKERS_READ = "workers:read"
    WORKERS_WRITE = "workers:write"
    ALL_WRITE = "all:write"
    ADMIN = "admin"


#: What each scope lets its holder do, for the API's description.
SCOPE_WORDS: Final = {
    Scope.BROADCASTS_READ: "See broadcasts and their messages",
    Scope.BROADCASTS_WRITE: "Create, start, pause, resume, cancel, retry and delete broadcasts",
    Scope.MESSAGES_READ: "See single messages, and a person's across broadcasts",
    Scope.MESSAGES_WRITE: "Send and cancel single messages",
    Scope.SENDERS_READ: "See senders and their pace",
    Scope.SENDERS_WRITE: "Change, pause and resume senders",
    Scope.OPT_OUTS_READ: "See opt-outs",
    Scope.OPT_OUTS_WRITE: "Add and remove opt-outs",
    Scope.REPLIES_READ: "Read what people wrote back",
    Scope.REPLIES_WRITE: "Make opt-outs of replies, and mark them done",
    Scope.PEOPLE_READ: "See all that is known of one person",
    Scope.PEOPLE_WRITE: "Forget a person",
    Scope.DEAD_LETTERS_READ: "See dead letters",
    Scope.DEAD_LETTERS_WRITE: "Replay and discard dead letters",
    Scope.EVENTS_READ: "See event endpoints and their deliveries",
    Scope.EVENTS_WRITE: "Create, test, rotate and delete event endpoints",
    Scope.TEMPLATES_READ: "See the templates at Twilio",
    Scope.TWILIO_READ: "See every message of the Twilio account, whoever sent it, with its text; replies too",
    Scope.TWILIO_WRITE: "Empty, cancel and delete messages at Twilio",
    Scope.VERIFY: "Start, check, approve and cancel verifications; see Verify services",
    Scope.AUDIT_READ: "Read the audit",
    Scope.WORKERS_READ: "See workers",
    Scope.WORKERS_WRITE: "Ask workers to end",
    Scope.ALL_WRITE: "Stop everything, and let it go on",
    Scope.ADMIN: "Everything",
}


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is kept: never its secret. Times are unix seconds; `rate` is requests a second."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    digest: bytes
    created: int
    expires: int | None = None
    revoked: int | None = None
    rate: float = DEFAULT_RATE

    def allows(self, scope: Scope) -> bool:
        """Whether it may do what `scope` stands for."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def dead_since(self, now: float) -> str:
        """Return why it is no good any more: "revoked", "expired", or ""."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else ""

    def opened_by(self, secret: str) -> bool:
        """Whether `secret` is its own; takes the same time wherever they differ."""
        return hmac.compare_digest(self.digest, digest(secret))


def digest(secret: str) -> bytes:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def new_key() -> tuple[str, str, str]:
    """Return a new key's id, its secret, and the text that its owner shows."""
    name = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LETTERS))
    secret = secrets.token_urlsafe(32)
    return name, secret, f"bc_live_{name}_{secret}"


def split_key(text: str) -> tuple[str, str] | None:
    """Return a key's (id, secret), or None for what is no key."""
    found = _KEY.fullmatch(text)
    return (found[1], found[2]) if found else None


def parse_scopes(text: str | Iterable[str]) -> tuple[Scope, ...]:
    """Read `broadcasts:write,messages:read`. Raises ValueError, naming what there is."""
    names = [part.strip() for part in (text.split(",") if isinstance(text, str) else text)]
    known = {scope.value: scope for scope in Scope}
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        what = ", ".join(map(repr, unknown)) or "nothing"
        raise ValueError(f"no scope is called {what}. Scopes: {', '.join(known)}")
    return tuple(dict.fromkeys(known[name] for name in names))
