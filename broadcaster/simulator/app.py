"""The ASGI application: who is asking, what for, and who answers."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING, Final

from broadcaster.simulator import channel_senders, contents, control, reading, services, verify
from broadcaster.simulator.errors import error_body, status_of
from broadcaster.simulator.exchange import Answer, Exchange
from broadcaster.simulator.sending import create_message

if TYPE_CHECKING:
    from broadcaster.simulator.exchange import Receive, Scope, Send
    from broadcaster.simulator.server import Door
    from broadcaster.simulator.world import World

ACCOUNTS: Final = "/2010-04-01/Accounts/"
_SID_CHARACTERS: Final = 34


class SimulatorApp:
    """One simulated Twilio, all on one host: `api.`, `messaging.`, `content.`, `verify.`, and its control."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.door: Door | None = None
        self._known: dict[bytes, str | None] = {}
        self._known_for = world.config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        world = self.world
        exchange = Exchange(scope, receive, send, world)
        if exchange.path.startswith("/_simulator/"):
            return await control.serve(world, exchange, self.door)
        world.requests += 1
        world.in_flight += 1
        world.max_in_flight = max(world.max_in_flight, world.in_flight)
        try:
            await self._serve(exchange)
        finally:
            world.in_flight -= 1

    async def _serve(self, exchange: Exchange) -> None:
        path, world = exchange.path, self.world
        account = self._account(exchange.header(b"authorization"))
        testing = account == world.config.test_account_sid
        split = len(ACCOUNTS) + _SID_CHARACTERS
        rest = path[split:] if path.startswith(ACCOUNTS) else ""
        if account is None:
            await _refused(exchange, 20003)
        elif rest and path[len(ACCOUNTS) : split] != account:
            await _refused(exchange, 20404, f"{path} was not found")
        elif rest == "/Messages.json" and exchange.method == "POST":
            await create_message(world, exchange, account, testing=testing)
        elif testing and not rest.startswith(("/Messages", "/IncomingPhoneNumbers")):
            await _refused(exchange, 20008)
        elif denied := self._denied(path):
            await _refused(exchange, denied)
        elif rest:
            await reading.serve(world, exchange, account, rest)
        elif path.startswith("/v1/Content"):
            await contents.serve(world, exchange)
        elif path.startswith(channel_senders.PATH):
            await channel_senders.serve(world, exchange)
        elif path.startswith("/v2/Services"):
            await verify.serve(world, exchange)
        else:
            await services.serve(world, exchange)

    def _denied(self, path: str) -> int:
        """Return the code that the config refuses this path with, 0 for none."""
        denied = self.world.config.denied
        return next((code for prefix, code in denied.items() if path.startswith(prefix)), 0)

    def _account(self, header: bytes) -> str | None:
        """Return the account that these Basic credentials belong to."""
        if self._known_for is not self.world.config:
            self._known.clear()
            self._known_for = self.world.config
        if header not in self._known:
            self._known[header] = self._check(header)
        return self._known[header]

    def _check(self, header: bytes) -> str | None:
        scheme, _, rest = header.partition(b" ")
        if scheme.lower() != b"basic":
            return None
        try:
            user, _, password = base64.b64decode(rest, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        config = self.world.config
        secrets = {
            config.account_sid: config.token,
            config.test_account_sid: config.test_token,
        } | config.api_keys
        fits = [secrets[user]] if user in secrets else []
        if user == config.account_sid and config.secondary_token:
            fits.append(config.secondary_token)
        if not any(hmac.compare_digest(one.encode(), password.encode()) for one in fits):
            return None
        return config.test_account_sid if user == config.test_account_sid else config.account_sid


async def _refused(exchange: Exchange, code: int, detail: str = "") -> None:
    await exchange.read_body()
    status = status_of(code)
    await exchange.answer(Answer(status, error_body(code, status, detail)))
