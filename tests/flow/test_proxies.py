"""deploy/proxy: Caddy and nginx, each with certificates of its own, before the real API and webhooks."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import ssl
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from certificates import authority
from serving import Api, free_port, serving
from webhooks import INBOUND, call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conftest import type_of_wait

    from broadcaster.store.connection import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

FOLDER: Final = Path(__file__).parents[2] / "deploy/proxy"
HOOKS: Final = "sms.example.com"
API: Final = "api.sms.example.com"
BOUNDARY: Final = "0123456789"
ROWS: Final = 100_000
#: With its number a row is 210 bytes.
PADDING: Final = "x" * 190


def port_of(api: Api) -> str:
    return api.url.rpartition(":")[2]


def caddy(folder: Path, port: int, hooks: Api, api: Api) -> tuple[list[str], dict[str, str], Path]:
    """Return command, environment and the CA's certificate; Caddy signs for itself here."""
    main = folder / "Caddyfile"
    here = (
        "\n{\n\tadmin off\n\tlocal_certs\n\tskip_install_trust\n\tauto_https disable_redirects\n"
        f"\thttp_port {free_port()}\n\thttps_port {port}\n"
    )
    text = (FOLDER / "Caddyfile").read_text(encoding="utf-8")
    assert text.count("\n{\n") == 1
    main.write_text(text.replace("\n{\n", here), encoding="utf-8")
    places = {"WEBHOOKS_AT": f"127.0.0.1:{port_of(hooks)}", "API_AT": f"127.0.0.1:{port_of(api)}"}
    environment = {**os.environ, **places, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    command = ["caddy", "run", "--config", str(main), "--adapter", "caddyfile"]
    return command, environment, folder / "caddy/pki/authorities/local/root.crt"


def nginx(folder: Path, port: int, hooks: Api, api: Api) -> tuple[list[str], dict[str, str], Path]:
    """Return command, environment and the CA's certificate; places of this machine are put in."""
    signed = authority(folder / "tls", HOOKS, API)
    temporary = "".join(
        f"    {kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = (FOLDER / "nginx.conf").read_text(encoding="utf-8")
    for pattern, here in (
        (r"listen 443", f"listen 127.0.0.1:{port}"),
        (r"listen 80\b", f"listen 127.0.0.1:{free_port()}"),
        (r"127\.0\.0\.1:8081", f"127.0.0.1:{port_of(hooks)}"),
        (r"127\.0\.0\.1:8080", f"127.0.0.1:{port_of(api)}"),
        (r"/etc/letsencrypt/live/\S+/fullchain.pem", str(signed.certificate)),
        (r"/etc/letsencrypt/live/\S+/privkey.pem", str(signed.key)),
        (r"/var/log/nginx/", f"{folder}/"),
        (r"http \{\n", f"http {{\n{temporary}"),
    ):
        text, changed = re.subn(pattern, here, text)
        assert changed, pattern
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    options = f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;"
    command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", options]
    subprocess.run([*command, "-t"], check=True, capture_output=True)
    return command, dict(os.environ), signed.ca


@asynccontextmanager
async def behind(
    program: str, folder: Path, hooks: Api, api: Api, wait_until: type_of_wait
) -> AsyncIterator[httpx.AsyncClient]:
    """Run a proxy; the client goes to it whatever name it asks for."""
    port = free_port()
    make = {"caddy": caddy, "nginx": nginx}[program]
    command, environment, ca = make(folder, port, hooks, api)
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=log, stderr=log)
    try:

        async def listens() -> bool:
            assert process.returncode is None, (folder / "log").read_text()
            for name in (HOOKS, API):  # Caddy makes its certificates, one after the other, once it listens
                try:
                    context = ssl.create_default_context(cafile=str(ca))
                    _, writer = await asyncio.open_connection(
                        "127.0.0.1", port, ssl=context, server_hostname=name
                    )
                except OSError:
                    return False
                writer.close()
            return True

        await wait_until(listens, 30)
        context = ssl.create_default_context(cafile=str(ca))
        async with httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{port}", verify=context, timeout=60, trust_env=False
        ) as client:
            yield client
    finally:
        process.terminate()
        await process.wait()


