"""Media are looked at before anything is queued: definite answers refuse, and nothing private is asked."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from asking import TRUST
from files import files, head, moved

from broadcaster.domain.addresses import Channel
from broadcaster.domain.content import Content
from broadcaster.operations.media_checks import Checked, check_media
from broadcaster.outside.connecting import Guard

SMS, WHATSAPP = Channel.SMS, Channel.WHATSAPP
NOT_HERE = head("text/html", 0, "405 Method Not Allowed")
MB = 1024 * 1024


async def checked(*urls: str, channels: Any = (WHATSAPP,), body: str | None = None, **how: Any) -> Checked:
    guard = Guard(TRUST, allow_private=True)
    return await check_media(Content(body=body, media_urls=urls), channels, **{"guard": guard, **how})


async def told(answer: bytes | None, **how: Any) -> tuple[str, str]:
    """Return the faults and the warnings about one file."""
    async with files(file=answer) as there:
        found = await checked(there.url("/file"), **how)
        assert all(fault.pointer == "/media_urls/0" for fault in found.faults)
        shown = there.url("/file")
        texts = [fault.detail for fault in found.faults] + found.warnings
        assert all(text.startswith(shown) for text in texts)
        return "; ".join(fault.detail for fault in found.faults), "; ".join(found.warnings)


@pytest.mark.parametrize(
    ("answer", "fault", "warning"),
    [
        (head("image/png", 5 * MB), "", ""),
        (head("image/png", 5 * MB + 1), "larger than 5 MB", ""),
        (head("application/pdf", 16 * MB), "", ""),
        (head("application/pdf", 16 * MB + 1), "larger than 16 MB", ""),
        (head("text/html", 10), "takes no text/html", ""),
        (head("", 10), "names no Content-Type", ""),
        (head("text/html", 0, "404 Not Found"), "it answers HTTP 404", ""),
        (head("text/html", 0, "401 Unauthorized"), "it answers HTTP 401", ""),
        (head("text/html", 0, "403 Forbidden"), "it answers HTTP 403", ""),
        (head("text/html", 0, "410 Gone"), "it answers HTTP 410", ""),
        (head("text/html", 0, "500 Oops"), "", "it answers HTTP 500"),
        (head("text/html", 0, "503 Busy"), "", "it answers HTTP 503"),
        (head("text/html", 0, "429 Slow"), "", "it answers HTTP 429"),
        (head("text/html", 0, "501 What"), "it answers HTTP 501", ""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + head(), "", ""),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "", "what it answers is no HTTP"),
        (b"", "", "it closes the connection without an answer"),
        (b"HTTP/1.1 200 x\r\n" + b"X: y\r\n" * 20_000, "", "its answer's head is too long"),
        (moved("/file"), "redirects in a circle", ""),
        (moved(""), "redirects in a circle", ""),
        (moved("ftp://127.0.0.1/x"), "neither http:// nor https://", ""),
        (moved("http://[::1"), "redirects to what is no URL", ""),
        (moved("http://h:port/"), "it is no URL", ""),
    ],
)
async def test_every_answer_refuses_or_warns_or_is_fine(answer: bytes, fault: str, warning: str) -> None:
    found = await told(answer)
    assert (bool(found[0]), bool(found[1])) == (bool(fault), bool(warning)), found
    assert fault in found[0]
    assert warning in found[1]


async def test_no_answer_is_waited_for_no_longer_than_is_said() -> None:
    assert (await told(None, patience_seconds=0.05))[1].endswith("no answer within 0.05 s")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (warning,) = (await checked(f"http://127.0.0.1:{port}/a")).warnings
    assert warning.startswith(f"http://127.0.0.1:{port}/a could not be looked at: ")


async def test_redirects_are_followed_a_few_times() -> None:
    hops = {
        str(n): moved(f"/{n + 1}", f"{status} x") for n, status in enumerate((301, 302, 303, 307, 308, 302))
    }
    async with files(**{**hops, "5": head()}) as there:
        assert await checked(there.url("/0")) == Checked()
    async with files(**hops, **{"6": head()}) as there:
        (fault,) = (await checked(there.url("/0"))).faults
        assert "more than 5 times" in fault.detail
        assert len(there.asked) == 6


@pytest.mark.parametrize("status", ["400 Bad", "403 Forbidden", "405 No", "501 No", "200 OK"])
async def test_get_tells_where_head_does_not(status: str) -> None:
    of_head = head("", "", status)
    async with files(**{"HEAD /a": of_head, "GET /a": head("image/png", 12) + b"x" * 12}) as there:
        assert await checked(there.url("/a")) == Checked()
        assert there.asked == ["HEAD /a", "GET /a"]
    async with files(**{"HEAD /a": of_head, "GET /a": head("image/png", 6 * MB) + b"forever"}) as there:
        (fault,) = (await checked(there.url("/a"))).faults
        assert "larger than 5 MB" in fault.detail
        assert there.sent < 4 * MB, "what is larger by its own word isn't read"


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize(("length", "refused"), [(5 * MB, False), (5 * MB + 1, True)])
async def test_a_file_without_a_length_is_measured(length: int, *, refused: bool, chunked: bool) -> None:
    body = b"x" * length
    if chunked:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (length, body)
    start = head("image/png", "", more="Transfer-Encoding: chunked" if chunked else "")
    async with files(**{"HEAD /a": head("image/png", ""), "GET /a": start + body}) as there:
        assert bool((await checked(there.url("/a"))).faults) == refused


async def test_one_without_an_end_is_read_to_the_limit() -> None:
    async with files(**{"HEAD /a": NOT_HERE, "GET /a": head("video/mp4", "") + b"forever"}) as there:
        (fault,) = (await checked(there.url("/a"))).faults
        assert "larger than 16 MB" in fault.detail
        assert there.sent < 40 * MB


async def test_what_is_packed_on_the_way_has_no_length() -> None:
    packed = head("image/png", 10, more="Content-Encoding: gzip")
    async with files(**{"HEAD /a": packed, "GET /a": packed + b"x" * 10}) as there:
        assert await checked(there.url("/a")) == Checked()
        assert there.asked == ["HEAD /a", "GET /a"]


async def test_channels_decide() -> None:
    gif, sticker, page = head("image/gif"), head("image/webp"), head("text/html")
    assert "WhatsApp takes no image/gif" in (await told(gif))[0]
    assert await told(gif, channels=[SMS]) == ("", "")
    assert "WhatsApp takes no image/gif" in (await told(gif, channels=[SMS, WHATSAPP]))[0]
    fault, warning = await told(gif, channels=[])
    assert (fault, "WhatsApp takes no image/gif" in warning) == ("", True), "who sends is not known yet"
    assert "MMS takes no image/webp" in (await told(sticker, channels=[SMS]))[0]
    assert "MMS takes no text/html" in (await told(page, channels=[]))[0]
    assert (await told(head("audio/amr"), body="Hi"))[1].endswith(
        "shows no text with audio/amr: the body may be lost"
    )
    assert await told(head("audio/amr"), body=None) == ("", "")
    assert await told(head("image/png"), body="Hi") == ("", "")


async def test_all_media_of_one_mms_are_bounded_together() -> None:
    async with files(a=head(length=3 * MB), b=head(length=2 * MB), c=head(length=2 * MB + 1)) as there:
        two = [there.url("/a"), there.url("/b")]
        assert await checked(*two, channels=[SMS]) == Checked()
        (fault,) = (await checked(there.url("/a"), there.url("/c"), channels=[SMS])).faults
        assert (fault.pointer, "5 MB together" in fault.detail) == ("/media_urls", True)


async def test_whatsapp_takes_one_file_a_message() -> None:
    async with files(a=head(), b=head()) as there:
        two = [there.url("/a"), there.url("/b")]
        (fault,) = (await checked(*two)).faults
        assert (fault.pointer, "one file a message" in fault.detail) == ("/media_urls", True)
        assert await checked(two[0]) == await checked(*two, channels=[SMS]) == Checked()
        assert await checked(*two, channels=[]) == Checked()


async def test_a_name_and_a_password_are_used_but_never_told() -> None:
    async with files(a=moved("http://localhost:{port}/b"), b=head("text/html")) as there:
        url = f"http://ann:s%40cret@127.0.0.1:{there.port}/a?token=hidden"
        there.answers["/a?token=hidden"] = there.answers["/a"]
        (fault,) = (await checked(url)).faults
        assert fault.detail.startswith(f"http://127.0.0.1:{there.port}/a: ")
        assert "Authorization: Basic YW5uOnNAY3JldA==" in there.heads[0]
        assert "Authorization" not in there.heads[1], "another host is none of theirs"
        assert f"Host: 127.0.0.1:{there.port}\r\n" in there.heads[0]


async def test_a_path_may_hold_anything() -> None:
    async with files() as there:
        there.answers["/%C3%A4%20b?q=%E2%82%AC"] = head()
        assert await checked(there.url("/ä b?q=€")) == Checked()


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """A DNS of our own: for each name its answers, one after the other, the last for ever."""
    answers: dict[str, list[list[str]]] = {}

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        found = answers[host].pop(0) if len(answers.get(host, ())) > 1 else answers.get(host, [[host]])[0]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET6 if ":" in a else socket.AF_INET, 1, 6, "", (a, port)) for a in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1/a", "http://[::1]/a", "http://169.254.169.254/latest", "https://10.0.0.1/"),
        *("http://inside.example/", "http://mixed.example/", "http://[::ffff:127.0.0.1]/"),
    ],
)
async def test_nothing_private_is_connected_to(url: str, resolver: dict[str, list[list[str]]]) -> None:
    resolver["inside.example"] = [["10.1.2.3"]]
    resolver["mixed.example"] = [["8.8.8.8", "192.168.0.1"]]
    asked: list[str] = []

    async def connect(host: str, *_: object) -> Any:
        asked.append(host)
        raise OSError(111, "nobody there")

    (fault,) = (await checked(url, guard=Guard(TRUST, allow_private=False, connect=connect))).faults
    assert "requests go to public addresses only" in fault.detail
    assert "10.1.2.3" not in fault.detail, "who asks learns nothing of our network"
    assert asked == []


async def test_each_hop_is_judged_and_what_was_judged_is_connected_to(
    resolver: dict[str, list[list[str]]],
) -> None:
    resolver["rebinding.example"] = [["8.8.8.8"], ["127.0.0.1"]]
    resolver["public.example"] = [["8.8.4.4"]]
    asked: list[str] = []
    async with files(to_inside=moved("http://127.0.0.1:{port}/secret"), again=moved("http://rebinding.example/x"),
                     secret=head()) as there:  # fmt: skip

        async def connect(host: str, *_: object) -> Any:
            asked.append(host)
            return await asyncio.open_connection("127.0.0.1", there.port)

        guard = Guard(TRUST, allow_private=False, connect=connect)
        for path, hosts in (
            ("public.example/to_inside", ["8.8.4.4"]),
            ("rebinding.example/again", ["8.8.8.8"]),
        ):
            (fault,) = (await checked(f"http://{path}", guard=guard)).faults
            assert "requests go to public addresses only" in fault.detail
            assert asked == hosts
            asked.clear()
        assert "HEAD /secret" not in there.asked


async def test_a_name_that_is_not_there_is_a_warning(resolver: dict[str, list[list[str]]]) -> None:
    resolver["none.example"] = [[]]
    found = await checked("https://none.example/a.png")
    assert found.faults == []
    assert found.warnings == [
        "https://none.example/a.png could not be looked at: the name cannot be resolved"
    ]
