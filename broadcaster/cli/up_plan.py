"""What `broadcaster up` runs, and with which settings: your account, or a simulated Twilio.

What is simulated has a data directory of its own and never uses REDIS_URL: a queue with real messages in it,
sent to a simulator, would be lost.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dotenv import dotenv_values

from broadcaster.cli.exits import InputError
from broadcaster.cli.output import say
from broadcaster.cli.own_programs import environment
from broadcaster.settings import Settings, load_settings
from broadcaster.simulator.config import ACCOUNT_SID

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDER: Final = "simulated"
_SENDER: Final = "+14155550100"
_WHATSAPP: Final = "whatsapp:+14155550199"
_OURS: Final = ("TWILIO_", "REDIS_", "BROADCASTER_")
#: For the command line: not what a server of this machine goes by.
_CLIENTS: Final = ("BROADCASTER_API_URL", "BROADCASTER_API_KEY", "BROADCASTER_API_KEY_FILE")
#: Module → its name; in the order in which they start.
_ROLES: Final = {"workers": "worker", "broadcaster.api": "API", "broadcaster.exporter": "exporter"}


@dataclass(frozen=True, slots=True)
class UpPlan:
    """Settings, the variables that say the same to each process, and where it runs.

    `simulator`: the port of the simulated Twilio, if it is one. `variables` lack only REDIS_URL.
    """

    settings: Settings
    variables: Mapping[str, str]
    folder: Path
    simulator: int | None = None

    @property
    def api_url(self) -> str:
        """Where the API answers on this machine."""
        host = self.settings.api_host
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
        return f"http://{shown}:{self.settings.api_port}"

    @property
    def env_file(self) -> Path:
        """A file for a shell to read, by which commands in another terminal find what is simulated."""
        return self.folder / "env"

    def roles(self) -> dict[str, list[str]]:
        """Return each process's name and what `python -m` takes for it."""
        found = {name: [module] for module, name in _ROLES.items() if importlib.util.find_spec(module)}
        if self.simulator is None:
            return found
        where = ["--port", str(self.simulator)]
        return {"simulator": ["broadcaster.simulator", *where], **found}


def real(env_file: Path | None) -> UpPlan:
    """Return the plan for the account that is set. Raises `SettingsError` where there is none."""
    settings = load_settings(env_file or Path(".env"))
    if _is_simulated(settings.data_dir):
        raise InputError(
            f"BROADCASTER_DATA_DIR={settings.data_dir} is that of `up --simulate`, set by its file `env`: "
            "type this in a terminal that has not read that file"
        )
    settings.credentials()
    variables = {name: value for name, value in environment(env_file).items() if name not in _CLIENTS}
    return UpPlan(settings, variables, Path.cwd())


def simulated(env_file: Path | None, port: int) -> UpPlan:
    """Return the plan with a simulated Twilio on this port; nothing of an account is passed on."""
    given = load_settings(env_file or Path(".env"))
    if given.redis_address:
        say("REDIS_URL is not used: what is simulated has a server of its own.")
    file = env_file or Path(".env")
    in_file = dotenv_values(file) if file.is_file() else {}
    everything = {**{name: value for name, value in in_file.items() if value}, **os.environ}
    kept = {
        name: value
        for name, value in everything.items()
        if not name.startswith(("TWILIO_", "REDIS_")) and name not in _CLIENTS
    }
    # a terminal that has read the file `env` means the same one
    folder = (given.data_dir if _is_simulated(given.data_dir) else given.data_dir / _FOLDER).absolute()
    told = {
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": "simulator",
        "TWILIO_API_BASE_URL": f"http://127.0.0.1:{port}",
        "TWILIO_PHONE_NUMBER": _SENDER,
        "TWILIO_WHATSAPP_FROM": _WHATSAPP,
        "BROADCASTER_DATA_DIR": str(folder),
        "BROADCASTER_PUBLIC_URL": f"http://127.0.0.1:{given.api_port}",
    }
    variables = {**kept, **told}
    plan = UpPlan(_settings_of(variables), variables, folder, port)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write_env_file(plan, told)
    return plan


def _is_simulated(data_dir: Path) -> bool:
    return data_dir.name == _FOLDER and (data_dir / "env").is_file()


def _settings_of(variables: Mapping[str, str]) -> Settings:
    """Read settings from these variables alone, as each process will."""
    before = {name: value for name, value in os.environ.items() if name.startswith(_OURS)}
    for name in before:
        del os.environ[name]
    os.environ.update({name: value for name, value in variables.items() if name.startswith(_OURS)})
    try:
        return load_settings(None)
    finally:
        for name in variables:
            if name.startswith(_OURS):
                os.environ.pop(name, None)
        os.environ.update(before)


def _write_env_file(plan: UpPlan, told: Mapping[str, str]) -> None:
    lines = [f"export {name}={shlex.quote(value)}" for name, value in told.items()]
    lines.append(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"')
    gone = "TWILIO_API_KEY TWILIO_API_SECRET TWILIO_MESSAGING_SERVICE_SID REDIS_URL BROADCASTER_API_URL"
    lines.append(f"unset {gone}")
    plan.env_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
