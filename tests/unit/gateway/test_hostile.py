"""What a hostile or broken client gets: a 4xx with a reason, and a closed connection. Never a 5xx, never a hang."""

from __future__ import annotations

import asyncio
import json
import ssl

import pytest

POST = b"POST /echo HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GET_NEXT = b"GET /echo HTTP/1.1\r\nHost: smuggled\r\n\r\n"

MALFORMED = {
    "length and coding": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "two different lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a list of lengths": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "a negative length": POST + b"Content-Length: -3\r\n\r\nabc",
    "a signed length": POST + b"Content-Length: +3\r\n\r\nabc",
    "a hexadecimal length": POST + b"Content-Length: 0x3\r\n\r\nabc",
    "an endless length": POST + b"Content-Length: 99999999999999999999999\r\n\r\nabc",
    "an empty length": POST + b"Content-Length: \r\n\r\nabc",
    "a length in a trailer": CHUNKED + b"1\r\na\r\n0\r\nContent-Length: 5\r\n\r\n",
    "two codings": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity coding": POST + b"Transfer-Encoding: identity\r\n\r\nabc",
    "a misspelt coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a coding behind a tab": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a coding in 1.0": b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bad chunk size": CHUNKED + b"zz\r\n\r\n",
    "a negative chunk": CHUNKED + b"-1\r\n\r\n",
    "a chunk with 0x": CHUNKED + b"0x1\r\na\r\n0\r\n\r\n",
    "an endless chunk size": CHUNKED + b"fffffffffffffffff\r\na\r\n0\r\n\r\n",
    "a chunk that is too long": CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
    "a chunk with bare LF": CHUNKED + b"1\na\n0\n\n",
    "a chunk extension with LF": CHUNKED + b"1;a\nb\r\na\r\n0\r\n\r\n",
    "space before the colon": POST + b"Content-Length : 3\r\n\r\nabc",
    "obs-fold": POST + b"X: a\r\n b\r\n\r\n",
    "NUL in a value": POST + b"X: a\0b\r\n\r\n",
    "NUL in a name": POST + b"X\0: ab\r\n\r\n",
    "a control character": POST + b"X: a\x01b\r\n\r\n",
    "no colon": POST + b"Host\r\n\r\n",
    "no name": POST + b": b\r\n\r\n",
    "bare LF": b"POST /echo HTTP/1.1\nHost: a\n\n",
    "bare LF in a header": b"POST /echo HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
    "bare CR in a header": b"POST /echo HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
    "no host": b"GET /echo HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two content types": POST + b"Content-Type: a/b\r\nContent-Type: c/d\r\n\r\n",
    "two credentials": POST + b"Authorization: a\r\nAuthorization: b\r\n\r\n",
    "NUL in the URL": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a byte in the URL": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space in the URL": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "no path": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "another scheme": b"GET ftp://a/echo HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tunnel": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tunnel to a path": b"CONNECT http://a/echo HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/2 by surprise": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version 2.0": b"GET /echo HTTP/2.0\r\nHost: a\r\n\r\n",
    "version 1.2": b"GET /echo HTTP/1.2\r\nHost: a\r\n\r\n",
    "version 0.9": b"GET /echo\r\n\r\n",
    "an unknown method": b"FOO /echo HTTP/1.1\r\nHost: a\r\n\r\n",
    "a method in lower case": b"get /echo HTTP/1.1\r\nHost: a\r\n\r\n",
    "TLS to a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 60,
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_is_answered_with_400_and_closed(serve, data: bytes) -> None:
    world = await serve()
    wire = await world.connect()
    wire.send(data, GET_NEXT)
    answer = await wire.answer()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem["status"] == 400
    assert problem["detail"]
    wire.writer.write_eof()
    assert await wire.rest() == b""
    assert [request for request in world.seen if request.headers.get("host") == "smuggled"] == []


async def test_the_answers_before_a_malformed_request_still_go_out(serve) -> None:
    world = await serve()
    wire = await world.connect()
    wire.send(b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", b"rubbish\r\n\r\n")
    await world.until(lambda: len(world.held) == 1)
    world.held[0].respond(202)
    assert (await wire.answer()).status == 202
    assert (await wire.answer()).status == 400


async def test_a_body_over_its_limit_by_length(serve) -> None:
    world = await serve()
    wire = await world.connect()
    answer = await wire.ask(POST, b"Content-Length: 1001\r\n\r\nbeginning")
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert world.seen == []


async def test_a_body_over_its_limit_in_chunks_is_not_read_whole(serve) -> None:
    world = await serve()
    wire = await world.connect()
    wire.send(CHUNKED, b"400\r\n" + b"a" * 0x400 + b"\r\n")
    assert (await wire.answer()).status == 413
    assert world.listener.buffered == 0


async def test_a_body_at_its_limit(serve) -> None:
    world = await serve()
    assert (await world.ask(POST, b"Content-Length: 1000\r\n\r\n", b"x" * 1000)).status == 200
    assert (await world.ask(CHUNKED, b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n")).status == 200


@pytest.mark.parametrize(
    "air", [b"1;" + b"x" * 9000 + b"\r\na\r\n", b"0\r\n" + b"X: " + b"y" * 9000], ids=["extension", "trailer"]
)
async def test_chunks_that_are_mostly_air(serve, air: bytes) -> None:
    world = await serve(max_head=2000)
    wire = await world.connect()
    wire.send(CHUNKED)
    for _ in range(6):
        wire.send(air)
    assert (await wire.answer()).status == 413


async def test_an_unwanted_body_is_answered_404_even_when_it_is_large(serve) -> None:
    world = await serve()
    answer = await world.ask(b"POST /nope HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\nx")
    assert (answer.status, answer.headers["connection"]) == (404, "close")
    answer = await world.ask(b"PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\nx")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST")
    answer = await world.ask(
        b"POST /nope HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"20000\r\n", b"x" * 0x20000
    )
    assert answer.status == 404


async def test_a_client_that_keeps_sending_still_reads_why(serve) -> None:
    world = await serve()
    wire = await world.connect()
    wire.send(b"POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n")
    wire.send(b"x" * 3_000_000)
    assert (await wire.answer()).status == 413


async def test_urls_and_headers_have_limits(serve) -> None:
    world = await serve(max_url=100, max_head=2000, max_headers=10)
    get = b"GET /echo HTTP/1.1\r\nHost: a\r\n"
    assert (await world.ask(b"GET /echo?" + b"x" * 94 + b" HTTP/1.1\r\nHost: a\r\n\r\n")).status == 200
    assert (await world.ask(b"GET /echo?" + b"x" * 95 + b" HTTP/1.1\r\nHost: a\r\n\r\n")).status == 414
    assert (await world.ask(get + b"X: " + b"x" * 1900 + b"\r\n\r\n")).status == 200
    assert (await world.ask(get + b"X: " + b"x" * 2000 + b"\r\n\r\n")).status == 431
    assert (await world.ask(get + b"X: y\r\n" * 9 + b"\r\n")).status == 200
    assert (await world.ask(get + b"X: y\r\n" * 10 + b"\r\n")).status == 431


async def test_a_head_without_end_is_cut_off(serve) -> None:
    world = await serve(max_head=2000)
    wire = await world.connect()
    wire.send(b"GET /echo HTTP/1.1\r\nHost: a\r\nX: ")
    wire.send(b"x" * 60_000)
    assert (await wire.answer()).status == 431


async def test_a_url_without_end_is_cut_off(serve) -> None:
    world = await serve()
    wire = await world.connect()
    wire.send(b"GET /" + b"x" * 60_000)
    assert (await wire.answer()).status == 414


async def test_a_slow_head_is_answered_408_however_it_drips(serve) -> None:
    world = await serve(header_timeout=10)
    wire = await world.connect()
    assert (await wire.ask(POST, b"Content-Length: 1\r\n\r\nx")).status == 200

    async def drip() -> None:
        while True:
            wire.send(b"POST /echo HTTP/1.1\r\nX: y\r\n" if first.pop() else b"X: y\r\n")
            first.append(False)
            await asyncio.sleep(0)

    first = [True]
    dripping = asyncio.ensure_future(drip())
    answer = await world.tick_until(wire.answer())
    dripping.cancel()
    assert answer.status == 408


async def test_a_slow_body_is_answered_408(serve) -> None:
    world = await serve(body_timeout=10)
    wire = await world.connect()
    wire.send(POST, b"Content-Length: 10\r\n\r\nx")
    assert (await world.tick_until(wire.answer())).status == 408


async def test_idle_connections_are_closed_and_waiting_ones_are_not(serve) -> None:
    world = await serve(idle_timeout=5, header_timeout=5)
    idle, fresh, waiting = await world.connect(), await world.connect(), await world.connect()
    assert (await idle.ask(POST, b"Content-Length: 1\r\n\r\nx")).status == 200
    waiting.send(b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    await world.until(lambda: len(world.held) == 1)
    assert await world.tick_until(idle.rest()) == b""
    assert await world.tick_until(fresh.rest()) == b""
    world.held[0].respond(202)
    assert (await waiting.answer()).status == 202


async def test_a_client_that_does_not_read_is_cut(serve) -> None:
    world = await serve(idle_timeout=5, write_buffer=1000)
    huge = b"x" * 20_000_000
    world.listener.routes.add("GET", "/huge", lambda request: request.respond(200, huge), max_body=0)
    wire = await world.connect()
    wire.reader._transport.pause_reading()  # type: ignore[attr-defined]
    wire.send(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    await world.tick_until(world.until_empty())


async def test_pipelining_is_bounded(serve) -> None:
    world = await serve(max_pipelined=4)
    wire = await world.connect()
    one = b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n" + b"x" * 900
    sent = 3000
    wire.send(one * sent)
    await world.until(lambda: len(world.held) >= 4)
    at_most = 4 + 16 * 1024 // len(one) + 1
    for number in range(sent):
        await world.until(lambda number=number: len(world.held) > number)
        assert len(world.held) - number <= at_most
        world.held[number].respond(200, b"%d" % number)
        assert (await wire.answer()).body == b"%d" % number


async def test_bodies_under_way_are_bounded_together(serve) -> None:
    world = await serve(max_buffered=1500)
    first, second = await world.connect(), await world.connect()
    first.send(POST, b"Content-Length: 1000\r\n\r\n", b"x" * 900)
    await world.spin(lambda: world.listener.buffered == 900)
    answer = await second.ask(POST, b"Content-Length: 1000\r\n\r\n", b"x" * 900)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert (await first.ask(b"x" * 100)).status == 200
    assert world.listener.buffered == 0


async def test_too_many_connections_are_told_so(serve) -> None:
    world = await serve(max_connections=1)
    first = await world.connect()
    assert (await first.ask(POST, b"Content-Length: 0\r\n\r\n")).status == 200
    answer = await (await world.connect()).answer()
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert (await first.ask(POST, b"Content-Length: 0\r\n\r\n")).status == 200


async def test_tls(serve, certificate) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    world = await serve(tls=context)
    trust = ssl.create_default_context(cafile=certificate)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", world.listener.port, ssl=trust, server_hostname="localhost"
    )
    writer.write(POST + b"Content-Length: 2000\r\n\r\nx")
    async with asyncio.timeout(20):
        assert (await reader.read()).startswith(b"HTTP/1.1 413 ")
    writer.close()
    await writer.wait_closed()
    plain = await world.connect()
    plain.send(POST, b"Content-Length: 0\r\n\r\n")
    assert b"200 OK" not in await plain.rest()
