"""What Schemathesis can't know: an Idempotency-Key is for one request; a used one is tried now and then."""

from __future__ import annotations

import itertools
from typing import Any

import schemathesis

_numbers = itertools.count(1)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:  # noqa: ARG001 - the hook's signature
    """Give nine of ten valid requests with a key one of their own."""
    number = next(_numbers)
    valid = case.meta is None or case.meta.generation.mode.is_positive
    if valid and number % 10 and "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] = f"schemathesis-{number}"