class Named:
    """A client that asks for one name."""

    def __init__(self, client: httpx.AsyncClient, name: str, **headers: str) -> None:
        self._client = client
        self._headers = {"Host": name, **headers}
        self._name = name

    async def request(
        self, method: str, path: str, *, headers: Any = None, content: Any = None
    ) -> httpx.Response:
        asked = self._client.build_request(
            method,
            path,
            headers={**self._headers, **(headers or {})},
            content=content,
            extensions={"sni_hostname": self._name},
        )
        return await self._client.send(asked)

    async def post(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("POST", path, **more)


@pytest.mark.parametrize("program", ["caddy", "nginx"])
async def test_only_what_is_public_comes_through(
    program: str, store: Store, tmp_path: Path, wait_until: type_of_wait
) -> None:
    if not shutil.which(program):
        pytest.skip(f"no {program} on this machine")
    public = f"https://{HOOKS}"
    async with (
        serving(store, options=("--only", "webhooks"), BROADCASTER_PUBLIC_URL=public) as hooks,
        serving(store, BROADCASTER_PUBLIC_URL=public) as api,
        behind(program, tmp_path, hooks, api, wait_until) as client,
    ):
        twilio: Any = Named(client, HOOKS)
        services = Named(client, API, Authorization=api.client.headers["authorization"])

        form = {"MessageSid": "SM" + "1" * 32, "From": "+14155550101", "To": "+15550000001", "Body": "Hello"}
        form |= {"AccountSid": "AC" + "0" * 32}
        # signed by Twilio over the public address, query and all
        good = await call(twilio, INBOUND, form, query="a=%2F%20b&c=1", origin=public)
        assert (good.status_code, good.headers["content-type"].split(";")[0]) == (200, "text/xml")
        assert (await call(twilio, INBOUND, form, origin="http://127.0.0.1")).status_code == 403
        too_large = await twilio.post(INBOUND, content=b"x" * 1_100_000)
        assert too_large.status_code == 413
        for path in (
            "/",
            "/metrics",
            "/v1/broadcasts",
            "/healthz",
            "/docs",
            "/webhooks",
            "/webhooks/twilio/../../v1",
        ):
            assert (await Named(client, HOOKS).request("GET", path)).status_code == 404, path

        for path in ("/metrics", "/metrics/", "//metrics", "/%6detrics", "/x/../metrics"):
            assert (await services.request("GET", path)).status_code == 404, path
        assert (await services.request("GET", "/v1/broadcasts")).status_code == 200
        unknown = Named(client, API, Authorization="Bearer bc_live_x_y")
        assert (await unknown.request("GET", "/v1/broadcasts")).status_code == 401
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # there must be none to check
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection(
                "127.0.0.1", client.base_url.port, ssl=context, server_hostname="elsewhere.example.com"
            )

        await uploaded_as_it_comes(services, store, wait_until)
        await no_log_tells_whom_it_was_about(services, api, tmp_path)


async def no_log_tells_whom_it_was_about(services: Named, api: Api, folder: Path) -> None:
    """Neither what went well nor what failed: the proxy's own words on a failure quote the request."""
    asked = "/v1/recipients/+14155550147", "/v1/opt-outs/whatsapp%3A%2B14155550147", "/v1/x?to=14155550147"
    for path in asked:
        assert (await services.request("GET", path)).status_code in {200, 404, 405}
    api.process.kill()
    api.process.wait()
    for path in asked:
        assert (await services.request("GET", path)).status_code == 502
    logs = [path for path in folder.iterdir() if path.name == "log" or path.suffix == ".log"]
    told = "".join(path.read_text(encoding="utf-8") for path in logs)
    assert "4155550147" not in told
    assert "/v1/recipients/***" in told
    assert "502" in told


async def uploaded_as_it_comes(services: Named, store: Store, wait_until: type_of_wait) -> None:
    """The API has the first half of 20 MB in batches while the second one has not left yet."""
    sent = 0

    async def batches() -> bool:
        return bool(await store.redis.keys(store.keys.plain("bat:*")))

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        spec = json.dumps({"body": "Hi", "name": "long", "draft": True})
        part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="'
        yield f'{part}spec"\r\n\r\n{spec}\r\n{part}recipients"; filename="a.csv"\r\n\r\nto,note\r\n'.encode()
        for start in range(0, ROWS, 1000):
            rows = "".join(f"+1415{i:07d},{PADDING}\r\n" for i in range(start, start + 1000)).encode()
            sent += len(rows)
            yield rows
            if start == ROWS // 2:
                await wait_until(batches, 30)
        yield f"--{BOUNDARY}--\r\n".encode()

    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    answer = await services.post("/v1/broadcasts", content=body(), headers=kind)
    assert answer.status_code == 202, answer.text
    assert answer.json()["total"] == ROWS
    assert sent > 20_000_000
