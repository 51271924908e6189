"""Settings that name a file, which must be there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator


def _readable(path: Path | None) -> Path | None:
    if path is None:
        return None
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"must be a file that can be read: {path}: {error.strerror}") from None
    return path


ReadableFile = Annotated[Path | None, AfterValidator(_readable)]
