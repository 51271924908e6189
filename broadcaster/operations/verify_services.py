"""Verify services: made, shown, changed, each change in the audit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from broadcaster.domain.verify_services import change_faults
from broadcaster.operations import audit
from broadcaster.operations.errors import InDoubt
from broadcaster.operations.verifications import refuse
from broadcaster.operations.verify_answers import refusal
from broadcaster.twilio.verify import doubtful
from broadcaster.twilio.wire import TwilioError, TwilioUnreachable

if TYPE_CHECKING:
    from broadcaster.domain.verify_services import ServiceChange
    from broadcaster.operations.verifications import Verifying
    from broadcaster.twilio.verify import VerifyService

_DOUBT: Final = (
    "Twilio gave no good answer: the service may have been made. `broadcaster verify service list`, or GET "
    "/v1/verify-services, shows whether it is there; asked again, Twilio makes another"
)


async def create(work: Verifying, change: ServiceChange) -> VerifyService:
    """Make a service. Raises Invalid with every fault, Refused, Limited, or Twilio's errors.

    InDoubt where Twilio's answer is lost: asked again, Twilio makes another.
    """
    refuse(change_faults(change, new=True))
    try:
        found = await work.twilio.create_service(change.form())
    except (TwilioError, TwilioUnreachable) as error:
        if doubtful(error):
            raise InDoubt(_DOUBT, int(time.time())) from None
        raise refusal(error, "") from None
    await audit.record(work.store, work.actor, "verify_service.create", found.sid, new=change.given())
    return found


async def every(work: Verifying) -> list[VerifyService]:
    """Return all services of the account. Raises Refused, Limited or Twilio's errors."""
    try:
        return await work.twilio.services()
    except (TwilioError, TwilioUnreachable) as error:
        raise refusal(error, "") from None


async def show(work: Verifying, service: str | None) -> VerifyService:
    """Return a service, the settings' where none is named. Raises NotFound, SettingsError, Twilio's."""
    chosen = work.chosen(service)
    try:
        return await work.twilio.fetch_service(chosen)
    except (TwilioError, TwilioUnreachable) as error:
        raise refusal(error, chosen) from None


async def update(work: Verifying, service: str | None, change: ServiceChange) -> VerifyService:
    """Change a service. Raises as `create` and `show` do; it may be done twice."""
    refuse(change_faults(change, new=False))
    before = (await show(work, service)).settings()
    chosen = work.chosen(service)
    given = change.given()
    old = {name: before.get(name) for name in given}
    await audit.record(work.store, work.actor, "verify_service.update", chosen, old=old, new=given)
    try:
        return await work.twilio.update_service(chosen, change.form())
    except (TwilioError, TwilioUnreachable) as error:
        raise refusal(error, chosen) from None
