"""When to try again: decorrelated jitter, bounded by the flow's horizon."""

from __future__ import annotations

from dovetail.clock import Ids
from dovetail.engine.definition import Policy


def next_sleep(policy: Policy, previous: float, after: float | None, ids: Ids) -> float:
    """Seconds until the next attempt: min(cap, uniform(base, 3 x previous)), and never sooner than the target asked,
    unless it asked for more than a message may wait in all.

    Source: "Exponential Backoff and Jitter" (decorrelated jitter).
    """
    sleep = min(policy.retry_cap, ids.uniform(policy.retry_base, max(policy.retry_base, 3 * previous)))
    return max(sleep, bounded(after, max(policy.retry_for, policy.retry_cap)) or 0.0)


def bounded(after: float | None, most: float) -> float | None:
    """The seconds a target asked for, as far as they make sense: some say 10^30, and a NaN is nothing."""
    return min(after, most) if after is not None and after > 0 else None


def exhausted(policy: Policy, attempt: int, first_try_ms: int, now_ms: int) -> bool:
    """Whether attempt number `attempt`, having failed now, was the last one."""
    if policy.max_attempts is not None and attempt >= policy.max_attempts:
        return True
    return first_try_ms > 0 and now_ms - first_try_ms >= policy.retry_for * 1000
