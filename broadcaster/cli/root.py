"""The command's entry: which commands there are, and how each way of ending becomes an exit code.

Nothing heavy is imported here: a command's module is loaded when the command is used, its help line is here.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from typing import Final

import click

from broadcaster import __version__
from broadcaster.leaving import leave

#: Name → (module in this package, attribute, help line), in the order of the help page.
COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
    "send": ("send", "send", "Send a message to every recipient of a list, once."),
    "broadcasts": ("broadcasts", "broadcasts", "List, show, start, pause, cancel, retry, export broadcasts."),
    "demo": ("demo", "demo", "Run a simulated campaign and show it; needs no account."),
    "doctor": ("doctor", "doctor", "Check account, senders, Redis and clock; say what to do."),
    "messages": ("messages", "messages", "Find what became of single messages; those at Twilio by hand."),
    "recipients": ("people", "recipients", "Show all that is known of one person."),
    "forget": ("people", "forget", "Forget a person everywhere, down to Redis' files."),
    "dead-letters": (
        "dead_letters",
        "dead_letters",
        "List what will not be sent, and why; replay, discard, export.",
    ),
    "senders": ("senders", "senders", "List senders; set their pace; pause and resume them."),
    "opt-outs": ("opt_outs", "opt_outs", "List, add and remove who must not be written to."),
    "replies": ("replies", "replies", "Read what people wrote back; make opt-outs of what is flagged."),
    "templates": ("templates", "templates", "List and show content templates, with WhatsApp's approval."),
    "verify": ("verify", "verify", "Verify people by a code: start, check, cancel; Verify services."),
    "links": ("links", "links", "Links and QR codes by which people write to you first."),
    "events": ("events", "events", "Tell your services what happens: endpoints, deliveries, replay."),
    "pause": ("everything", "pause", "Stop everything, within a second."),
    "resume": ("everything", "resume", "Let everything go on."),
    "backup": ("backup", "backup", "Write all that Redis holds into a file, while it goes on."),
    "restore": (
        "restore",
        "restore",
        "After Redis was restored from a backup: find out what was sent since.",
    ),
    "config": ("config", "config", "Show every setting; whose account the installation belongs to."),
    "keys": ("keys", "keys", "Make, list and revoke the keys of the HTTP API."),
    "audit": ("audit", "audit", "Read who changed what."),
    "up": ("up", "up", "Run everything here: Redis, a worker, the API; or --simulate Twilio, too."),
    "health": ("health", "health", "Is a process of this host well? For container and systemd checks."),
    "api": ("roles", "api", "Serve the HTTP API."),
    "worker": ("roles", "worker", "Run a worker process, which sends what is due."),
    "exporter": ("roles", "exporter", "Show Prometheus what is in Redis."),
    "workers": ("workers", "workers", "List the workers; ask them to end in good order."),
    "simulator": ("roles", "simulator", "Run a simulated Twilio on this machine."),
}
INTERRUPTED: Final = 130


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        found = getattr(importlib.import_module(f"broadcaster.cli.{module}"), attribute)
        if not isinstance(found, click.Command):
            raise TypeError(f"broadcaster.cli.{module}.{attribute} is no command")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; where there is none, name what may have been meant."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the help lines without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="broadcaster")
def cli() -> None:
    """Send SMS, MMS and WhatsApp broadcasts through Twilio: each recipient once, at the pace of each sender.

    Settings come from the environment and a .env file; `broadcaster config show` lists them. With
    BROADCASTER_API_URL and BROADCASTER_API_KEY commands go over that API, and need no Redis and no Twilio.
    Exit codes: 0 done, 1 failed, 2 bad usage or input; waiting also 3 finished with failures, 4 paused or
    stopped, 130 Ctrl-C.
    """


def run(arguments: list[str]) -> int:
    """Run one command line; return its exit code."""
    try:
        answer = cli.main(arguments, prog_name="broadcaster", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        leave(INTERRUPTED)  # a thread may still wait for standard input, and nothing of it is wanted
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from broadcaster.cli.explaining import explain  # noqa: PLC0415 - heavy, and rarely needed
        from broadcaster.cli.output import say  # noqa: PLC0415

        explained = explain(error)
        if explained is None:
            raise
        code, text = explained
        say(text)
        return code
    return answer if isinstance(answer, int) else 0
