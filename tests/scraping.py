"""What an exporter shows, read as Prometheus reads it and held against the catalogue."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from broadcaster.exporter.scraping import Exporter
from broadcaster.telemetry.catalog import CATALOG
from broadcaster.telemetry.masking import Masking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.store.connection import Store


class Scraped:
    """The samples of one answer: {name: {labels: value}}."""

    def __init__(self, text: str) -> None:
        self.samples: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = tuple(sorted(sample.labels.items()))
                of_name = self.samples.setdefault(sample.name, {})
                assert labels not in of_name, f"{sample.name} {labels} is there twice"
                of_name[labels] = sample.value

    def __call__(self, name: str, /, **labels: str) -> float | None:
        """Return a value of `broadcaster_NAME`, None where it isn't shown."""
        return self.samples.get(f"broadcaster_{name}", {}).get(tuple(sorted(labels.items())))

    def by(self, name: str, label: str, **fixed: str) -> dict[str, float]:
        """Return {value of `label`: value} of those with the `fixed` labels."""
        found = {}
        for labels, value in self.samples.get(f"broadcaster_{name}", {}).items():
            told = dict(labels)
            if fixed.items() <= told.items():
                found[told[label]] = value
        return found

    def check(self) -> None:
        """Compare names, labels and their values with the catalogue."""
        known = {name: metric for metric in CATALOG.values() for name in metric.samples}
        for name, samples in self.samples.items():
            if not name.startswith("broadcaster_"):
                continue
            for labels in samples:
                declared = known[name].labels
                assert {key for key, _ in labels} == set(declared) or name == "broadcaster_build_info"
                for key, value in labels:
                    allowed = declared[key]
                    assert isinstance(allowed, str) or value in allowed, (name, key, value)


@contextlib.asynccontextmanager
async def exporting(store: Store, **more: Any) -> AsyncIterator[Exporter]:
    """An exporter of the store's installation."""
    exporter = Exporter(store.url, store.keys.prefix, Masking(), **more)
    try:
        yield exporter
    finally:
        await exporter.close()


async def scrape(exporter: Exporter) -> Scraped:
    """Scrape once, and check what is shown against the catalogue."""
    found = Scraped((await exporter.scrape()).decode())
    found.check()
    return found
