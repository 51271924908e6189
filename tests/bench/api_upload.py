"""A long list uploaded to the API: rows a second, and its memory beside that of a short one.

    python tests/bench/api_upload.py [--rows 1000000]

Each upload is sent to an API process of its own, as multipart/form-data over loopback; the peak is VmHWM of
that process, from /proc. Then the broadcast is read back from Redis: its batches, records and counters must
add up.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import server_under_test
from serving import Api, serving

from broadcaster.domain.record import RECORD_BYTES
from broadcaster.store.connection import Store, open_store
from broadcaster.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BOUNDARY = "a-boundary-of-the-bench"
SHORT = 10_000
HEAD = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="spec"\r\n\r\n'
    '{"body": "Hi {{ name }}, your code is {{ code }}", "draft": true, "name": "bench"}\r\n'
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="recipients"; filename="bench.csv"\r\n\r\n'
    "to,name,code,reference\r\n"
).encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()


async def body(rows: int) -> AsyncIterator[bytes]:
    """Yield the upload."""
    yield HEAD
    for start in range(0, rows, 2000):
        last = min(rows, start + 2000)
        yield "".join(
            f"+1415{i:07d},Person {i % 5000},{i * 7919 % 10**6:06d},ref-{i}\r\n" for i in range(start, last)
        ).encode()
    yield TAIL


def memory(api: Api, field: str) -> float:
    """Return a field of the process's status in MB."""
    for line in Path(f"/proc/{api.process.pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(field)


async def upload(store: Store, rows: int) -> None:
    """Send one list to a fresh process and print what it took."""
    async with serving(store, TWILIO_PHONE_NUMBER="12345") as api:
        at_first = memory(api, "VmRSS")
        began = time.perf_counter()
        answer = await api.client.post(
            "/v1/broadcasts",
            content=body(rows),
            headers={
                "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
                "Idempotency-Key": f"k{rows}",
            },
            timeout=600,
        )
        seconds = time.perf_counter() - began
        assert answer.status_code == 202, answer.text
        held = await complete(store, answer.json()["id"], rows)
        print(
            f"{rows:>10,} rows  {seconds:6.1f} s  {rows / seconds:>9,.0f} rows/s  "
            f"RSS before {at_first:6.1f} MB  peak (VmHWM) {memory(api, 'VmHWM'):6.1f} MB  {held}"
        )


async def complete(store: Store, broadcast: str, rows: int) -> str:
    """Count what Redis holds of it."""
    keys = store.keys
    fields = await store.redis.hmget(keys.broadcast(broadcast), "total", "n0", "state")
    records = batches = 0
    for index, lane in enumerate(await store.redis.lrange(keys.broadcast(broadcast, ":lanes"), 0, -1)):
        count = int(await store.redis.hget(keys.flow(broadcast, lane.decode()), "n"))
        async with store.redis.pipeline(transaction=False) as pipe:
            for number in range(count):
                pipe.strlen(keys.ledger(broadcast, f"{index}.{number}"))
                pipe.exists(keys.batch(broadcast, f"{index}.{number}"))
            told = await pipe.execute()
        records += sum(told[::2]) // RECORD_BYTES
        batches += sum(told[1::2])
        assert sum(told[1::2]) == count
    assert (int(fields[0]), int(fields[1]), records) == (rows, rows, rows), fields
    return f"in Redis: {batches:,} batches, {records:,} records, {fields[2].decode()}"


async def main(rows: int) -> None:
    """Upload a short list, then the long one."""
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedServer(Path(folder), binary=server_under_test(), port=0) as server,
    ):
        for count in (SHORT, rows):
            store = await open_store(server.url)
            await upload(store, count)
            await store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    asyncio.run(main(parser.parse_args().rows))
