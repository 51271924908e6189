"""`send` proper: check, load, ask, start, wait."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, closing, nullcontext
from http import HTTPStatus
from typing import TYPE_CHECKING

import click

from broadcaster.cli import running
from broadcaster.cli.attending import attend, tell_others
from broadcaster.cli.connect import log_beside_output
from broadcaster.cli.exits import CommandFailedError, InputError
from broadcaster.cli.home import Home, live_workers
from broadcaster.cli.lists import Reading, fault_list, open_peeked
from broadcaster.cli.output import say
from broadcaster.cli.preview import outline
from broadcaster.cli.showing import show_broadcast
from broadcaster.intake.faults import RejectsFile
from broadcaster.intake.findings import NOTHING_FOUND
from broadcaster.intake.read_ahead import ReadAhead
from broadcaster.intake.submit import check, is_known, submit, warnings_of
from broadcaster.intake.windows import Windows
from broadcaster.operations.actor import at_the_shell
from broadcaster.operations.creating import begin
from broadcaster.operations.preflight import Asked, preflight
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.runtime import check_owner, opened_store, twilio_rest
from broadcaster.twilio.rest import TwilioError, TwilioRest, TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from broadcaster.cli.send import SendOptions
    from broadcaster.intake.peek import Peeked
    from broadcaster.intake.submit import Submission, Submitted
    from broadcaster.intake.summary import Summary
    from broadcaster.store.connection import Store


def send_list(options: SendOptions) -> int:
    """Queue the list and, if asked to, wait for its end. Returns the exit code."""
    settings = options.settings
    log_beside_output(settings)
    with ExitStack() as stack:
        reader = open_peeked(options)
        stack.callback(reader.release)
        options.order.lanes_offline(settings, reader.channels)  # is there a sender at all?
        settings.credentials()
        home: AbstractContextManager[Home | None] = (
            nullcontext() if settings.redis_address else Home(settings, options.env_file)
        )
        at_home = stack.enter_context(home)
        url = settings.redis_address or (at_home.url if at_home else "")
        return running.run(_Send(options, reader, at_home).run(url))


async def check_credentials(rest: TwilioRest) -> None:
    """Refuse what Twilio refuses; anything else that goes wrong now only warns. Raises InputError."""
    try:
        await rest.check_credentials()
    except TwilioError as error:
        if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise InputError(
                f"Twilio refused the credentials: {error}. Check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN"
            ) from None
        say(f"Warning: the credentials could not be checked: {error}")
    except TwilioUnreachable as error:
        say(f"Warning: the credentials could not be checked, Twilio does not answer: {error}")


class _Send:
    """One run of `send` against an open store."""

    def __init__(self, options: SendOptions, reader: Peeked, home: Home | None) -> None:
        self._options = options
        self._reader = reader
        self._home = home
        self._found = NOTHING_FOUND

    async def run(self, url: str) -> int:
        async with opened_store(self._options.settings, url) as store:
            await check_owner(self._options.settings, store, takes=False)
            async with twilio_rest(self._options.settings) as rest:
                submission = await self._submission(store, rest)
                await check_owner(self._options.settings, store)  # Twilio knows this account: no typing error
                done = await self._submit(store, submission, Windows(store, rest))
            if done.known:
                say(f"This list was taken before with this idempotency key, as broadcast {done.broadcast}.")
            await begin(store, at_the_shell(), submission, done, draft=self._options.draft)
            alone = self._home is not None and not self._home.up  # else `broadcaster up` sends it
            waiting = (self._options.wait or alone) and not self._options.draft
            if not waiting:
                return await self._tell(store, done)
            return await self._wait(store, done)

    async def _submission(self, store: Store, rest: TwilioRest) -> Submission:
        options = self._options
        lanes = await options.order.lanes(options.settings, store, rest.service_pool, self._reader.channels)
        submission = options.order.submission(lanes, options.idempotency_key)
        known = await is_known(store, submission.idempotency_key)
        check(submission, now=None if known else time.time())
        await check_credentials(rest)
        if not known:
            self._found = await preflight(
                Asked(
                    order=options.order,
                    lanes=lanes,
                    channels=self._reader.channels,
                    settings=options.settings,
                    twilio=rest,
                )
            )
        return submission

    async def _submit(self, store: Store, submission: Submission, windows: Windows) -> Submitted:
        options = self._options
        with ExitStack() as stack:
            rejects = None
            if options.rejects is not None:
                rejects = stack.enter_context(RejectsFile(options.rejects, list_path=options.file))
            asks = sys.stdin.isatty() and sys.stderr.isatty() and not options.yes and not options.draft

            async def confirm(summary: Summary) -> bool:
                if summary.rejected:
                    say(f"{summary.rejected:,} faulty rows are in {options.rejects}.")
                if not asks or summary.recipients <= 1:
                    return True
                reading.close()
                say(outline(summary, submission, warnings_of(self._found, summary)))
                answers = await ReadAhead(_ask()).take()
                return bool(answers and answers[0])

            reading = stack.enter_context(closing(Reading(self._reader)))
            return await submit(
                store,
                self._reader,
                submission,
                rejects=rejects,
                faults=None if rejects else fault_list(options.file),
                windows=windows,
                progress=reading.update,
                confirm=confirm,
                found=self._found,
            )

    async def _tell(self, store: Store, done: Submitted) -> int:
        view = await read_broadcast(store, done.broadcast)
        if view is None:
            raise CommandFailedError(f"broadcast {done.broadcast} is gone")
        show_broadcast(view.summary(), as_json=self._options.as_json)
        if view.state == "draft":
            say(f"Not started. Start it with: broadcaster broadcasts start {view.id}")
        elif self._home is not None and (there := self._home.up):
            say(f"`broadcaster up` ({there}) sends it. Watch it with: broadcaster broadcasts watch {view.id}")
        elif not await live_workers(store):
            say("No worker is running; it is queued. Start one with: broadcaster worker")
        return 0

    async def _wait(self, store: Store, done: Submitted) -> int:
        code, view = await attend(store, done.broadcast, self._home)
        show_broadcast(view.summary(), as_json=self._options.as_json)
        if self._home is not None and not self._home.up:
            await tell_others(store)
        return code


def _ask() -> Iterator[bool]:
    yield click.confirm("Send it?", err=True)
