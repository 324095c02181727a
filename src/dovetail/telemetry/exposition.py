"""The metrics page: the numbers of `Metrics` and what is sampled at the moment, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from dovetail.store.base import State
from dovetail.telemetry.metrics import Count, FlowNumbers, Histogram, Metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
POSITIONS = ("closed", "half_open", "open")
ENDS = ((State.DONE, "done"), (State.DISCARDED, "discarded"), (State.DEAD, "dead"))

Depth = Callable[[], Mapping[str, Mapping[str, int]]]  # flow -> state word -> how many are pending in it now
Lanes = Callable[[], Mapping[str, tuple[int, int]]]  # flow -> parked keys, how many stand in its deepest lane's queue
Ready = Callable[[], Mapping[str, Mapping[str, int]]]  # flow -> priority -> how many in memory wait for their turn
Usage = Callable[[], Mapping[str, int]]  # part of the store -> bytes


class Page(Collector):
    """Everything Dovetail says about itself. `depth`, `usage`, `lanes` and `ready` are asked at each scrape."""

    def __init__(self, metrics: Metrics, depth: Depth, usage: Usage, lanes: Lanes, ready: Ready) -> None:
        self._metrics, self._depth, self._usage, self._lanes = metrics, depth, usage, lanes
        self._ready = ready
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """The page, of the media type `CONTENT_TYPE`."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        yield from self._flows(self._metrics.flows)
        yield self._pending()
        yield from self._keys()
        yield from self._effects()
        yield self._breakers()
        yield from self._commits()
        yield self._store()
        yield GaugeMetricFamily(
            "dovetail_disk_level", "1: the disk is full and nothing is accepted; 2: nothing is fetched.",
            value=float(self._metrics.disk_level),
        )  # fmt: skip

    def _flows(self, flows: Mapping[str, FlowNumbers]) -> Iterator[Metric]:
        accepted = CounterMetricFamily(
            "dovetail_messages_accepted", "Messages committed and flushed at the door.", labels=["flow"]
        )
        refused = CounterMetricFamily(
            "dovetail_messages_refused", "Messages turned away at the door.", labels=["flow", "code"]
        )
        ended = [CounterMetricFamily(f"dovetail_messages_{word}", help, labels=["flow"]) for word, help in _ENDS_HELP]
        failed = CounterMetricFamily(
            "dovetail_attempts_failed", "Attempts that ended in an error.", labels=["flow", "step", "code"]
        )
        journey = HistogramMetricFamily(
            "dovetail_message_seconds", "From acceptance to the end of a message.", labels=["flow"]
        )
        step = HistogramMetricFamily(
            "dovetail_step_seconds", "One run of a step over one batch.", labels=["flow", "step"]
        )
        through = CounterMetricFamily("dovetail_step_messages", "Messages a step was run on.", labels=["flow", "step"])
        for flow, numbers in flows.items():
            accepted.add_metric([flow], numbers.accepted)
            _counts(refused, [flow], numbers.refused)
            for family, (state, _) in zip(ended, ENDS, strict=True):
                family.add_metric([flow], numbers.ended[state])
            for (name, code), count in numbers.failed.items():
                failed.add_metric([flow, name, code], count.n)
            _histogram(journey, [flow], numbers.latency)
            for name, histogram in numbers.steps.items():
                _histogram(step, [flow, name], histogram)
            _counts(through, [flow], numbers.step_messages)
        yield from (accepted, refused, *ended, failed, journey, step, through)

    def _pending(self) -> Metric:
        pending = GaugeMetricFamily(
            "dovetail_messages_pending", "Accepted messages that have not ended, by state.", labels=["flow", "state"]
        )
        for flow, states in self._depth().items():
            for word, number in states.items():
                pending.add_metric([flow, word], number)
        return pending

    def _keys(self) -> Iterator[Metric]:
        parked = GaugeMetricFamily(
            "dovetail_keys_parked", "Keys that stand still behind a dead letter.", labels=["flow"]
        )
        deepest = GaugeMetricFamily(
            "dovetail_lane_deepest", "Messages behind the head of the key with most of them.", labels=["flow"]
        )
        for flow, (keys, behind) in self._lanes().items():
            parked.add_metric([flow], keys)
            deepest.add_metric([flow], behind)
        ready = GaugeMetricFamily(
            "dovetail_messages_ready", "Messages in memory that wait for their turn.", labels=["flow", "priority"]
        )
        for flow, priorities in self._ready().items():
            for priority, number in priorities.items():
                ready.add_metric([flow, priority], number)
        yield from (parked, deepest, ready)

    def _effects(self) -> Iterator[Metric]:
        seconds = HistogramMetricFamily(
            "dovetail_effect_seconds", "Calls on outside systems.", labels=["target", "outcome"]
        )
        doubt = CounterMetricFamily("dovetail_effects_in_doubt", "Calls whose outcome nobody knew.", labels=["target"])
        for (target, outcome), histogram in self._metrics.effects.items():
            _histogram(seconds, [target, outcome], histogram)
            if outcome == "in_doubt":
                doubt.add_metric([target], sum(histogram.buckets))
        yield from (seconds, doubt)

    def _breakers(self) -> Metric:
        state = GaugeMetricFamily(
            "dovetail_breaker_state", "1 for the position a target's breaker is in.", labels=["target", "state"]
        )
        for target, position in self._metrics.breakers.items():
            for word in POSITIONS:
                state.add_metric([target, word], 1.0 if word == position else 0.0)
        return state

    def _commits(self) -> Iterator[Metric]:
        metrics = self._metrics
        seconds = HistogramMetricFamily("dovetail_commit_seconds", "Group commits, flush included.")
        _histogram(seconds, [], metrics.commits)
        yield seconds
        yield CounterMetricFamily(
            "dovetail_commit_entries", "Messages written by group commits.", value=metrics.committed_entries
        )
        yield CounterMetricFamily(
            "dovetail_commit_rows", "Rows of progress written by group commits.", value=metrics.committed_rows
        )
        yield GaugeMetricFamily(
            "dovetail_store_available", "1 while the store takes messages.", value=float(metrics.store_available)
        )

    def _store(self) -> Metric:
        size = GaugeMetricFamily("dovetail_store_bytes", "The store's files, and what is free.", labels=["part"])
        for part, number in self._usage().items():
            size.add_metric([part], number)
        return size


_ENDS_HELP = (
    ("done", "Messages that went all the way."),
    ("discarded", "Messages ended by a rule of their flow."),
    ("dead", "Messages that became dead letters."),
)


def _counts(family: CounterMetricFamily, labels: list[str], counts: Mapping[str, Count]) -> None:
    for name, count in counts.items():
        family.add_metric([*labels, name], count.n)


def _histogram(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    totals = list(accumulate(histogram.buckets))
    names = [*(repr(bound) for bound in histogram.bounds), "+Inf"]
    family.add_metric(labels, buckets=list(zip(names, map(float, totals), strict=True)), sum_value=histogram.sum)
