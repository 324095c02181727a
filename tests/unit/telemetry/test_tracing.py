"""Spans carry the ids that went over the wire, beneath the caller's trace."""

from __future__ import annotations

import http.server
import io
import threading
from collections.abc import Sequence
from typing import ClassVar

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from dovetail.clock import SystemClock
from dovetail.engine.journey import effect_key, traceparent
from dovetail.message import Message
from dovetail.sdk import Call
from dovetail.store.base import State
from dovetail.telemetry import Telemetry
from dovetail.telemetry.tracing import TraceContext, Tracing, journey_context, parse, wanted

INBOUND = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Kept(SpanExporter):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS


def attempt_of(message: Message, attempt: int = 1, now_ms: int = 1000) -> Call:
    key = effect_key("orders", message.id, "call-erp", "")
    return Call(message, key, attempt=attempt, trace=traceparent(message, key, attempt, now_ms))


def play(message: Message) -> dict[str, ReadableSpan]:
    kept = Kept()
    tracing = Tracing(SystemClock(), exporter=kept)
    tracing.effect("orders", "call-erp", "erp", attempt_of(message), 0.5, "done")
    tracing.ended("orders", message, State.DEAD, 2.0)
    tracing.close()
    return {span.name: span for span in kept.spans}


def ids(span: ReadableSpan) -> tuple[int, int, int | None]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id, span.parent.span_id if span.parent else None


def test_the_callers_trace_holds_the_journey_and_the_journey_its_calls() -> None:
    message = Message(b"secret body", id="store-1f", trace=INBOUND)
    spans = play(message)
    caller = parse(INBOUND)
    assert caller is not None
    journey, call = ids(spans["orders"]), ids(spans["orders call-erp"])
    carried = parse(attempt_of(message).trace)
    assert carried is not None
    assert journey == (caller.trace_id, journey_context(message).span_id, caller.span_id)
    assert call == (caller.trace_id, carried.span_id, journey[1])
    assert not spans["orders"].status.is_ok
    start, end = spans["orders call-erp"].start_time, spans["orders call-erp"].end_time
    assert start is not None
    assert end is not None
    assert end - start == 500_000_000
    assert all("secret" not in str(span.attributes) for span in spans.values())


def test_without_a_caller_both_spans_share_a_trace_of_their_own() -> None:
    message = Message(b"", id="store-2a", ref=0x2A)
    spans = play(message)
    carried = parse(attempt_of(message).trace)
    journey, call = ids(spans["orders"]), ids(spans["orders call-erp"])
    assert carried is not None
    assert journey[0] == call[0] == carried.trace_id, "the target's spans hang in the same trace"
    assert journey[2] is None
    assert call[2] == journey[1]


def test_each_attempt_is_a_span_of_its_own_that_names_the_effect() -> None:
    kept, message = Kept(), Message(b"", id="store-2a", ref=0x2A)
    tracing = Tracing(SystemClock(), exporter=kept)
    calls = [attempt_of(message), attempt_of(message, 2), attempt_of(message, 2, 5000)]  # the last after a pause
    for call, outcome in zip(calls, ("failed", "failed", "done"), strict=True):
        tracing.effect("orders", "call-erp", "erp", call, 0.5, outcome)
    tracing.close()
    assert len({ids(span)[1] for span in kept.spans}) == 3
    assert len({ids(span)[::2] for span in kept.spans}) == 1, "one trace, one parent"
    told = [span.attributes or {} for span in kept.spans]
    assert {found["dovetail.effect"] for found in told} == {calls[0].key}
    assert [found["dovetail.attempt"] for found in told] == [1, 2, 2]


def test_a_caller_who_does_not_sample_is_followed() -> None:
    assert attempt_of(Message(b"", id="store-3", trace=INBOUND[:-2] + "00")).trace.endswith("-00")
    assert play(Message(b"", id="store-3", trace=INBOUND[:-2] + "00")) == {}


@pytest.mark.parametrize(
    "text",
    [
        None, "", "nonsense", INBOUND.upper(), "ff" + INBOUND[2:], INBOUND + "-extra",
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
    ],
)  # fmt: skip
def test_a_broken_trace_context_is_no_context(text: str | None) -> None:
    assert parse(text) is None


def test_a_later_version_of_the_standard_may_say_more() -> None:
    assert parse("01" + INBOUND[2:] + "-more") == TraceContext(
        0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, True
    )


def test_the_environment_decides() -> None:
    assert not wanted({})
    assert wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"})
    assert not wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318", "OTEL_SDK_DISABLED": "true"})


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes what an OTLP exporter posts."""

    posted: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self) -> None:
        self.posted.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_spans_reach_a_collector_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        telemetry = Telemetry(SystemClock(), {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, stream=io.StringIO())
        telemetry.observer.ended("orders", Message(b"canary", id="store-7", trace=INBOUND), State.DONE, 0.1)
        assert telemetry.metrics.flows["orders"].ended[State.DONE] == 1
        telemetry.close()
    finally:
        server.shutdown()
        server.server_close()
        serving.join()
    assert [path for path, _ in Collector.posted] == ["/v1/traces"]
    body = Collector.posted[0][1]
    assert b"store-7" in body
    assert bytes.fromhex(INBOUND[3:35]) in body
    assert b"canary" not in body
