"""A server that answers every POST like Twilio, with a fresh SID: the same for us and for the peers.

At once, with and without TLS; needs nginx and openssl.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pinning import OTHERS, on_core

if TYPE_CHECKING:
    from collections.abc import Iterator

_ANSWER: Final = (
    '{"account_sid":"AC00000000000000000000000000000000","api_version":"2010-04-01","body":"x",'
    '"date_created":"Sat, 21 Nov 2026 08:00:00 +0000","date_sent":null,'
    '"date_updated":"Sat, 21 Nov 2026 08:00:00 +0000","direction":"outbound-api","error_code":null,'
    '"error_message":null,"from":null,"messaging_service_sid":"MG00000000000000000000000000000000",'
    '"num_media":"0","num_segments":"0","price":null,"price_unit":null,"sid":"SM$request_id",'
    '"status":"accepted","subresource_uris":{},"to":"+15550000000",'
    '"uri":"/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages/SM$request_id.json"}'
)
_CONF: Final = """
daemon off; pid {folder}/nginx.pid; worker_processes 1; error_log {folder}/nginx.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{
    listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl;
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    default_type application/json;
    location / {{ add_header Twilio-Concurrent-Requests 1 always; return 201 '{answer}'; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Sink:
    """Where it listens; `certificate` is what a client has to trust for `tls`."""

    plain: str
    tls: str
    certificate: Path


@contextlib.contextmanager
def sink() -> Iterator[Sink]:
    """Run one on the core that is not measured."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _certificate(folder)
        plain, tls = _free_port(), _free_port()
        conf = folder / "nginx.conf"
        conf.write_text(_CONF.format(folder=folder, plain=plain, tls=tls, answer=_ANSWER))
        process = subprocess.Popen([*on_core(OTHERS), "nginx", "-c", str(conf)])
        try:
            _listening(plain)
            yield Sink(f"http://127.0.0.1:{plain}", f"https://localhost:{tls}", folder / "cert.pem")
        finally:
            process.terminate()
            process.wait(10)


def _certificate(folder: Path) -> None:
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "30",
                "-subj",
                "/CN=localhost",
            ),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-addext", "basicConstraints=critical,CA:FALSE"),  # or rustls takes it for no server's
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _listening(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"nginx does not listen on {port}")
        time.sleep(0.02)
