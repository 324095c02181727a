"""What one listener is willing to hold, in bytes, counts and seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound of the listener. Times are checked once a second, so they hold to within two seconds.

    `body_timeout` is a grace period: a body may take that long plus one second for each `body_rate` bytes of it.
    `max_pipelined` requests may wait for their answers on one connection before it is no longer read.
    `max_buffered` bounds the bodies that are being received at one moment, over all connections.
    """

    max_url: int = 8 * 1024
    max_head: int = 64 * 1024
    max_headers: int = 128
    max_pipelined: int = 64
    max_connections: int = 10_000
    max_buffered: int = 256 * 1024 * 1024
    write_buffer: int = 256 * 1024
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    body_rate: int = 8 * 1024
    idle_timeout: float = 75.0
    linger: float = 2.0
