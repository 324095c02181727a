"""The one way out: resolve once, check every address, connect to a checked one.

Private and loopback addresses are allowed, because that is where a company's own systems live. Link-local, metadata,
multicast and unspecified addresses never are, in whatever form they are written: v4-mapped, v4-compatible, 6to4, NAT64,
Teredo and ISATAP addresses are unwrapped first.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeVar

from dovetail.connectors.http.faults import Denied, Unresolved, Unsent, Untrusted

P = TypeVar("P", bound=asyncio.Protocol)

_DENIED_4 = [
    (IPv4Network("0.0.0.0/8"), "unspecified"),
    (IPv4Network("169.254.0.0/16"), "link-local"),
    (IPv4Network("100.100.100.200/32"), "a cloud's metadata service"),
    (IPv4Network("168.63.129.16/32"), "a cloud's host service"),
    (IPv4Network("192.0.0.192/32"), "a cloud's metadata service"),
    (IPv4Network("224.0.0.0/4"), "multicast"),
    (IPv4Network("240.0.0.0/4"), "reserved or broadcast"),
]
_DENIED_6 = [
    (IPv6Network("::/128"), "unspecified"),
    (IPv6Network("fe80::/10"), "link-local"),
    (IPv6Network("fec0::/10"), "site-local"),
    (IPv6Network("fd00:ec2::254/128"), "a cloud's metadata service"),
    (IPv6Network("fd20:ce::254/128"), "a cloud's metadata service"),
    (IPv6Network("64:ff9b:1::/48"), "behind a translator of one's own, so that nobody can tell where"),
    (IPv6Network("ff00::/8"), "multicast"),
]
_LOW = 0xFFFF_FFFF
_FIRST_TRIES = 3.0  # seconds for each address but the last


def denied(address: str) -> str | None:
    """Why no connection may reach this numeric address, or None if one may. Raises ValueError for what is none."""
    plain = ip_address(address.partition("%")[0])
    if isinstance(plain, IPv4Address):
        return next((why for network, why in _DENIED_4 if plain in network), None)
    for network, why in _DENIED_6:
        if plain in network:
            return why
    for inner in _wrapped(plain):
        found = denied(str(inner))
        if found is not None:
            return found
    return None


def _wrapped(address: IPv6Address) -> Iterator[IPv4Address]:
    """The v4 addresses that a packet to this v6 address may end at."""
    number = int(address)
    low = IPv4Address(number & _LOW)
    if number >> 32 in (0, 0xFFFF, 0xFFFF_0000, 0x0064_FF9B << 64) and number > 1:
        yield low  # v4-compatible, v4-mapped, v4-translated, NAT64
    if number >> 112 == 0x2002:  # 6to4
        yield IPv4Address(number >> 80 & _LOW)
    if number >> 96 == 0x2001_0000:  # Teredo: the server, and the client with its bits turned over
        yield IPv4Address(number >> 64 & _LOW)
        yield IPv4Address(~number & _LOW)
    if number >> 32 & 0xFDFF_FFFF == 0x5EFE:  # ISATAP
        yield low


async def resolve(host: str, port: int) -> list[str]:
    """The checked numeric addresses of a host, in the resolver's order. Raises `Unresolved` or `Denied`."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unresolved(f"the name {host} cannot be resolved: {error}") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not addresses:
        raise Unresolved(f"the name {host} has no address")
    for address in addresses:
        why = denied(address)
        if why is not None:
            raise Denied(f"{host} is at {address}, which is {why}: no connection may reach it")
    return addresses


async def connect(host: str, port: int, factory: Callable[[], P], tls: ssl.SSLContext | None, name: str = "") -> P:
    """A connection to one of the host's checked addresses; TLS is verified against `name` or the host.

    Raises `Unresolved`, `Denied`, `Untrusted` or `Unsent`.
    """
    addresses = await resolve(host, port)
    loop = asyncio.get_running_loop()
    for number, address in enumerate(addresses, 1):
        last = number == len(addresses)
        try:
            async with asyncio.timeout(None if last else _FIRST_TRIES):
                _, protocol = await loop.create_connection(
                    factory, address, port, ssl=tls, server_hostname=(name or host) if tls else None
                )
            return protocol
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise Untrusted(f"{host}:{port} is not trusted: {error}") from None
        except (OSError, TimeoutError) as error:
            if last:
                raise Unsent(f"no connection to {host}:{port}: {error or 'it took too long'}") from None
    raise AssertionError("there is at least one address")
