"""What the engine says about itself: logs, metrics, traces and health, all hung on the one seam, `Observer`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TextIO

from dovetail.clock import Clock
from dovetail.engine.observer import Observer
from dovetail.errors import DovetailError
from dovetail.telemetry.exposition import CONTENT_TYPE, Depth, Lanes, Page, Ready, Usage
from dovetail.telemetry.health import Answer, Health
from dovetail.telemetry.logs import Format, LogObserver, Logs
from dovetail.telemetry.metrics import Metrics
from dovetail.telemetry.several import combine
from dovetail.telemetry.tracing import Tracing, wanted

__all__ = [
    "CONTENT_TYPE",
    "Answer",
    "Depth",
    "Format",
    "Health",
    "Lanes",
    "Metrics",
    "Page",
    "Telemetry",
    "Usage",
    "combine",
]


class Telemetry:
    """All of it, set up for one process. `observer` goes to the engine; `logs.named(…)` gives loggers.

    Traces are exported when `environ` names an OTLP endpoint; then a missing `otel` extra raises `DovetailError`.
    """

    def __init__(
        self, clock: Clock, environ: Mapping[str, str], *, format: Format = "auto", level: str = "info",
        secrets: Iterable[str] = (), stream: TextIO | None = None,
    ) -> None:  # fmt: skip
        self.logs = Logs(clock, format=format, level=level, secrets=secrets, stream=stream)
        spoken = LogObserver(self.logs.named("engine"), clock)
        self.metrics = Metrics(dead=spoken.dead)
        self.health = Health()
        self._tracing = _tracing(clock, environ) if wanted(environ) else None
        heard: list[Observer] = [self.metrics, spoken, self.health]
        self.observer = combine(*heard, *([self._tracing] if self._tracing else []))

    def page(self, depth: Depth, usage: Usage, lanes: Lanes, ready: Ready) -> Page:
        """The metrics page; `depth`, `usage`, `lanes` and `ready` are asked at each scrape."""
        return Page(self.metrics, depth, usage, lanes, ready)

    def close(self) -> None:
        """Send what is left."""
        if self._tracing is not None:
            self._tracing.close()


def _tracing(clock: Clock, environ: Mapping[str, str]) -> Tracing:
    try:
        return Tracing(clock, service=environ.get("OTEL_SERVICE_NAME") or "dovetail")
    except ImportError as error:
        raise DovetailError(
            "an OTLP endpoint is configured but OpenTelemetry is not installed; install dovetail[otel]", code="otel"
        ) from error
