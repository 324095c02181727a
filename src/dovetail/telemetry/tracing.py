"""Spans for journeys and effects, exported over OTLP when the usual environment variables ask for it.

A message's journey is one span, made when it ends; each attempt of a call on an outside system is a span beneath it,
under the very ids that the attempt carried in its `traceparent`, so what the target traces hangs beneath ours. The
effect key, which all attempts of a call share, is its attribute `dovetail.effect`. An inbound context is the journey's
parent; without one the trace is named after the message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from dovetail.clock import Clock
from dovetail.engine.journey import own_trace
from dovetail.engine.observer import Observer
from dovetail.message import Message
from dovetail.sdk import Call
from dovetail.store.base import State

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The parts of a W3C `traceparent`."""

    trace_id: int
    span_id: int
    sampled: bool


def parse(traceparent: str | None) -> TraceContext | None:
    """Read a `traceparent`; None for one that is missing or that the standard calls invalid."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    if match is None or (match[4] and match[0].startswith("00")):
        return None
    trace_id, span_id = int(match[1], 16), int(match[2], 16)
    return TraceContext(trace_id, span_id, bool(int(match[3], 16) & 1)) if trace_id and span_id else None


def _named(text: str, size: int) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=size).digest(), "big") or 1


def journey_context(message: Message) -> TraceContext:
    """The journey's own span: in the caller's trace, or in one named after the message."""
    inbound = parse(message.trace)
    span_id = _named(f"journey\x1f{message.id}", 8)
    if inbound is None:
        return TraceContext(int(own_trace(message), 16), span_id, True)
    return TraceContext(inbound.trace_id, span_id, inbound.sampled)


class Tracing(Observer):
    """Makes spans of what it hears. They leave in batches from a thread of the SDK, never from the event loop.

    `exporter` is for those who bring their own; otherwise OTLP over HTTP is set up from the environment.
    """

    def __init__(self, clock: Clock, *, service: str = "dovetail", exporter: SpanExporter | None = None) -> None:
        self._clock = clock
        self._ids, self._provider = _provider(service, exporter)
        self._tracer = self._provider.get_tracer("dovetail")

    def ended(self, flow: str, message: Message, state: State, seconds: float) -> None:
        own = journey_context(message)
        fields = {"dovetail.flow": flow, "messaging.message.id": message.id, "dovetail.state": state.word}
        self._span(flow, own, parse(message.trace), seconds, state is State.DEAD, fields)

    def effect(self, flow: str, step: str, target: str, call: Call, seconds: float, outcome: str) -> None:
        own, message = parse(call.trace), call.message
        if own is None:
            return
        fields: dict[str, str | int] = {
            "dovetail.flow": flow, "dovetail.step": step, "peer.service": target, "messaging.message.id": message.id,
            "dovetail.outcome": outcome, "dovetail.effect": call.key, "dovetail.attempt": call.attempt,
        }  # fmt: skip
        self._span(f"{flow} {step}", own, journey_context(message), seconds, outcome != "done", fields, call=True)

    def close(self) -> None:
        """Send what is left and stop."""
        self._provider.shutdown()

    def _span(
        self, name: str, own: TraceContext, parent: TraceContext | None, seconds: float, failed: bool,
        fields: Mapping[str, str | int], call: bool = False,
    ) -> None:  # fmt: skip
        from opentelemetry.trace import SpanKind, Status, StatusCode

        self._ids.next = own
        end = self._clock.now_ms() * 1_000_000
        kind = SpanKind.CLIENT if call else SpanKind.CONSUMER
        context = _parent(parent)
        start = end - int(seconds * 1e9)
        span = self._tracer.start_span(name, context=context, kind=kind, attributes=dict(fields), start_time=start)
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)


def _parent(parent: TraceContext | None) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if parent is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    return set_span_in_context(NonRecordingSpan(SpanContext(parent.trace_id, parent.span_id, True, flags)), Context())


def _provider(service: str, exporter: SpanExporter | None) -> tuple[Any, TracerProvider]:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class Given(IdGenerator):
        """The ids that the messages' own calls carried."""

        next = TraceContext(1, 1, True)

        def generate_trace_id(self) -> int:
            return self.next.trace_id

        def generate_span_id(self) -> int:
            return self.next.span_id

    if exporter is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter()
    ids = Given()
    resource = Resource.create({"service.name": service})
    provider = TracerProvider(id_generator=ids, resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return ids, provider


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces."""
    return any(environ.get(name) for name in ENDPOINTS) and environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
