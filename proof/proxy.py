"""A network that fails on command: a proxy between two processes on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from random import Random
from threading import Event, Thread

FAULTS = ("latency", "reset", "blackhole", "half-open", "drip", "truncate", "garbage", "flap")
_RESET = struct.pack("ii", 1, 0)  # linger for no time: closing sends a reset


class Proxy:
    """Forwards to `port`, in a thread of its own; `set` says what befalls connections from now on ("": nothing). `met`
    counts those that it befell.

    latency: every piece waits; reset: cut after some bytes of the answer, with a reset; blackhole: taken and never
    answered; half-open: the request arrives, the answer never comes back; drip: byte by byte; truncate: the answer ends
    early, in good order; garbage: the answer's bytes are others; flap: every other connection is refused.
    """

    def __init__(self, port: int, seed: int = 0) -> None:
        self.target, self.fault, self.met = port, "", 0
        self._dice, self._turns = Random(seed), 0
        self._open: set[asyncio.StreamWriter] = set()
        self._ready = Event()
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._ready.wait()
        self.url = f"http://127.0.0.1:{self.port}"

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve_one, "127.0.0.1", 0))
        self.port = int(server.sockets[0].getsockname()[1])
        self._ready.set()
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(server.serve_forever())

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault, self._turns = self.fault, self._turns + 1
        self.met += bool(fault)
        self._open.add(writer)
        try:
            if fault == "flap" and self._turns % 2:
                return self._reset(writer)
            if fault == "blackhole":
                await reader.read()
                return None
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            tasks = [asyncio.ensure_future(self._way(*way)) for way in ((reader, back, ""), (there, writer, fault))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            back.close()
        except (OSError, asyncio.CancelledError):  # cut, by one side or by `close`
            pass
        finally:
            self._open.discard(writer)
            with contextlib.suppress(OSError, RuntimeError):
                writer.close()
        return None

    async def _way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: str) -> None:
        """One direction, until its end."""
        with contextlib.suppress(OSError):
            while piece := await reader.read(1 << 16):
                if not await self._pass_on(piece, writer, fault):
                    return

    async def _pass_on(self, piece: bytes, writer: asyncio.StreamWriter, fault: str) -> bool:
        """Whether the connection goes on."""
        if fault == "half-open":
            return True
        if fault == "latency":
            await asyncio.sleep(self._dice.uniform(0.01, 0.1))
        if fault == "garbage":
            piece = self._dice.randbytes(len(piece))
        if fault in ("reset", "truncate"):
            writer.write(piece[: self._dice.randrange(len(piece))])
            if fault == "reset":
                self._reset(writer)
            return False
        for part in [piece[n : n + 1] for n in range(len(piece))] if fault == "drip" else [piece]:
            writer.write(part)
            await writer.drain()
            if fault == "drip":
                await asyncio.sleep(0.001)
        return True

    @staticmethod
    def _reset(writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()

    def set(self, fault: str) -> None:
        """From now on, for every connection: those that are open are cut."""

        def cut() -> None:
            self.fault = fault
            for writer in list(self._open):
                self._reset(writer)

        self._loop.call_soon_threadsafe(cut)

    def close(self) -> None:
        """Cut every connection and stop."""

        def end() -> None:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()

        self._loop.call_soon_threadsafe(end)
        self._thread.join()
        self._loop.close()
