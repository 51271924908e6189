"""Requests to customers' URLs reach public addresses only, whatever a name or an answer says."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from asking import TRUST, receiver

from broadcaster.events.endpoints import Endpoint, new_secret
from broadcaster.events.sending import Postman
from broadcaster.outside.addresses import forbidden_because
from broadcaster.outside.connecting import ANSWER_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asking import Receiver

    type_of_behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

FORBIDDEN = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 127.0.0.1 127.1.2.3 168.63.129.16
169.254.0.1 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1
192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.250 240.0.0.1
255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:127.0.0.1
64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::1 100::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2
2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1:: 2002:808:808:: 3fff::1 5f00::1 fc00::1 fd00:ec2::254
fe80::1 fe80::1%eth0 febf::1 fec0::1 ff02::1 ff0e::1 4000::1 e000::1 1::1 8000::1
""".split()  # noqa: SIM905 - read as a table
PUBLIC = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1
168.63.129.17 169.253.255.255 172.15.255.255 172.32.0.1 192.0.1.1 192.167.255.255 192.169.0.1
198.17.255.255 198.20.0.1 223.255.255.255 2606:4700:4700::1111 2a00:1450:4001:81b::200e 2001:200::1
2001:4860:4860::8888 2003::1
""".split()  # noqa: SIM905 - read as a table


@pytest.mark.parametrize("address", FORBIDDEN)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert forbidden_because(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_not(address: str) -> None:
    assert forbidden_because(ipaddress.ip_address(address)) == ""


class Wire:
    """What connects, below the guard: keeps where it was asked to connect to, and refuses to."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def connect(self, host: str, *_: object) -> Any:
        self.asked.append(host)
        raise OSError(111, "nobody there")


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """A DNS of our own: for each name its answers, one after the other, the last for ever."""
    answers: dict[str, list[list[str]]] = {}

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        if host not in answers:
            return real(host, port, type=socket.SOCK_STREAM)
        found = answers[host].pop(0) if len(answers[host]) > 1 else answers[host][0]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET6 if ":" in a else socket.AF_INET, 1, 6, "", (a, port)) for a in found]

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers


def endpoint(url: str) -> Endpoint:
    return Endpoint(url, ("message.failed",), new_secret(), 0)


async def post(url: str, **how: Any) -> tuple[str, list[str]]:
    """Post to a URL; return what became of it and where it was connected to."""
    wire = Wire()
    async with Postman(trust=TRUST, connect=wire.connect, **how) as postman:
        answer = await postman.post(endpoint(url), "evt_1", b"{}", 0.0)
    assert not answer.ok
    return answer.words, wire.asked


@pytest.mark.parametrize(
    "url",
    [
        *("https://127.0.0.1/", "https://[::1]/", "https://[fe80::1]/", "https://[::ffff:169.254.169.254]/"),
        *("https://localhost/", "https://LOCALHOST:6379/", "https://127.1/", "https://2130706433/"),
        *("https://0x7f000001/", "https://0177.0.0.1/", "https://0/", "http://8.8.8.8/", "ftp://8.8.8.8/"),
        *(
            "https://inside.example/",
            "https://mixed.example/",
            "https://mapped.example/",
            "https://none.example/",
        ),
    ],
)
async def test_nothing_is_connected_to(url: str, resolver: dict[str, list[list[str]]]) -> None:
    resolver["inside.example"] = [["10.1.2.3"]]
    resolver["mixed.example"] = [["8.8.8.8", "192.168.0.1"]]
    resolver["mapped.example"] = [["::ffff:127.0.0.1"]]
    resolver["none.example"] = [[]]
    words, asked = await post(url)
    assert asked == []
    assert words.startswith(("not sent: ", "its URL ", "no connection: the name cannot be resolved"))
    assert "10.1.2.3" not in words, "who asks learns nothing of our network"


async def test_a_name_is_resolved_once_and_what_was_judged_is_connected_to(
    resolver: dict[str, list[list[str]]],
) -> None:
    resolver["rebinding.example"] = [["8.8.8.8", "1.1.1.1"], ["127.0.0.1"]]
    words, asked = await post("https://rebinding.example/")
    assert (words, asked) == ("no connection: nobody there", ["8.8.8.8", "1.1.1.1"])
    assert resolver["rebinding.example"] == [["127.0.0.1"]]
    # and the next connection is judged again
    words, asked = await post("https://rebinding.example/")
    assert words.startswith("not sent: ")
    assert asked == []


async def test_a_network_of_our_own_may_be_allowed(resolver: dict[str, list[list[str]]]) -> None:
    resolver["inside.example"] = [["10.1.2.3"]]
    assert (await post("https://inside.example/", allow_private=True))[1] == ["10.1.2.3"]


async def answered(raw: bytes, **how: Any) -> tuple[str, Receiver]:
    async with (
        receiver() as hook,
        Postman(trust=TRUST, allow_http=True, allow_private=True, **how) as postman,
    ):
        hook.answer = lambda _: raw
        answer = await postman.post(endpoint(hook.url), "evt_1", b"{}", 0.0)
        return answer.words, hook


async def test_a_redirect_is_not_followed() -> None:
    async with receiver() as inside:
        location = f"HTTP/1.1 307 x\r\nLocation: {inside.url}\r\nContent-Length: 0\r\n\r\n"
        assert (await answered(location.encode()))[0] == "HTTP 307"
        assert inside.ids == []
        assert inside.refused == 0


async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await answered(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))[0] == "HTTP 200"


async def test_an_answer_is_neither_waited_for_nor_read_for_ever() -> None:
    behaving: list[asyncio.Task[Any] | None] = []

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * ANSWER_BYTES)
            await writer.drain()

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def answer_to(behave: type_of_behaviour) -> str:
        async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            behaving.append(asyncio.current_task())
            with contextlib.suppress(ConnectionError):
                await behave(reader, writer)
            writer.close()

        server = await asyncio.start_server(run, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with Postman(trust=TRUST, allow_http=True, allow_private=True, timeout_seconds=0.3) as postman:
            answer = await postman.post(endpoint(url), "evt_1", b"{}", 0.0)
        server.close()
        return answer.words

    assert await answer_to(endless) == "HTTP 200"
    assert await answer_to(silent) == "no answer within 0.3 s"
    await asyncio.gather(*filter(None, behaving))


async def test_the_certificate_must_be_for_the_name(resolver: dict[str, list[list[str]]]) -> None:
    folder = Path(__file__).parent.parent / "twilio"
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(folder / "localhost.pem")
    trust = ssl.create_default_context(cafile=str(folder / "test_ca.pem"))
    resolver["localhost"] = resolver["other.example"] = [["127.0.0.1"]]
    async with receiver(theirs) as hook, Postman(allow_private=True, trust=trust) as postman:
        port = hook.url.split(":")[2].split("/")[0]
        good = await postman.post(endpoint(f"https://localhost:{port}/"), "evt_1", b"{}", 0.0)
        bad = await postman.post(endpoint(f"https://other.example:{port}/"), "evt_2", b"{}", 0.0)
    assert (good.words, hook.headers[0]["host"]) == ("HTTP 204", f"localhost:{port}")
    assert bad.status == 0
    assert bad.words.startswith("its certificate is not valid: ")
