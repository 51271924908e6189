"""A certificate authority of a test's own, and what it signs."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA: `ca` is what clients are given; `certificate` and `key` are one pair that it signed."""

    ca: Path
    certificate: Path
    key: Path


def authority(folder: Path, *names: str, name: str = "ca") -> Authority:
    """Make a CA and one certificate for these addresses (IPv4) and host names, for server and client."""
    folder.mkdir(parents=True, exist_ok=True)
    ca, ca_key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate, key = folder / f"{name}-server.pem", folder / f"{name}-server.key"
    request, extensions = folder / "server.csr", folder / "server.ext"
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    _openssl(
        "req", "-x509", *new, "-keyout", ca_key, "-out", ca, "-days", "30", "-subj", f"/CN=Test {name}",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    _openssl("req", *new, "-keyout", key, "-out", request, "-subj", f"/CN={names[0]}")
    kinds = [f"{'IP' if all(p.isdigit() for p in n.split('.')) else 'DNS'}:{n}" for n in names]
    extensions.write_text(
        f"subjectAltName={','.join(kinds)}\nextendedKeyUsage=serverAuth,clientAuth\n"
        "authorityKeyIdentifier=keyid\n",
        encoding="utf-8",
    )
    _openssl(
        "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial",
        "-out", certificate, "-days", "30", "-extfile", extensions,
    )  # fmt: skip
    return Authority(ca, certificate, key)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
