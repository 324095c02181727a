"""The client against servers that behave well and badly: what was not sent is told from what was not answered."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from typing import Any

import pytest

from dovetail.connectors.http.client import Client, Response
from dovetail.connectors.http.faults import Fault, Unanswered, Unsent, Untrusted

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def ask(
    client: Client, data: bytes = GET, *, seconds: float = 20.0, limit: int = 1_000_000, head: bool = False
) -> Response:
    return await client.request(data, seconds=seconds, limit=limit, head=head)


def say(*parts: bytes, close: bool = False, reset: bool = False) -> Any:
    """A system that writes these parts one by one, and then may close or cut the connection."""

    async def behave(asked: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        if reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        elif close:
            writer.close()

    return behave


@pytest.fixture
async def client(system):
    made = Client("127.0.0.1", system.port, size=4)
    yield made
    await made.close()


async def test_a_connection_is_used_again(client, system) -> None:
    for _ in range(5):
        response = await ask(client)
        assert (response.status, response.body) == (200, b"{}")
        assert response.headers["content-type"] == "application/json"
    assert (len(system.asked), system.connections) == (5, 1)


@pytest.mark.parametrize(
    ("parts", "body"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"he", b"llo"], b"hello"),
        ([CHUNKED, b"3;x=y\r\nhel\r", b"\n2\r\nlo\r\n0\r\nT: u\r\n\r\n"], b"hello"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n", OK], b"ok"),
        ([b"HTTP/1.1 204 No\r\n\r\n"], b""),
        ([b"H", b"TTP/1.1 200", b" OK\r", b"\nContent-Len", b"gth: 1\r\n\r\n", b"x"], b"x"),
    ],
)  # fmt: skip
async def test_forms_of_an_answer_that_keep_the_connection(client, system, parts: list[bytes], body: bytes) -> None:
    system.behave = say(*parts)
    for _ in range(2):
        response = await ask(client)
        assert response.body == body
        assert "t" not in response.headers
        assert "link" not in response.headers
    assert system.connections == 1


@pytest.mark.parametrize(
    "parts",
    [
        [b"HTTP/1.1 200 OK\r\n\r\n", b"till ", b"the end"],
        [b"HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\ntill the end"],
        [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12\r\n\r\ntill the end"],
    ],
)
async def test_forms_of_an_answer_that_end_the_connection(client, system, parts: list[bytes]) -> None:
    system.behave = say(*parts, close=True)
    for _ in range(2):
        assert (await ask(client)).body == b"till the end"
    assert system.connections == 2


async def test_an_answer_to_a_head_has_no_body(client, system) -> None:
    system.behave = say(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    response = await ask(client, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", head=True)
    assert (response.status, response.headers["content-length"], response.body) == (200, "500", b"")


BROKEN = {
    "nothing": say(close=True),
    "half a head": say(b"HTTP/1.1 200 OK\r\nContent-", close=True),
    "half a body": say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", close=True),
    "half a chunk": say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", close=True),
    "no last chunk": say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", close=True),
    "only an interim answer": say(b"HTTP/1.1 100 Continue\r\n\r\n", close=True),
    "a reset": say(reset=True),
    "a reset in the body": say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", reset=True),
    "noise": say(bytes(range(256))),
    "another protocol": say(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "an upgrade": say(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    "two lengths": say(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy"),
    "length and coding": say(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "endless headers": say(b"HTTP/1.1 200 OK\r\n", *[b"X: " + b"y" * 10_000 + b"\r\n"] * 10),
    "endless interim answers": say(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 30),
    "chunks of air": say(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1;" + b"x" * 9000 + b"\r\na\r\n"] * 12
    ),
}


@pytest.mark.parametrize("behave", BROKEN.values(), ids=BROKEN.keys())
async def test_what_is_not_completely_answered_is_unanswered(client, system, behave: Any) -> None:
    system.behave = behave
    with pytest.raises(Unanswered):
        await ask(client)
    system.behave = say(OK)
    assert (await ask(client)).body == b"ok"  # on another connection


async def test_what_comes_unasked_poisons_nobody_elses_answer(client, system) -> None:
    system.behave = say(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert (await ask(client)).body == b"ok"
    system.behave = say(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
    assert (await ask(client)).body == b"good"
    assert system.connections == 2


@pytest.mark.parametrize("form", [b"Content-Length: 9000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n895440\r\n"])
async def test_a_huge_answer_is_cut(client, system, form: bytes) -> None:
    system.behave = say(b"HTTP/1.1 500 Oh\r\n" + form, b"x" * 9_000_000)
    response = await ask(client, limit=1000)
    assert (response.status, response.cut, response.body) == (500, True, b"x" * 1000)


async def test_nobody_listens(client, system) -> None:
    await system.stop()
    with pytest.raises(Unsent, match="no connection"):
        await ask(client)


async def test_a_server_that_accepts_and_says_nothing(client, system) -> None:
    async def silent(asked: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    system.behave = silent
    with pytest.raises(Unanswered, match=r"within 0\.05 s"):
        await ask(client, seconds=0.05)
    assert len(system.asked) == 1


async def test_a_server_that_drips_is_held_to_one_total_deadline(client, system) -> None:
    async def drip(asked: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not reader.at_eof():
            writer.write(b"x")
            await asyncio.sleep(0.005)

    system.behave = drip
    with pytest.raises(Unanswered, match=r"within 0\.1 s"):
        await ask(client, seconds=0.1)


async def test_a_server_whose_queue_is_full_was_sent_nothing() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        client = Client("127.0.0.1", port)
        with pytest.raises(Unsent, match=r"within 0\.1 s"):
            await ask(client, seconds=0.1)
        await client.close()
        for filler in fillers:
            filler.close()


async def test_connections_are_bounded_and_callers_served_in_order(client, system) -> None:
    gate = asyncio.Event()

    async def held(asked: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(OK)

    system.behave = held
    done: list[int] = []

    async def one(number: int) -> None:
        await ask(client, b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
        done.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(one(number))
        async with asyncio.timeout(20):
            while len(system.asked) < 4:
                system.came.clear()
                await system.came.wait()
        gate.set()
    assert (system.connections, system.most_at_once) == (4, 4)
    assert [int(asked.target[1:]) for asked in system.asked[4:]] == list(range(4, 20))
    assert sorted(done) == list(range(20))


async def test_waiting_for_a_connection_counts_and_nothing_was_sent(system) -> None:
    client = Client("127.0.0.1", system.port, size=1)
    gate = asyncio.Event()

    async def held(asked: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(OK)

    system.behave = held
    first = asyncio.ensure_future(ask(client))
    await system.came.wait()
    with pytest.raises(Unsent, match=r"within 0\.05 s"):
        await ask(client, seconds=0.05)
    gate.set()
    assert (await first).body == b"ok"
    assert (await ask(client)).body == b"ok"
    assert len(system.asked) == 2
    await client.close()


async def test_a_place_is_passed_on_when_its_connection_dies(system) -> None:
    client = Client("127.0.0.1", system.port, size=1)
    system.behave = say(close=True)
    results = await asyncio.gather(*(ask(client) for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [Unanswered] * 5
    await system.stop()
    results = await asyncio.gather(*(ask(client) for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [Unsent] * 5
    await system.start()
    system.behave = say(OK)
    assert (await ask(client)).body == b"ok"
    await client.close()


@pytest.mark.parametrize("when", ["waiting", "connecting", "sent"])
async def test_a_cancelled_call_leaves_nothing_behind(system, when: str) -> None:
    client = Client("127.0.0.1", system.port, size=1)
    gate = asyncio.Event()

    async def held(asked: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(OK)

    system.behave = held
    first = asyncio.ensure_future(ask(client))
    if when == "connecting":
        await asyncio.sleep(0)
        victim = first
    else:
        await system.came.wait()
        victim = first if when == "sent" else asyncio.ensure_future(ask(client))
        await asyncio.sleep(0)
    victim.cancel()
    with pytest.raises(asyncio.CancelledError):
        await victim
    gate.set()
    if victim is not first:
        assert (await first).body == b"ok"
    assert (await ask(client)).body == b"ok"
    await client.close()


async def test_the_last_idle_connection_is_used_first(client, system) -> None:
    gate = asyncio.Event()

    async def held(asked: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(OK)

    system.behave = held
    both = [asyncio.ensure_future(ask(client)) for _ in range(2)]
    async with asyncio.timeout(20):
        while len(system.asked) < 2:
            system.came.clear()
            await system.came.wait()
    gate.set()
    await asyncio.gather(*both)
    last = client._idle[-1]
    for _ in range(3):
        await ask(client)
        assert client._idle[-1] is last


async def test_a_connection_the_server_closed_while_idle_is_not_used(client, system) -> None:
    assert (await ask(client)).status == 200
    (writer,) = system.writers
    writer.close()
    async with asyncio.timeout(20):
        while client._idle:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert (await ask(client)).status == 200
    assert system.connections == 2


async def test_a_closing_that_is_only_just_arriving_is_noticed_after_a_doze(client, system) -> None:
    assert (await ask(client)).status == 200
    (idle,) = client._idle
    idle.since -= 2.0
    (writer,) = system.writers
    with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as other_end:
        other_end.shutdown(socket.SHUT_RDWR)  # the loop has not read the end yet
    assert (await ask(client)).status == 200
    assert system.connections == 2


async def test_an_old_connection_is_not_used(client, system) -> None:
    assert (await ask(client)).status == 200
    client._idle[0].since -= 31.0
    assert (await ask(client)).status == 200
    assert system.connections == 2


async def test_close_ends_calls_under_way_and_those_that_wait(system) -> None:
    client = Client("127.0.0.1", system.port, size=1)

    async def silent(asked: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    system.behave = silent
    sent = asyncio.ensure_future(ask(client))
    await system.came.wait()
    waiting = asyncio.ensure_future(ask(client))
    await asyncio.sleep(0)
    await client.close()
    await client.close()
    results = await asyncio.gather(sent, waiting, return_exceptions=True)
    assert [type(result) for result in results] == [Unanswered, Unsent]
    with pytest.raises(Unsent):
        await ask(client)


# -- TLS


async def tls_system(system, certificate, **options: Any) -> ssl.SSLContext:
    await system.stop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    for name, value in options.items():
        setattr(context, name, value)
    await system.start(context)
    return context


async def test_tls_is_verified_against_the_name(system, certificate) -> None:
    await tls_system(system, certificate)
    trust = ssl.create_default_context(cafile=str(certificate))
    client = Client("localhost", system.port, tls=trust)
    for _ in range(2):
        assert (await ask(client)).status == 200
    assert system.connections == 1
    await client.close()
    for other, host, name in (
        (ssl.create_default_context(), "localhost", ""),
        (trust, "localhost", "erp.example.com"),
    ):
        client = Client(host, system.port, tls=other, server_name=name)
        with pytest.raises(Untrusted):
            await ask(client)
        await client.close()
    renamed = Client("127.0.0.1", system.port, tls=trust, server_name="localhost")
    assert (await ask(renamed)).status == 200
    await renamed.close()
    assert len(system.asked) == 3


async def test_a_server_that_asks_for_our_certificate(system, certificate) -> None:
    context = await tls_system(system, certificate, verify_mode=ssl.CERT_REQUIRED)
    context.load_verify_locations(certificate)
    trust = ssl.create_default_context(cafile=str(certificate))
    client = Client("localhost", system.port, tls=trust)
    with pytest.raises(Fault) as caught:
        await ask(client)
    assert type(caught.value) in (Untrusted, Unanswered)  # TLS 1.3 tells a client only after its request went out
    await client.close()
    trust.load_cert_chain(certificate)
    client = Client("localhost", system.port, tls=trust)
    assert (await ask(client)).status == 200
    await client.close()


async def test_tls_to_a_plain_port(system, certificate) -> None:
    client = Client("localhost", system.port, tls=ssl.create_default_context(cafile=str(certificate)))
    system.behave = say(b"what?")
    with pytest.raises((Untrusted, Unsent)):
        await ask(client, seconds=0.5)
    await client.close()
    assert system.asked == []
