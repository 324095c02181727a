"""Real processes for tests: `dovetail run` on a project folder, and an HTTP target that remembers what it was sent.

Tests enter by the user's door: text in a folder, a process, HTTP and files, and then the target's own records.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from time import sleep
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode

from dovetail.clock import SystemClock

T = TypeVar("T")
PATIENCE = 60.0  # seconds until a wait for something that must happen is given up


def until(what: str, ask: Callable[[], T | None], patience: float = PATIENCE) -> T:
    """Ask until the answer is true, and return it. Raises AssertionError with `what` after `patience` seconds."""
    now = SystemClock().monotonic
    deadline = now() + patience
    while now() < deadline:
        answer = ask()
        if answer:
            return answer
        sleep(0.02)  # between two questions to another process, which has no way to call us
    raise AssertionError(f"never happened: {what}")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; `status` is 0 when nobody answered. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        """The body as a document, None if there is none. Raises ValueError."""
        return json.loads(self.body) if self.body else None


def request(
    port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """One call on loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    except (OSError, http.client.HTTPException):
        return Answer(0)
    finally:
        connection.close()


class Process(Protocol):
    """As much of `subprocess.Popen` as is needed here."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, number: int, /) -> None: ...

    def kill(self) -> None: ...


class Dovetail:
    """`dovetail run` on a project. `start` may be called again after an end; the store stays."""

    def __init__(
        self, project: Path, folder: Path, environment: Mapping[str, str] | None = None, options: Sequence[str] = ()
    ) -> None:
        """`folder` takes the store and the log. `environment` is added to this process's; `options` to the command."""
        self.project, self.store, self._log = project, folder / "store", folder / "server.log"
        self.environment = dict(environment or {})
        self.options = list(options)
        self.process: Process | None = None
        self.port = self.admin = 0
        self.token = ""

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self, **environment: str) -> bool:
        """Start and wait until it serves; False if it ended first. `environment` is for this start alone."""
        with contextlib.suppress(OSError):  # it says where the last one was
            (self.store / "server.json").unlink()
        self.process = self.launch({**os.environ, **self.environment, **environment})
        address = self.seen() / "server.json"
        until("the server is up", lambda: address.exists() or self.dead())
        if self.dead():
            return False
        place = json.loads(address.read_text())
        self.port = int(place["http"].rpartition(":")[2])
        self.admin = int(place["url"].rpartition(":")[2])
        self.token = (self.seen() / "admin.token").read_text().strip()
        return True

    def launch(self, environment: Mapping[str, str]) -> Process:
        """Start the process. A subclass may start it otherwise."""
        with self._log.open("ab") as log:
            return subprocess.Popen(self.command(), env=environment, stdout=log, stderr=log)

    def command(self) -> list[str]:
        """What is started. A subclass may put something around it."""
        command = [
            sys.executable,
            "-m",
            "dovetail",
            "run",
            str(self.project),
            "--store",
            str(self.store),
            *self.options,
        ]
        for port in ("--port", "--admin-port"):
            command += [] if port in self.options else [port, "0"]
        return command

    def seen(self) -> Path:
        """The store's folder as this process sees it."""
        return self.store

    def dead(self) -> bool:
        """Whether no process of it is running."""
        return self.process is None or self.process.poll() is not None

    def stop(self) -> int:
        """Ask it to drain and end; its exit status."""
        assert self.process is not None
        if not self.dead():
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        """All that its processes said so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    # --- what users do --------------------------------------------------------------------------------------------

    def post(self, path: str, body: bytes | str, /, **headers: str) -> Answer:
        """POST; in names of headers `_` stands for `-`. JSON unless `Content_Type` says otherwise."""
        given = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
        return request(self.port, "POST", path, body.encode() if isinstance(body, str) else body, given)

    def send(self, path: str, document: Any) -> int:
        """POST a document as JSON; the status, 0 when the server is not there."""
        return self.post(path, json.dumps(document)).status

    # --- what operators ask ---------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, document: Any = None, **query: str) -> Any:
        """The admin API's answer, or None when the server is not there or refuses."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        body = None if document is None else json.dumps(document).encode()
        answer = request(self.admin, method, f"{path}?{urlencode(query)}" if query else path, body, headers)
        return answer.json if answer.status in (200, 202) else None

    def flows(self) -> dict[str, Any] | None:
        """Status by flow; None when the server is not there."""
        status = self.ask("GET", "/api/status")
        return {flow["flow"]: flow for flow in status["flows"]} if status else None

    def count(self, flow: str, state: str) -> int:
        """How many messages of the flow are in that state."""
        return int((self.flows() or {}).get(flow, {}).get(state, 0))

    def messages(self, **search: str) -> list[Any]:
        """All messages that a search finds, newest first."""
        found: list[Any] = []
        before: dict[str, str] = {}
        while page := self.ask("GET", "/api/messages", **search, **before):
            found += page["messages"]
            if not page["next"]:
                break
            before = {"before": page["next"]}
        return found

    def show(self, id: str, **query: str) -> Any:
        """One message's journey."""
        return self.ask("GET", f"/api/messages/{id}", **query)

    def settled(self, **accepted: int) -> dict[str, Any]:
        """Wait until these flows (`-` written as `_`) accepted so many messages and no flow has any pending."""

        seen: dict[str, Any] = {}

        def over() -> dict[str, Any] | None:
            flows = self.flows()
            if self.dead() or flows is None:
                raise AssertionError(f"the server is gone: {self.log()}")
            seen.update(flows)
            enough = all(flows[name.replace("_", "-")]["accepted"] >= n for name, n in accepted.items())
            return flows if enough and not any(flow["pending"] for flow in flows.values()) else None

        try:
            return until(f"everything is settled: {accepted}", over)
        except AssertionError as error:
            raise AssertionError(f"{error}; flows: {seen}") from None


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request as the target saw it. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as a document. Raises ValueError."""
        return json.loads(self.body)


class Recorder:
    """An HTTP target on loopback that keeps every request, and answers as `answer` says (200 with `{}` at first).

    What was answered with success stands in `done`, once for each Idempotency-Key.
    """

    def __init__(self, answer: Callable[[Recorded], tuple[int, bytes]] = lambda request: (200, b"{}")) -> None:
        self.answer = answer
        self.requests: list[Recorded] = []
        self.done: dict[str, Recorded] = {}  # by idempotency key, in order; only what was answered with success
        self._lock = Lock()
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, text = recorder._take(Recorded(self.command, self.path, headers, body))
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

            def log_message(self, format: str, *args: Any) -> None:
                """The requests are the record."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A caller that was killed in the middle."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def _take(self, request: Recorded) -> tuple[int, bytes]:
        key = request.headers.get("idempotency-key", "")
        with self._lock:
            self.requests.append(request)
        status, text = self.answer(request)
        if 200 <= status < 300 and key:
            with self._lock:
                self.done.setdefault(key, request)
        return status, text

    def bodies(self, path: str) -> list[bytes]:
        """What was done at a path, each once."""
        with self._lock:
            return [request.body for request in self.done.values() if request.path == path]

    def close(self) -> None:
        """Take no more calls."""
        self._server.shutdown()
        self._server.server_close()


class Gate:
    """Lets a recorder's callers wait until it is opened: `Recorder(Gate().then(200, b"{}"))`."""

    def __init__(self) -> None:
        self._open = Event()

    def then(self, status: int, body: bytes) -> Callable[[Recorded], tuple[int, bytes]]:
        """An answer that comes when the gate is open."""

        def answer(request: Recorded) -> tuple[int, bytes]:
            self._open.wait(PATIENCE)
            return status, body

        return answer

    def open(self) -> None:
        """Let everybody through, now and later."""
        self._open.set()
