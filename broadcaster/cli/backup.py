"""`broadcaster backup`: Redis' snapshot in a file, with the time in it that `broadcaster restore` needs."""

from __future__ import annotations

import contextlib
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from broadcaster.cli.connect import with_store
from broadcaster.cli.exits import CommandFailedError, InputError
from broadcaster.cli.options import env_file_option, json_option
from broadcaster.cli.output import print_json, when
from broadcaster.operations import audit
from broadcaster.operations.actor import at_the_shell
from broadcaster.store.dumping import dump

if TYPE_CHECKING:
    from broadcaster.store.connection import Store
    from broadcaster.store.dumping import Dumped


#: A file of our own, never one that lies there or that a link leads to.
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@env_file_option
def backup(file: Path, *, as_json: bool, env_file: Path | None) -> None:
    """Write all that Redis holds into FILE (a dump.rdb), while everything goes on.

    FILE holds numbers, texts and keys: it is readable by you alone, and to be kept as such. It also holds
    when it was taken, so `broadcaster restore` needs no --taken-at. A FILE that is there is not written over.
    """
    if file.exists():
        raise InputError(f"{file} is there already: name another file")
    part = file.with_name(f"{file.name}.{secrets.token_hex(4)}.part")

    async def work(store: Store) -> Dumped:
        try:
            descriptor = os.open(part, _NEW, 0o600)
        except OSError as error:
            raise CommandFailedError(f"{part} can't be written: {error.strerror}") from error
        try:
            with os.fdopen(descriptor, "wb") as out:
                done = await dump(store, out.write)
                out.flush()
                os.fsync(out.fileno())
            _name(part, file)
        except OSError as error:
            raise CommandFailedError(f"{part} can't be written: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink()
        told = {"taken_at": done.taken_at, "bytes": done.size, "sha256": done.digest}
        await audit.record(store, at_the_shell(), "backup", str(file), new=told)
        return done

    done = with_store(env_file, work)
    if as_json:
        at = None if done.taken_at is None else datetime.fromtimestamp(done.taken_at, UTC).isoformat()
        told = {"file": str(file), "taken_at": at, "bytes": done.size, "sha256": done.digest}
        print_json(told)
        return
    taken = "" if done.taken_at is None else f"; taken at {when(done.taken_at)}"
    click.echo(
        f"{file}: {done.size:,} bytes, SHA-256 {done.digest}{taken}.\n"
        "To go on from it: stop all workers, start an empty Redis with it as dump.rdb "
        "(deploy/operations.md), then `broadcaster restore`."
    )


def _name(part: Path, file: Path) -> None:
    """Give the finished part its name, on disk too. Raises InputError if another file got it meanwhile."""
    try:
        os.link(part, file)
    except FileExistsError:
        raise InputError(f"{file} is there already, written meanwhile: name another file") from None
    except OSError:  # a file system without hard links
        if file.exists():
            raise InputError(f"{file} is there already, written meanwhile: name another file") from None
        part.rename(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
