"""The ASGI application: who is asking, what for, and who answers."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING, Final

from broadcaster.simulator import control, reading, services
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
    """One simulated Twilio: `api.twilio.com`, `messaging.twilio.com` and its control, on one host."""

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
        account = self._account(exchange.header(b"authorization"))
        if account is None:
            return await _refused(exchange, 20003)
        path = exchange.path
        testing = account == self.world.config.test_account_sid
        if not path.startswith(ACCOUNTS):
            if testing:
                return await _refused(exchange, 20008)
            return await services.serve(self.world, exchange)
        split = len(ACCOUNTS) + _SID_CHARACTERS
        if path[len(ACCOUNTS) : split] != account:
            return await _refused(exchange, 20404, f"{path} was not found")
        rest = path[split:]
        if rest == "/Messages.json" and exchange.method == "POST":
            return await create_message(self.world, exchange, account, testing=testing)
        if testing and not rest.startswith(("/Messages", "/IncomingPhoneNumbers")):
            return await _refused(exchange, 20008)
        return await reading.serve(self.world, exchange, account, rest)

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
        if user not in secrets or not hmac.compare_digest(secrets[user].encode(), password.encode()):
            return None
        return config.test_account_sid if user == config.test_account_sid else config.account_sid


async def _refused(exchange: Exchange, code: int, detail: str = "") -> None:
    await exchange.read_body()
    status = status_of(code)
    await exchange.answer(Answer(status, error_body(code, status, detail)))
