"""From a request to a broadcast: one order and one list, however they came."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from broadcaster.api.broadcast_shapes import JSON
from broadcaster.api.once import in_progress, reused
from broadcaster.api.problems import Problem, unavailable
from broadcaster.api.shapes import answer
from broadcaster.domain.addresses import AddressError
from broadcaster.domain.content import ContentError
from broadcaster.domain.senders import NoSenderError
from broadcaster.intake.faults import ListError, ListRefusedError, TooLongListError
from broadcaster.intake.peek import Peeked
from broadcaster.intake.read_ahead import in_thread
from broadcaster.intake.refusals import ContentRefusedError, FullError, KeyTakenError, UnderWayError
from broadcaster.intake.rejects import StoredRejects
from broadcaster.intake.windows import here
from broadcaster.operations.creating import create
from broadcaster.operations.drafts import open_draft
from broadcaster.operations.errors import Fault, Invalid
from broadcaster.operations.order_faults import as_fields
from broadcaster.operations.order_reading import read_form
from broadcaster.operations.trying import forecast, look_ahead, record_trial, send_first
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.runtime import message_sender

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.api.parts import Parts
    from broadcaster.intake.table import ListReader
    from broadcaster.operations.actor import Actor
    from broadcaster.operations.order_form import OrderForm
    from broadcaster.operations.orders import Order
    from broadcaster.operations.trying import Forecast

#: How long an import whose process died keeps others out, and is worth waiting for.
_IMPORT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Making:
    """One request to make a broadcast. `nonce` is its own wherever it is sent again, "" without a key."""

    parts: Parts
    actor: Actor
    nonce: str

    @property
    def key(self) -> str:
        """Its idempotency key of intake's, which no command line can type: arguments hold no NUL."""
        return f"\0api:{self.nonce}" if self.nonce else ""

    async def read(self, spec: bytes, *, inline: bool) -> OrderForm:
        """Read the order; `inline` says that the list is in it. Raises Invalid."""
        known = self.key and await self.parts.store.redis.exists(self._known_at)
        form = read_form(spec, self.parts.settings, late=bool(known))
        if not inline and form.recipients is not None:
            raise Invalid(Fault("the list is the part `recipients`, leave it out here", "/recipients"))
        if inline and not form.recipients and not form.draft:
            what = "name at least one, or make a draft" if form.recipients is None else "is empty"
            raise Invalid(Fault(what, "/recipients"))
        return form

    @property
    def _known_at(self) -> str:
        return self.parts.store.keys.plain(f"idem:{self.key}")

    async def answer(self, form: OrderForm, reader: ListReader | None, filename: str = "") -> Response:
        """Do what is asked for. Raises `Problem`, what intake raises, or a `StoreError`."""
        order = form.order(self.parts.settings, PurePath(filename).stem)
        with told_in_fields("/recipients" if not filename else ""):
            if reader is None:
                done = await open_draft(
                    self.parts.store,
                    self.actor,
                    order,
                    settings=self.parts.settings,
                    read_pool=self._pool,
                    twilio=self.parts.twilio,
                    idempotency_key=self.key,
                )
                return await self._made(done.broadcast)
            peeked = await in_thread(lambda: Peeked(reader))
            if form.dry_run:
                forecast = await self._forecast(order, peeked)
                return Response(msgspec.json.encode(forecast.report), media_type=JSON)
            if form.test_to is not None:
                return await self._test(order, peeked, form.test_to)
            done = await create(
                self.parts.store,
                self.actor,
                order,
                peeked,
                settings=self.parts.settings,
                read_pool=self._pool,
                twilio=self.parts.twilio,
                idempotency_key=self.key,
                rejects=StoredRejects() if order.skips_faults else None,
                opt_outs=self.parts.opt_outs,
                windows=self.parts.windows,
            )
            if done.summary is not None and not done.known:
                self.parts.metrics.imported("list", done.summary.recipients)
        return await self._made(done.broadcast)

    async def _made(self, broadcast: str) -> Response:
        view = await read_broadcast(self.parts.store, broadcast)
        if view is None:
            raise Problem("not-found", f"The broadcast {broadcast} was deleted meanwhile.")
        return answer(view.summary(), 202, {"Location": f"/v1/broadcasts/{broadcast}"})

    async def _test(self, order: Order, peeked: Peeked, to: str) -> Response:
        settings = self.parts.settings
        settings.credentials()
        found = await self._forecast(order, peeked, looks=False)
        async with message_sender(settings, 1) as sender:
            trial = await send_first(order, found, to, sender.post)
        await record_trial(self.parts.store, self.actor, order, trial)
        return answer(trial.summary())

    async def _forecast(self, order: Order, peeked: Peeked, *, looks: bool = True) -> Forecast:
        settings, windows_of = self.parts.settings, here(self.parts.windows) if looks else None
        found = await look_ahead(order, peeked, settings, self.parts.twilio)
        return await in_thread(lambda: forecast(order, peeked, settings, found, windows_of))

    async def _pool(self, service: str) -> list[str]:
        if self.parts.twilio is None:
            self.parts.settings.credentials()  # says what is missing
            raise unavailable("The API was started without Twilio's credentials.")
        return await self.parts.twilio.service_pool(service)


@contextlib.contextmanager
def told_in_fields(pointer: str) -> Iterator[None]:
    """Let errors of intake name fields in place of options; `pointer` is where the list is, "" for a file."""
    try:
        yield
    except UnderWayError as error:
        raise in_progress(_IMPORT_SECONDS, f"{error}.") from None
    except KeyTakenError:
        raise reused() from None
    except TooLongListError as error:
        raise Problem("too-large", str(error)) from None
    except FullError as error:
        raise unavailable(f"{error}.") from None
    except ListRefusedError as error:
        if not pointer:
            raise
        raise _refused(error, pointer) from None
    except (ContentRefusedError, Invalid):
        raise
    except (ListError, NoSenderError, AddressError, ContentError) as error:
        text = as_fields(str(error))
        place = pointer if isinstance(error, ListError) else ""
        raise Problem("invalid", text, errors=[{"detail": text, "pointer": place}]) from None


def _refused(error: ListRefusedError, pointer: str) -> Problem:
    """Say which of the recipients of a request are faulty."""
    errors = [
        {
            "detail": as_fields(fault.reason),
            "pointer": f"{pointer}/{fault.line - 1}",
            "column": fault.column,
            "value": fault.value,
        }
        for fault in error.shown
    ]
    detail = (
        f"{error.total:,} of {error.rows:,} recipients have a fault, so nothing was queued. Correct them, or "
        'take the good ones with "on_invalid": "skip".'
    )
    return Problem("invalid", detail, errors=errors, more={"faults": error.total, "rows": error.rows})
