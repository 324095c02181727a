"""What a well-behaved client gets: bodies, keep-alive, order, HEAD, 404, 405, continue, drain."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import zlib

import pytest

HOST = b"Host: a\r\n"
POST = b"POST /echo HTTP/1.1\r\n" + HOST


async def test_a_request_is_answered_and_the_connection_kept(serve) -> None:
    world = await serve()
    wire = await world.connect()
    for body in (b"one", b"two", b""):
        answer = await wire.ask(POST, b"Content-Length: %d\r\n\r\n" % len(body), body)
        assert (answer.status, answer.body) == (200, body)
        assert "connection" not in answer.headers
        assert answer.headers["date"] == "Wed, 01 May 2024 00:00:00 GMT"
    assert world.listener.connections == 1


async def test_the_handler_sees_names_in_lower_case_and_the_raw_query(serve) -> None:
    world = await serve()
    await world.ask(
        b"GET /echo?a=%20b&c HTTP/1.1\r\nHOST: x\r\nX-Many: 1\r\nx-many: 2\r\nCookie: a=1\r\ncookie: b=2\r\n\r\n"
    )
    request = world.seen[0]
    assert (request.method, request.path, request.query, request.peer) == ("GET", "/echo", "a=%20b&c", "127.0.0.1")
    assert request.headers == {"host": "x", "x-many": "1, 2", "cookie": "a=1; b=2"}


@pytest.mark.parametrize("step", [1, 2, 7, 33])
async def test_a_request_may_come_in_any_pieces(serve, step: int) -> None:
    world = await serve()
    wire = await world.connect()
    data = (
        POST
        + b"Transfer-Encoding: chunked\r\nX-Long: %b\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
        % (b"v" * 50)
    )
    for at in range(0, len(data), step):
        wire.send(data[at : at + step])
        await wire.writer.drain()
        await asyncio.sleep(0)
    assert (await wire.answer()).body == b"abcde"
    assert world.seen[0].headers["x-long"] == "v" * 50


async def test_a_large_body_is_whole(serve) -> None:
    world = await serve()
    body = bytes(range(256)) * 3900
    answer = await world.ask(b"POST /big HTTP/1.1\r\n", HOST, b"Content-Length: %d\r\n\r\n" % len(body), body)
    assert (answer.status, zlib.crc32(answer.body)) == (200, zlib.crc32(body))
    assert world.listener.buffered == 0


async def test_a_trailer_is_no_header_of_the_next_request(serve) -> None:
    world = await serve()
    wire = await world.connect()
    wire.send(POST, b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nAuthorization: evil\r\nX: y\r\n\r\n")
    wire.send(b"GET /echo HTTP/1.1\r\nHost: b\r\n\r\n")
    await wire.answer()
    await wire.answer()
    assert [request.headers.get("authorization") for request in world.seen] == [None, None]
    assert world.seen[1].headers == {"host": "b"}


async def test_answers_keep_the_order_of_pipelined_requests(serve) -> None:
    world = await serve()
    wire = await world.connect()
    for body in (b"1", b"2", b"3"):
        wire.send(b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", body)
    wire.send(POST, b"Content-Length: 1\r\n\r\n4")
    await world.until(lambda: len(world.held) == 3 and len(world.seen) == 1)
    for index in (2, 0, 1):
        world.held[index].respond(200, world.held[index].body)
    assert [(await wire.answer()).body for _ in range(4)] == [b"1", b"2", b"3", b"4"]


async def test_only_the_first_answer_counts(serve) -> None:
    world = await serve()
    wire = await world.connect()
    wire.send(b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    await world.until(lambda: len(world.held) == 1)
    world.held[0].respond(200, b"first")
    world.held[0].respond(500, b"second")
    assert (await wire.answer()).body == b"first"
    assert (await wire.ask(POST, b"Content-Length: 1\r\n\r\nx")).body == b"x"


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_an_answer_to_a_client_that_left_does_nothing(serve, how: str) -> None:
    world = await serve()
    wire = await world.connect()
    wire.send(b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    await world.until(lambda: len(world.held) == 1)
    if how == "reset":
        wire.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.writer.transport.abort()
    if how == "reset":
        await world.until_empty()
    world.held[0].respond(200, b"too late")
    await world.until_empty()
    assert (await world.ask(POST, b"Content-Length: 1\r\n\r\nx")).body == b"x"


async def test_head_is_served_by_get_without_its_body(serve) -> None:
    world = await serve()
    world.listener.routes.add("GET", "/page", lambda request: request.respond(200, b"12345", "text/plain"), max_body=0)
    wire = await world.connect()
    wire.send(b"HEAD /page HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = await wire.answer(body=False)
    assert (answer.status, answer.headers["content-length"]) == (200, "5")
    assert (await wire.ask(POST, b"Content-Length: 1\r\n\r\nx")).body == b"x"


async def test_204_has_neither_body_nor_length(serve) -> None:
    world = await serve()
    world.listener.routes.add("GET", "/none", lambda request: request.respond(204), max_body=0)
    wire = await world.connect()
    answer = await wire.ask(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.status == 204
    assert not {"content-length", "content-type"} & set(answer.headers)
    assert (await wire.ask(POST, b"Content-Length: 1\r\n\r\nx")).body == b"x"


async def test_an_unknown_path_and_an_unknown_method(serve) -> None:
    world = await serve()
    wire = await world.connect()
    answer = await wire.ask(b"POST /nope HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    assert json.loads(answer.body)["code"] == "not_found"
    answer = await wire.ask(b"DELETE /echo HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST")
    assert (await wire.ask(POST, b"Content-Length: 1\r\n\r\nx")).body == b"x"


async def test_paths_are_compared_as_the_standard_says(serve) -> None:
    world = await serve()
    world.listener.routes.add("GET", "/größe/a b", world.echo, max_body=0)
    assert (await world.ask(b"GET /gr%c3%b6%C3%9fe/%61%20b HTTP/1.1\r\nHost: a\r\n\r\n")).status == 200
    assert (await world.ask(b"GET /%65cho HTTP/1.1\r\nHost: a\r\n\r\n")).status == 200
    assert (await world.ask(b"GET /echo%2F HTTP/1.1\r\nHost: a\r\n\r\n")).status == 404
    assert (await world.ask(b"GET /echo/ HTTP/1.1\r\nHost: a\r\n\r\n")).status == 404
    assert (await world.ask(b"GET http://anywhere/echo?q HTTP/1.1\r\nHost: a\r\n\r\n")).status == 200


async def test_continue_is_said_before_the_body_and_after_the_answers_before(serve) -> None:
    world = await serve()
    wire = await world.connect()
    wire.send(POST, b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await wire.ask(b"ab")).body == b"ab"
    wire.send(b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    wire.send(POST, b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    await world.until(lambda: len(world.held) == 1)
    world.held[0].respond(202)
    assert (await wire.answer()).status == 202
    assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await wire.ask(b"cd")).body == b"cd"


async def test_no_continue_for_a_body_that_is_not_wanted(serve) -> None:
    world = await serve()
    wire = await world.connect()
    answer = await wire.ask(POST, b"Expect: 100-continue\r\nContent-Length: 2000\r\n\r\n")
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    answer = await world.ask(POST, b"Expect: tea\r\nContent-Length: 2\r\n\r\n")
    assert answer.status == 417


async def test_an_offer_to_upgrade_is_ignored_and_the_body_read(serve) -> None:
    world = await serve()
    wire = await world.connect()
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    assert (await wire.ask(POST, upgrade, b"Content-Length: 3\r\n\r\nabc")).body == b"abc"
    wire.send(
        POST,
        upgrade,
        b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n",
    )
    assert (await wire.answer()).body == b"x"
    assert (await wire.answer()).status == 200


async def test_http_1_0_closes_unless_asked_to_stay(serve) -> None:
    world = await serve()
    wire = await world.connect()
    answer = await wire.ask(b"GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert answer.headers["connection"] == "keep-alive"
    answer = await wire.ask(b"GET /echo HTTP/1.0\r\n\r\n")
    assert answer.headers["connection"] == "close"
    assert await wire.rest() == b""


async def test_close_is_honoured_and_what_follows_ignored(serve) -> None:
    world = await serve()
    wire = await world.connect()
    wire.send(b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await wire.answer()).headers["connection"] == "close"
    assert await wire.rest() == b""
    assert len(world.seen) == 1


async def test_a_client_that_closed_its_half_still_gets_its_answer(serve) -> None:
    world = await serve()
    wire = await world.connect()
    wire.send(b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    wire.writer.write_eof()
    await world.until(lambda: len(world.held) == 1)
    world.held[0].respond(202, b"ok")
    assert (await wire.answer()).body == b"ok"
    assert await wire.rest() == b""


async def test_a_handler_that_raises_is_a_500_without_its_secrets(serve) -> None:
    world = await serve()

    def broken(request) -> None:
        raise RuntimeError("password is hunter2")

    world.listener.routes.add("GET", "/broken", broken, max_body=0)
    wire = await world.connect()
    answer = await wire.ask(b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.status == 500
    assert b"hunter2" not in answer.body
    assert str(world.errors[0][1]) == "password is hunter2"
    assert (await wire.ask(POST, b"Content-Length: 1\r\n\r\nx")).body == b"x"


async def test_a_handler_cannot_split_the_answer(serve) -> None:
    world = await serve()
    hostile = {"X-Good": "fine", "X-Bad": "a\r\nX-Evil: 1", "Bad Name": "x", "Content-Length": "0", "X-Uni": "\u20ac"}
    world.listener.routes.add(
        "GET", "/split", lambda request: request.respond(200, b"ok", "text/plain\r\nX-Evil: 2", hostile), max_body=0
    )
    answer = await world.ask(b"GET /split HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.body == b"ok"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert set(answer.headers) == {"date", "content-type", "x-good", "content-length"}


async def test_drain_answers_what_came_in_and_closes(serve) -> None:
    world = await serve()
    idle, busy, half = await world.connect(), await world.connect(), await world.connect()
    assert (await idle.ask(POST, b"Content-Length: 1\r\n\r\nx")).status == 200
    busy.send(b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    half.send(b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", POST)
    await world.until(lambda: len(world.held) == 2)
    port = world.listener.port
    draining = asyncio.ensure_future(world.listener.drain(20))
    assert await idle.rest() == b""
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)
    for request in world.held:
        request.respond(202)
    answer = await busy.answer()
    assert (answer.status, answer.headers["connection"]) == (202, "close")
    assert "connection" not in (await half.answer()).headers  # its next request had begun
    answer = await half.ask(b"Content-Length: 1\r\n\r\nx")
    assert (answer.body, answer.headers["connection"]) == (b"x", "close")
    assert await draining == 0


async def test_drain_cuts_what_stays_after_its_time(serve) -> None:
    world = await serve()
    wire = await world.connect()
    wire.send(b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    await world.until(lambda: len(world.held) == 1)
    assert await world.listener.drain(0.01) == 1
    assert await wire.rest() == b""


async def test_start_and_close_may_be_repeated(serve) -> None:
    world = await serve()
    await world.listener.start()
    await world.listener.close()
    await world.listener.close()
    await world.listener.start()
    assert (await world.ask(POST, b"Content-Length: 1\r\n\r\nx")).body == b"x"


async def test_routes_come_and_go(serve) -> None:
    world = await serve()
    routes = world.listener.routes
    with pytest.raises(ValueError, match="already taken"):
        routes.add("post", "/echo", world.echo, max_body=1)
    for path in ("echo", "/echo/", "/echo?x", "", "/a#b"):
        with pytest.raises(ValueError, match="no route"):
            routes.add("GET", path, world.echo, max_body=1)
    routes.remove("POST", "/echo")
    routes.remove("POST", "/echo")
    assert (await world.ask(POST, b"Content-Length: 0\r\n\r\n")).status == 405
    routes.remove("GET", "/echo")
    assert (await world.ask(POST, b"Content-Length: 0\r\n\r\n")).status == 404
