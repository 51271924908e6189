"""What each HTTP answer to a POST is taken for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pytest
from faulty import CREATED, SID, Visit, answer, serving
from pyreqwest.exceptions import (
    ConnectError,
    JSONDecodeError,
    PoolTimeoutError,
    RequestError,
    StatusError,
)

from broadcaster.domain.failures import Kind, Outcome, Remedy
from broadcaster.twilio.answers import outcome_of_failure, retry_after_seconds
from broadcaster.twilio.codes import lookup
from broadcaster.twilio.send import MessageSender

HTML: Final = b"<html><body>502 from a proxy</body></html>"


def refusal(code: int, status: int = 400) -> bytes:
    return f'{{"code":{code},"message":"no +14155550100","more_info":"x","status":{status}}}'.encode()


@dataclass(frozen=True)
class Case:
    """One answer, and the outcome and remedy it must give."""

    name: str
    answer: bytes
    kind: Kind
    code: int = 0
    remedy: Remedy | None = None
    sid: str | None = None


CASES: Final = [
    Case("created", answer("201 Created", CREATED), Kind.ACCEPTED, sid=SID),
    Case("ok", answer("200 OK", CREATED), Kind.ACCEPTED, sid=SID),
    Case("mms", answer("201 Created", CREATED.replace(b"SM", b"MM")), Kind.ACCEPTED, sid="MM" + SID[2:]),
    Case("created without a body", answer("201 Created"), Kind.UNKNOWN),
    Case("created in HTML", answer("201 Created", HTML), Kind.UNKNOWN),
    Case("created without a sid", answer("201 Created", b"{}"), Kind.UNKNOWN),
    Case("created with a null sid", answer("201 Created", b'{"sid":null}'), Kind.UNKNOWN),
    Case("created with another sid", answer("201 Created", CREATED.replace(b"SM", b"CA")), Kind.UNKNOWN),
    Case("created with a short sid", answer("201 Created", b'{"sid":"SM12"}'), Kind.UNKNOWN),
    Case("created in bad UTF-8", answer("201 Created", b'{"sid":"SM\xff"}'), Kind.UNKNOWN),
    Case("accepted by a gateway", answer("202 Accepted", CREATED), Kind.UNKNOWN, 202, Remedy.UNKNOWN),
    Case("no content", b"HTTP/1.1 204 No Content\r\n\r\n", Kind.UNKNOWN, 204, Remedy.UNKNOWN),
    Case("moved", answer("301 Moved", b"", "Location: /x"), Kind.REJECTED, 301, Remedy.ACCOUNT),
    Case("redirect", answer("307 Temporary", b"", "Location: /x"), Kind.REJECTED, 307, Remedy.ACCOUNT),
    Case("bad to", answer("400 Bad Request", refusal(21211)), Kind.REJECTED, 21211, Remedy.RECIPIENT),
    Case("opted out", answer("400 Bad Request", refusal(21610)), Kind.REJECTED, 21610, Remedy.OPT_OUT),
    Case("bad from", answer("400 Bad Request", refusal(21606)), Kind.REJECTED, 21606, Remedy.SENDER),
    Case("long body", answer("400 Bad Request", refusal(21617)), Kind.REJECTED, 21617, Remedy.CONTENT),
    Case("new code", answer("400 Bad Request", refusal(29999)), Kind.REJECTED, 29999, Remedy.RECIPIENT),
    Case("credentials", answer("401 Unauthorized", refusal(20003)), Kind.REJECTED, 20003, Remedy.ACCOUNT),
    Case("401 with a new code", answer("401 No", refusal(29999)), Kind.REJECTED, 29999, Remedy.ACCOUNT),
    Case("403 with a new code", answer("403 No", refusal(29999)), Kind.REJECTED, 29999, Remedy.ACCOUNT),
    Case("not found", answer("404 Not Found", refusal(20404)), Kind.REJECTED, 20404, Remedy.ACCOUNT),
    Case("conflict", answer("409 Conflict", refusal(20409)), Kind.UNKNOWN, 20409, Remedy.UNKNOWN),
    Case("400 in HTML", answer("400 Bad Request", HTML), Kind.REJECTED, 400, Remedy.ACCOUNT),
    Case("401 in HTML", answer("401 No", HTML), Kind.REJECTED, 401, Remedy.ACCOUNT),
    Case("403 empty", answer("403 Forbidden"), Kind.REJECTED, 403, Remedy.ACCOUNT),
    Case("407", answer("407 Proxy", HTML), Kind.REJECTED, 407, Remedy.ACCOUNT),
    Case("400 JSON without a code", answer("400 No", b'{"error":"x"}'), Kind.REJECTED, 400, Remedy.ACCOUNT),
    Case("400 JSON, code a text", answer("400 No", b'{"code":"x"}'), Kind.REJECTED, 400, Remedy.ACCOUNT),
    Case("400 JSON, code 0", answer("400 No", b'{"code":0}'), Kind.REJECTED, 400, Remedy.ACCOUNT),
    Case("408", answer("408 Request Timeout"), Kind.UNKNOWN, 408, Remedy.UNKNOWN),
    Case("408 of Twilio", answer("408 Request Timeout", refusal(21211)), Kind.UNKNOWN, 21211),
    Case("throttled", answer("429 Too Many", refusal(20429)), Kind.THROTTLED, 20429, Remedy.SLOW_ACCOUNT),
    Case("429 in HTML", answer("429 Too Many", HTML), Kind.THROTTLED, 429, Remedy.SLOW_ACCOUNT),
    Case("queue full", answer("429 Too Many", refusal(21611)), Kind.THROTTLED, 21611, Remedy.QUEUE_FULL),
    Case("daily cap", answer("429 Too Many", refusal(63038)), Kind.THROTTLED, 63038, Remedy.ACCOUNT),
    Case("500", answer("500 Oops", refusal(20500)), Kind.UNKNOWN, 20500, Remedy.UNKNOWN),
    Case("502 in HTML", answer("502 Bad Gateway", HTML), Kind.UNKNOWN, 502, Remedy.UNKNOWN),
    Case("503", answer("503 No", refusal(20503)), Kind.UNKNOWN, 20503, Remedy.UNKNOWN),
    Case("504 with a code of refusal", answer("504 Late", refusal(21211)), Kind.UNKNOWN, 21211),
    Case("599", answer("599 Odd"), Kind.UNKNOWN, 599, Remedy.UNKNOWN),
]


async def outcome_of(raw: bytes) -> Outcome:
    async def script(visit: Visit) -> None:
        await visit.request()
        visit.send(raw)

    async with serving(script) as (url, _), MessageSender("AC0", ("AC0", "secret"), url) as sender:
        return await sender.post(b"To=1")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_each_answer_has_its_outcome(case: Case) -> None:
    outcome = await outcome_of(case.answer)
    assert (outcome.kind, outcome.sid) == (case.kind, case.sid)
    assert outcome.http_status == int(case.answer[9:12])
    assert "4155550100" not in outcome.detail  # Twilio's messages name the recipient
    if case.kind is not Kind.ACCEPTED and case.code:
        assert outcome.code == case.code
    if case.remedy is not None:
        assert lookup(outcome.code, outcome.http_status).remedy is case.remedy


async def test_headers_about_load_are_read() -> None:
    throttled = await outcome_of(
        answer("429 Slow", refusal(20429), "Retry-After: 3", "Twilio-Concurrent-Requests: 101")
    )
    assert (throttled.retry_after_seconds, throttled.concurrent) == (3.0, 101)
    odd = await outcome_of(answer("429 Slow", refusal(20429), "Twilio-Concurrent-Requests: many"))
    assert (odd.kind, odd.concurrent) == (Kind.THROTTLED, None)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("1.5", 1.5),
        ("999999999", 86_400.0),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("Sat, 21 Nov 2026 08:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 07:59:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, "Sat, 21 Nov 2026 08:00:00 GMT") == seconds


def test_a_date_without_the_servers_date_is_not_guessed() -> None:
    assert retry_after_seconds("Sat, 21 Nov 2026 08:00:30 GMT", None) is None


def failure(error: type[RequestError], *causes: str) -> Outcome:
    return outcome_of_failure(error("x", {"causes": [{"message": cause} for cause in causes]}))


def all_below(error: type[Exception]) -> set[type[Any]]:
    return {error}.union(*(all_below(each) for each in error.__subclasses__()))


def test_no_type_of_error_proves_that_nothing_was_sent_but_the_pools() -> None:
    """The types lie about the phase; only the exact cause counts."""
    types = all_below(RequestError) - {PoolTimeoutError, StatusError, JSONDecodeError}
    assert len(types) > 10
    for error in types:
        assert failure(error).kind is Kind.UNKNOWN
        assert failure(error, "client error (SendRequest)", "connection reset").kind is Kind.UNKNOWN
        assert failure(error, "client error (Connect)", "tls handshake eof").kind is Kind.NOT_SENT
    assert failure(PoolTimeoutError).kind is Kind.NOT_SENT


@pytest.mark.parametrize(
    "cause",
    [
        "client error (connect)",
        "client error (Connect) ",
        "x: client error (Connect)",
        "tls handshake eof",
        "",
    ],
)
def test_only_the_exact_cause_counts(cause: str) -> None:
    assert failure(ConnectError, "error sending request for url (http://x/)", cause).kind is Kind.UNKNOWN


def test_an_error_of_no_known_kind_is_unknown() -> None:
    assert outcome_of_failure(RuntimeError("client error (Connect)")).kind is Kind.UNKNOWN


def test_the_url_and_long_texts_stay_out_of_the_detail() -> None:
    assert failure(ConnectError, "error sending request for url (http://u:p@x/AC1)").detail == "ConnectError"
    assert len(failure(ConnectError, "y" * 1000).detail) == 160


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await outcome_of(answer("201 Created", CREATED))).kind is Kind.ACCEPTED


def test_secrets_are_not_shown() -> None:
    sender = MessageSender("AC0", ("AC0", "hunter2"), proxy="http://user:hunter2@proxy.invalid")
    assert "hunter2" not in repr(sender)
    assert "hunter2" not in repr(MessageSender("AC0", ("AC0", "s"), "http://user:hunter2@localhost"))


async def test_the_request_is_what_twilio_expects() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        visit.send(answer("201 Created", CREATED))

    async with serving(script) as (url, seen), MessageSender("AC0", ("SK1", "secret"), url + "/") as sender:
        await sender.post(b"To=1")
    head, _, body = seen.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /2010-04-01/accounts/ac0/messages.json http/1.1"
    assert "content-type: application/x-www-form-urlencoded" in lines
    assert "authorization: basic u0sxonnly3jlda==" in lines
    assert not any(line.startswith(("accept-encoding", "cookie", "referer")) for line in lines)
    assert body == b"To=1"
