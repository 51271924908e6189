"""The command line over an API, and acts that are the same from wherever they are asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from commanding import Desk

if TYPE_CHECKING:
    from pathlib import Path

    from api_apart import Apart

TIMES = re.compile(r'"(\w+_at|eta|rate)":[^,}]+|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC')


def over_api(folder: Path, url: str, key: str, **more: str) -> Desk:
    """Return a desk from which nothing but the API can be reached."""
    nothing = dict.fromkeys(("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_PHONE_NUMBER"), "")
    return Desk(folder, "", {**nothing, "BROADCASTER_API_URL": url, "BROADCASTER_API_KEY": key, **more})


def draft(desk: Desk, *options: str) -> dict[str, Any]:
    made: dict[str, Any] = desk.json("send", desk.people(3), "--body", "Hi {{ name }}", "--draft", *options)
    return made


def acted(desk: Desk, other: Desk, apart: Apart) -> list[tuple[int, str, str]]:
    """Steer a broadcast, its failures, senders and everything from one desk; say what that was answered.

    Every other answer is asked for in JSON.
    """
    bid = draft(other)["id"]
    other.write(
        "opt_outs.csv", "address,sender,purpose,since", "+14155559210,54321,marketing,1700000000", "12,,,"
    )
    other.write("numbers.txt", "+14155559200", "", " +1 415 555 9201", "+14155559200")
    failed = apart.ended([0, 30003, 30003, 21211, 9])
    letter = other.json("dead-letters", "list", "--broadcast", failed)[0]["id"]
    done = [
        desk.call(*command, *(["--json"] if number % 2 else []))
        for number, command in enumerate(
            (
                *(["broadcasts", verb, bid] for verb in ("start", "start", "pause", "resume", "resume")),
                ["broadcasts", "pause", bid, "--reason", "typo"],
                *(["broadcasts", verb, bid] for verb in ("delete", "cancel", "cancel", "resume", "watch")),
                *(["broadcasts", verb, bid] for verb in ("delete", "delete")),
                ["dead-letters", "discard", letter],
                ["dead-letters", "discard", letter],
                ["dead-letters", "replay", "--broadcast", failed, "--code", "30003"],
                ["dead-letters", "replay", "--broadcast", failed],
                ["broadcasts", "retry", failed, "--code", "9"],
                ["broadcasts", "retry", failed, "--code", "9", "--even-unknown"],
                ["broadcasts", "retry", failed],
                ["broadcasts", "cancel", failed],
                ["senders", "set", "54321", "--rate", "100/min"],
                ["senders", "pause", "54321", "--reason", "quota"],
                ["senders", "resume", "54321"],
                ["opt-outs", "add", "+14155559100", "+14155559101", "--sender", "54321"],
                ["opt-outs", "add", "+14155559100", "--sender", "54321"],
                ["opt-outs", "remove", "+14155559100", "+14155559101", "+14155559102", "--sender", "54321"],
                ["opt-outs", "import", "numbers.txt"],
                ["opt-outs", "import", "missing.txt"],
                ["opt-outs", "import", "opt_outs.csv", "--rejects", "rejects.csv"],
                ["opt-outs", "import", "opt_outs.csv"],
                ["opt-outs", "remove", "+14155559210", "--sender", "54321", "--purpose", "marketing"],
                ["opt-outs", "add", "+14155559300", "--service", f"MG{'1' * 32}", "--purpose", "marketing"],
                ["opt-outs", "add", "+14155559300", "--service", "12345"],
                [
                    "opt-outs",
                    "remove",
                    "+14155559300",
                    "--service",
                    f"MG{'1' * 32}",
                    "--purpose",
                    "marketing",
                ],
                ["opt-outs", "remove", "+14155559200", "+14155559201"],
                ["pause", "--reason", "wrong list"],
                ["pause", "--reason", "another"],
                ["resume"],
                ["resume"],
            )
        )
    ]

    def plain(text: str) -> str:
        return TIMES.sub("", text.replace(bid, "ID").replace(failed, "FAILED"))

    return [(code, plain(out), plain(err)) for code, out, err in done]
