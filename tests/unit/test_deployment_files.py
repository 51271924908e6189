"""What we start for others keeps the ledger's promises: on disk before the answer, never evicted."""

from __future__ import annotations

import re
from pathlib import Path

from broadcaster.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")


def test_composes_redis_writes_at_once_and_never_evicts() -> None:
    options = re.sub(r"\s*(#.*)?\n\s*- ", " ", COMPOSE)
    for option in ('--appendonly "yes"', "--appendfsync always", "--maxmemory-policy noeviction"):
        assert option in options


def test_compose_sends_nothing_to_twilio_unless_told() -> None:
    assert "TWILIO_API_BASE_URL: ${TWILIO_API_BASE_URL:-http://simulator:9000}" in COMPOSE


def test_the_worker_gets_longer_to_stop_than_it_may_take() -> None:
    grace = re.search(r"stop_grace_period: (\d+)s", COMPOSE)
    assert grace
    longest = Settings.model_fields["shutdown_seconds"].default
    assert float(grace[1]) >= longest + 10


def test_the_image_runs_as_nobody_and_gets_the_signal_itself() -> None:
    assert re.search(r"^USER \d+:\d+$", DOCKERFILE, re.MULTILINE)
    assert 'ENTRYPOINT ["broadcaster"]' in DOCKERFILE
    assert DOCKERFILE.count("FROM python:") == 2
