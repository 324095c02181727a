"""A durable topic as a source: every message that a flow publishes there.

Delivery promise: at least once, in the order of publication for each key. Each subscribing flow has its own cursor,
retries and dead letters; a slow or stopped subscriber holds nobody up and misses nothing.
"""

from __future__ import annotations

from typing import Literal

from dovetail.sdk import Deliver, Source, Spec, field


class TopicSource(Source):
    """Messages that flows publish to a durable topic. Each subscribing flow has its own place in it."""

    class Config(Spec):
        name: str = field(main=True, kind="topic", help="The topic.", example="orders.accepted", pattern=r"[\w.:/-]+")
        from_: Literal["latest", "earliest"] = field(
            default="latest",
            help="Where a new subscriber begins: with what comes from now on, or with the oldest message kept.",
        )

    def __init__(self, config: Config, flow: str) -> None:
        super().__init__(config, flow)
        self.topic = config.name
        self.from_start = config.from_ == "earliest"

    async def run(self, deliver: Deliver) -> None:
        """Never called: the engine reads its own topics."""
        raise NotImplementedError("a topic is read by the engine")
