"""Which addresses may be reached, in whatever form they are written, and that the checked one is the one used."""

from __future__ import annotations

import asyncio
import socket

import pytest

from dovetail.connectors.http import egress
from dovetail.connectors.http.faults import Denied, Unresolved, Unsent

METADATA = "169.254.169.254"

DENIED = {
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    METADATA: "link-local",
    "169.254.0.1": "link-local",
    "100.100.100.200": "metadata",
    "168.63.129.16": "host service",
    "192.0.0.192": "metadata",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "::": "unspecified",
    "fe80::1": "link-local",
    "fe80::1%lo": "link-local",
    "febf::1": "link-local",
    "fec0::1": "site-local",
    "fd00:ec2::254": "metadata",
    "fd20:ce::254": "metadata",
    "ff02::1": "multicast",
    "::ffff:169.254.169.254": "link-local",
    "::ffff:0:169.254.169.254": "link-local",
    "::169.254.169.254": "link-local",
    "::ffff:0.0.0.0": "unspecified",
    "64:ff9b::a9fe:a9fe": "link-local",
    "64:ff9b:1::a9fe:a9fe": "translator",
    "64:ff9b:1:a9fe:a9:fe00::": "translator",
    "2002:a9fe:a9fe::1": "link-local",
    "2002:0:1::": "unspecified",
    "2001:0:a9fe:a9fe::": "link-local",
    "2001:0:808:808::5601:5601": "link-local",
    "2001:db8::5efe:a9fe:a9fe": "link-local",
    "2001:db8::200:5efe:a9fe:a9fe": "link-local",
    "2002:e000:1::": "multicast",
}

ALLOWED = [
    "127.0.0.1", "127.8.9.10", "10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.1", "8.8.8.8", "169.253.255.255",
    "169.255.0.1", "223.255.255.255", "::1", "fd00::1", "fd00:ec2::253", "2001:4860:4860::8888", "2606:4700::1111",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::808:808", "2002:808:808::1", "2001:db8::a9fe:a9fe",
]  # fmt: skip


@pytest.mark.parametrize(("address", "why"), DENIED.items())
def test_denied(address: str, why: str) -> None:
    assert why in (egress.denied(address) or "")


@pytest.mark.parametrize("address", ALLOWED)
def test_allowed(address: str) -> None:
    assert egress.denied(address) is None


def test_every_address_of_a_denied_v4_network_stays_denied_when_wrapped() -> None:
    for inner in ("169.254.1.2", "0.0.0.0", "224.1.2.3", "255.255.255.255"):
        number = int.from_bytes(socket.inet_aton(inner), "big")
        high, low = number >> 16, number & 0xFFFF
        flipped = number ^ 0xFFFF_FFFF
        for wrapped in (
            f"::ffff:{inner}", f"64:ff9b::{high:x}:{low:x}", f"2002:{high:x}:{low:x}::9", f"2001:0:{high:x}:{low:x}::1",
            f"2001:0:808:808::{flipped >> 16:x}:{flipped & 0xFFFF:x}",
        ):  # fmt: skip
            assert egress.denied(wrapped) is not None, wrapped


@pytest.mark.parametrize("text", ["", "localhost", "0x7f000001", "127.1", "300.1.1.1", "::g"])
def test_only_numeric_addresses_are_judged(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        egress.denied(text)


@pytest.mark.parametrize(
    "host", [METADATA, "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "[::ffff:a9fe:a9fe]", "０.０.０.０"]
)
async def test_odd_spellings_of_a_denied_address(host: str) -> None:
    with pytest.raises((Denied, Unresolved)):
        await egress.connect(host.strip("[]"), 80, asyncio.Protocol, None)


def resolver(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Names resolve to these lists, one after the other; returns the names that were asked for."""
    asked: list[str] = []
    left = list(answers)
    loop = asyncio.get_running_loop()

    class Resolving:
        def __getattr__(self, name: str) -> object:
            return getattr(loop, name)

        async def getaddrinfo(self, host: str, port: int, **_: object) -> list[object]:
            asked.append(host)
            return [
                (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
                for one in left.pop(0)
            ]

    monkeypatch.setattr(egress.asyncio, "get_running_loop", Resolving)
    return asked


async def test_a_name_is_resolved_once_and_the_checked_address_used(system, monkeypatch) -> None:
    asked = resolver(monkeypatch, ["127.0.0.1"], [METADATA])
    protocol = await egress.connect("erp.test", system.port, asyncio.Protocol, None)
    assert isinstance(protocol, asyncio.Protocol)
    assert asked == ["erp.test"]


async def test_one_denied_address_among_several_is_enough(monkeypatch) -> None:
    resolver(monkeypatch, ["127.0.0.1", METADATA])
    with pytest.raises(Denied, match=r"erp\.test is at 169\.254\.169\.254, which is link-local"):
        await egress.connect("erp.test", 80, asyncio.Protocol, None)


async def test_the_next_address_is_tried_when_one_refuses(system, monkeypatch) -> None:
    resolver(monkeypatch, ["::1", "127.0.0.1"])
    await egress.connect("erp.test", system.port, asyncio.Protocol, None)


async def test_nobody_listens(system) -> None:
    await system.stop()
    with pytest.raises(Unsent, match=r"no connection to 127\.0\.0\.1"):
        await egress.connect("127.0.0.1", system.port, asyncio.Protocol, None)


@pytest.mark.parametrize("name", ["nothing.invalid", "a" * 70 + ".test", "x..y"])
async def test_a_name_without_an_address(name: str) -> None:
    with pytest.raises(Unresolved):
        await egress.connect(name, 80, asyncio.Protocol, None)


async def test_a_name_that_resolves_to_nothing(monkeypatch) -> None:
    resolver(monkeypatch, [])
    with pytest.raises(Unresolved, match="no address"):
        await egress.connect("erp.test", 80, asyncio.Protocol, None)
