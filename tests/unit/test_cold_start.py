"""What a page of options imports: a command that answers at once loads next to nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: What takes long to import: databases' and HTTP clients, frameworks, models of data.
HEAVY = {
    *(
        "redis",
        "httpx",
        "pyreqwest",
        "fastapi",
        "starlette",
        "uvicorn",
        "arq",
        "pydantic",
        "pydantic_settings",
    ),
    *("structlog", "prometheus_client", "rich", "pyroaring", "msgpack", "dotenv", "uvloop", "asyncio", "ssl"),
}
SCRIPT = """
import sys
from broadcaster.cli.root import run
assert run(sys.argv[1:]) == 0
print("\\n" + " ".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def imported_by(*words: str) -> set[str]:
    told = subprocess.run([sys.executable, "-c", SCRIPT, *words], check=True, capture_output=True, text=True)
    return set(told.stdout.splitlines()[-1].split())


def test_the_first_page_needs_click_and_nothing_else_that_is_installed() -> None:
    light = {"phonenumbers", "jinja2", "msgspec", "zoneinfo", "email", "http"}
    assert imported_by("--help").isdisjoint(HEAVY | light)


@pytest.mark.parametrize("command", ["send", "worker", "api"])
def test_pages_of_options_load_no_client_and_no_framework(command: str) -> None:
    assert imported_by(command, "--help").isdisjoint(HEAVY)
