"""Every metric there is."""

from __future__ import annotations

from typing import Final

from broadcaster.telemetry.installation_metrics import INSTALLATION
from broadcaster.telemetry.process_metrics import PROCESS

CATALOG: Final = {metric.name: metric for metric in (*PROCESS, *INSTALLATION)}
