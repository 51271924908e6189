"""Problems of the API as the exit codes and sentences of the command line."""

from __future__ import annotations

from typing import Any

import pytest

from broadcaster.cli.explaining import explain
from broadcaster.cli.exporting import Lines
from broadcaster.cli.over_api import explained
from broadcaster.client import ApiError, ClientError, NotReached, NotTheApi
from broadcaster.reporting.exports import Format

URL = "https://api.example"


def problem(status: int, slug: str, detail: str, after: float | None = None, **more: Any) -> ApiError:
    return ApiError(status, {"type": f"/problems/{slug}", "title": slug, "detail": detail, **more}, after)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            problem(401, "unauthorized", "This key is revoked. Send `Authorization: Bearer bc_live_…`."),
            2,
            "the API does not take the key: This key is revoked. Check BROADCASTER_API_KEY",
        ),
        (
            problem(403, "forbidden", "This key lacks senders:write."),
            2,
            "the key in BROADCASTER_API_KEY may not do this: This key lacks senders:write",
        ),
        (
            problem(404, "not-found", "there is no broadcast 1abc."),
            2,
            "there is no broadcast 1abc: `broadcaster broadcasts list` shows them",
        ),
        (
            problem(404, "", "it answers 404, no more"),
            2,
            f"there is no such thing at {URL}: it answers 404, no more. Check BROADCASTER_API_URL",
        ),
        (
            problem(409, "conflict", "broadcast 1abc is canceled, so it can't be resumed.", state="canceled"),
            1,
            "broadcast 1abc is canceled, so it can't be resumed",
        ),
        (problem(409, "in-progress", "It is being done.", 3.0), 1, "It is being done. Ask again in 3 s"),
        (problem(413, "too-large", "This takes 10 bytes at most."), 2, "This takes 10 bytes at most"),
        (
            problem(422, "invalid", "…", errors=[{"detail": "'x' is no duration", "pointer": "/expires_in"}]),
            2,
            "'x' is no duration",
        ),
        (
            problem(422, "invalid", "…", errors=[{"detail": "no country code", "line": 3, "column": "to"}]),
            2,
            "line 3, to: no country code",
        ),
        (
            problem(
                422,
                "invalid",
                "…",
                errors=[
                    {"detail": "is empty", "pointer": "/body"},
                    {"detail": "name one with `from`", "pointer": "/from/0"},
                ],
            ),
            2,
            "2 faults:\n  --body: is empty\n  --from: name one with --from",
        ),
        (problem(429, "rate-limited", "Too fast.", 7.0), 1, "Too fast. Ask again in 7 s"),
        (problem(500, "internal", "A fault of ours.", instance="ab12"), 1, "A fault of ours (ab12)"),
        (problem(502, "twilio-failed", "20003: wrong token."), 1, "20003: wrong token"),
        (problem(503, "unavailable", "Redis does not answer."), 1, "Redis does not answer"),
        (
            NotReached("refused", nothing_sent=True, may_be_done=False),
            2,
            f"the API at {URL} can't be reached: refused. Check BROADCASTER_API_URL",
        ),
        (
            NotReached("reset"),
            1,
            f"the API at {URL} gave no whole answer: reset. What was asked may have been done",
        ),
        (
            NotReached("reset", may_be_done=False),
            1,
            f"the API at {URL} gave no whole answer: reset",
        ),
        (NotTheApi("it is not this API"), 2, "it is not this API. Check BROADCASTER_API_URL"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_each_has_its_sentence_and_code(error: ClientError, code: int, text: str) -> None:
    assert explain(explained(error, URL)) == (code, f"Error: {text}")


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_rows_of_an_export_are_counted_as_it_comes(size: int) -> None:
    text = b'to,name\r\n+1,"a ""b""\nc"\r\n+2,"""\n"\r\n+3,d\r\n'
    lines = Lines()
    for start in range(0, len(text), size):
        lines.add(text[start : start + size])
    assert lines.rows(Format.CSV) == 3
    assert Lines().rows(Format.CSV) == 0
    objects = Lines()
    objects.add(b'{"a":"\\""}\n{"b":1}\n')
    assert objects.rows(Format.NDJSON) == 2
