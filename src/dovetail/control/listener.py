"""The admin API's listener: uvicorn in our own event loop, leaving signals and exits to whoever owns the process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn

from dovetail.control.access import App
from dovetail.errors import DovetailError


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals are the application's."""
        yield


class Listener:
    """Serves an ASGI application. `open`, then `close`; each may be called twice."""

    def __init__(self, host: str, port: int) -> None:
        """`port` 0 takes a free one; see `port` after `open`."""
        self.host, self.port = host, port
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The address to ask."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "") else "::1" if self.host == "::" else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def bind(self) -> socket.socket:
        """Take the address. Raises `DovetailError` in words when that is not possible."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((self.host, self.port))
        except OSError as error:
            listening.close()
            why = error.strerror or str(error)
            raise DovetailError(
                f"the admin API cannot listen on {self.host}:{self.port}: {why}; choose another with --admin-port",
                code="listen",
            ) from error
        self.port = listening.getsockname()[1]
        return listening

    async def open(self, app: App) -> None:
        """Listen. Raises `DovetailError` when the address is taken."""
        if self._task is not None:
            return
        listening = self.bind()
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", server_header=False, timeout_graceful_shutdown=2,
            ws="none", h11_max_incomplete_event_size=65536,
        )  # fmt: skip
        self._server = _Server(config)
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=[listening]))
        await self._server.listening.wait()

    async def close(self) -> None:
        """Answer what is under way (at most two seconds), then stop."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
            self._server = self._task = None
