"""Workers, asked to finish what is in flight, give back the rest and end: their processes exit with 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broadcaster.lanes import claims
from broadcaster.operations import audit
from broadcaster.operations.errors import Conflict, NotFound
from broadcaster.reporting.workers import list_workers, read_worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.operations.actor import Actor
    from broadcaster.reporting.workers import WorkerView
    from broadcaster.store.connection import Store

ALL: Final = "all"


async def drain(store: Store, actor: Actor, worker: str) -> WorkerView:
    """Ask one worker to end; asked again it changes nothing.

    Raises NotFound, and Conflict for one whose version can't be asked or whose lease is lost.
    """
    view = await read_worker(store, worker)
    if view is None:
        raise NotFound("worker", worker)
    await _drain(store, actor, view)
    return await read_worker(store, worker) or view


async def drain_each(store: Store, actor: Actor, views: Sequence[WorkerView]) -> list[str]:
    """Ask several; return what kept some from being asked, in words. Raises redis' errors."""
    kept = []
    for view in views:
        try:
            await _drain(store, actor, view)
        except (NotFound, Conflict) as error:
            kept.append(str(error))
    return kept


async def chosen(store: Store, name: str) -> list[WorkerView]:
    """Return the workers that `name` means: an id, or of a host or `all` those that are not lost.

    Raises NotFound where there is none.
    """
    views = await list_workers(store)
    found = [v for v in views if name == v.id or (v.state != "lost" and name in (ALL, v.host))]
    if not found and name != ALL:
        raise NotFound("worker or host", name)
    return found


async def _drain(store: Store, actor: Actor, view: WorkerView) -> None:
    (said,) = await store.run(claims.drain([view.id]))
    if said == "gone":
        raise NotFound("worker", view.id)
    if said == "older":
        raise Conflict(
            f"worker {view.id} is of a version that can't be asked to drain: stop its process (pid "
            f"{view.pid} on {view.host}) with SIGTERM, which does the same",
            state=view.state,
        )
    if said == "asked":
        await audit.record(store, actor, "worker.drain", view.id, old=view.state, new="draining")
