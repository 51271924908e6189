"""Which statuses a message passes through, when, and the form in which Twilio tells each.

Source: Twilio's guides on tracking outbound messages and on statuses in callbacks.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from broadcaster.simulator.faults import draw
from broadcaster.simulator.messages import FAILED_HERE

if TYPE_CHECKING:
    from broadcaster.simulator.config import SimulatorConfig
    from broadcaster.simulator.messages import Message

RECEIPT_DATES: Final = 0.7
"""Share of final callbacks of text messages that carry `RawDlrDoneDate`."""
_STRANGE: Final = (
    ("ExternalUserId", "US.13491208655302741918"),
    ("Bande À Part", "ça & là=+"),
    ("Empty", ""),
)
"""Parameters that nobody has heard of: Twilio adds some without notice."""


class Step(NamedTuple):
    """A status and when the message comes to it, in unix seconds."""

    status: str
    at: float


def steps(message: Message, *, with_sending: bool = False) -> list[Step]:
    """Return the statuses that callbacks tell, in order. The first status of all is told by the 201 alone."""
    if message.canceled:
        return [Step("canceled", message.touched)]
    told = [Step("queued", message.chosen_at)] if message.service else []
    if with_sending:
        told.append(Step("sending", message.starts_at))
    if message.outcome in FAILED_HERE:
        return [*told, Step("failed", message.leaves_at)]
    told.append(Step("sent", message.leaves_at))
    if message.outcome:
        told.append(Step("undelivered", message.ends_at))
    elif not message.no_receipt:
        told.append(Step("delivered", message.ends_at))
        if message.read_at:
            told.append(Step("read", message.read_at))
    return told


def callback_form(message: Message, step: Step, config: SimulatorConfig) -> dict[str, str]:
    """Return the parameters of one status callback."""
    sid, status = message.sid, step.status
    form = {
        "SmsSid": sid,
        "SmsStatus": status,
        "MessageStatus": status,
        "To": message.to,
        "MessageSid": sid,
        "AccountSid": message.account,
        "From": message.sender,
        "ApiVersion": "2010-04-01",
    }
    if message.service:
        form["MessagingServiceSid"] = message.service
    if status in ("undelivered", "failed"):
        form["ErrorCode"] = str(message.outcome)
    if message.to.startswith("whatsapp:"):
        form["ChannelPrefix"] = "whatsapp"
        form["ChannelInstallSid"] = f"XE{message.prefix}00000000"
        if status == "read":
            form["EventType"] = "READ"
        elif "ErrorCode" in form:
            form["ChannelStatusMessage"] = f"Simulated failure {message.outcome}"
    elif status in ("delivered", "undelivered") and draw(config.seed, message.to, "dlr") < RECEIPT_DATES:
        form["RawDlrDoneDate"] = time.strftime("%y%m%d%H%M", time.gmtime(step.at))
    if config.callback_extras and draw(config.seed, message.to, status, "extra") < config.callback_extras:
        form |= _STRANGE
    return form
