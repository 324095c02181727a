"""The metrics page says what happened, in the exposition format, with few labels."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from dovetail.errors import Retry
from dovetail.message import Message
from dovetail.sdk import Call
from dovetail.store.base import State
from dovetail.telemetry import Metrics, Page
from dovetail.telemetry.metrics import JOURNEY, MOST_CODES, OTHER

MESSAGE = Message(b"{}", id="m-1")


def samples(page: Page) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Read the page back the way a scraper does."""
    text = page.render().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def page_of(metrics: Metrics) -> Page:
    depth = {"orders": {"pending": 3, "in_doubt": 1}}
    return Page(metrics, lambda: depth, lambda: {"store": 4096, "wal": 512}, lambda: {"orders": (2, 70)},
                lambda: {"orders": {"urgent": 3}})  # fmt: skip


def test_everything_an_operator_counts_is_on_the_page() -> None:
    metrics = Metrics()
    metrics.accepted("orders", 4)
    metrics.refused("orders", "contract")
    metrics.ended("orders", MESSAGE, State.DONE, 0.02)
    metrics.ended("orders", MESSAGE, State.DEAD, 90000.0)
    metrics.ended("orders", MESSAGE, State.DISCARDED, 0.001)
    metrics.step("orders", "map", 0.002, 50)
    metrics.failed("orders", "call-erp", "retry", MESSAGE, Retry("no"))
    metrics.effect("orders", "call-erp", "erp", Call(MESSAGE, "k"), 0.03, "in_doubt")
    metrics.breaker("erp", "open")
    metrics.commit(0.004, 4, 2)
    metrics.store(False, "disk full")
    seen = samples(page_of(metrics))
    flow = ("flow", "orders")
    assert seen["dovetail_messages_accepted_total", (flow,)] == 4
    assert seen["dovetail_messages_refused_total", (("code", "contract"), flow)] == 1
    assert seen["dovetail_messages_done_total", (flow,)] == 1
    assert seen["dovetail_messages_dead_total", (flow,)] == 1
    assert seen["dovetail_messages_discarded_total", (flow,)] == 1
    assert seen["dovetail_attempts_failed_total", (("code", "retry"), flow, ("step", "call-erp"))] == 1
    assert seen["dovetail_messages_pending", (flow, ("state", "in_doubt"))] == 1
    assert seen["dovetail_message_seconds_count", (flow,)] == 3
    assert seen["dovetail_message_seconds_bucket", (flow, ("le", "0.025"))] == 2
    assert seen["dovetail_message_seconds_bucket", (flow, ("le", "86400.0"))] == 2
    assert seen["dovetail_message_seconds_bucket", (flow, ("le", "+Inf"))] == 3
    assert seen["dovetail_step_seconds_count", (flow, ("step", "map"))] == 1
    assert seen["dovetail_step_messages_total", (flow, ("step", "map"))] == 50
    assert seen["dovetail_effect_seconds_count", (("outcome", "in_doubt"), ("target", "erp"))] == 1
    assert seen["dovetail_effects_in_doubt_total", (("target", "erp"),)] == 1
    assert seen["dovetail_breaker_state", (("state", "open"), ("target", "erp"))] == 1
    assert seen["dovetail_breaker_state", (("state", "closed"), ("target", "erp"))] == 0
    assert seen["dovetail_commit_seconds_count", ()] == 1
    assert seen["dovetail_commit_entries_total", ()] == 4
    assert seen["dovetail_store_available", ()] == 0
    assert seen["dovetail_keys_parked", (flow,)] == 2 and seen["dovetail_lane_deepest", (flow,)] == 70
    assert seen["dovetail_messages_ready", (flow, ("priority", "urgent"))] == 3
    assert seen["dovetail_store_bytes", (("part", "wal"),)] == 512
    assert seen["process_resident_memory_bytes", ()] > 1_000_000


def test_a_bucket_takes_its_own_bound() -> None:
    metrics = Metrics()
    for bound in JOURNEY:
        metrics.ended("orders", MESSAGE, State.DONE, bound)
    assert metrics.flows["orders"].latency.buckets == [1] * len(JOURNEY) + [0]


def test_hostile_codes_do_not_grow_the_page() -> None:
    metrics = Metrics()
    for n in range(MOST_CODES * 5):
        metrics.failed("orders", "map", f"code-{n}", MESSAGE, Retry("no"))
    failed = metrics.flows["orders"].failed
    assert len(failed) == MOST_CODES + 1
    assert failed[OTHER, OTHER].n == MOST_CODES * 4
    assert sum(count.n for count in failed.values()) == MOST_CODES * 5


def test_dead_letters_are_told_onwards_and_others_are_not() -> None:
    dead: list[tuple[str, str]] = []
    metrics = Metrics(dead=lambda flow, message: dead.append((flow, message.id)))
    metrics.ended("orders", MESSAGE, State.DONE, 0.1)
    metrics.ended("orders", MESSAGE, State.DEAD, 0.1)
    assert dead == [("orders", "m-1")]
