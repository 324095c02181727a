"""What is measured: each subject takes signed orders on a webhook, maps them and calls the target."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from order import SECRET

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parent / ".tools"
READY_SECONDS = 120


class Unavailable(Exception):
    """A subject cannot be measured here; says why."""


def free_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, method: str, path: str, document: object = None, token: str = "") -> Any:
    """One JSON call on loopback; raises OSError without an answer and RuntimeError for one that is not 2xx."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        connection.request(method, path, json.dumps(document), headers)
        response = connection.getresponse()
        answer = response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from None
    finally:
        connection.close()
    if response.status >= 300:
        raise RuntimeError(f"{method} {path}: {response.status} {answer[:300].decode(errors='replace')}")
    return json.loads(answer) if answer else None


class Process:
    """One child process in its own group, with a log file."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as file:
            self.child = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=file,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def first_line(self) -> Any:
        """The JSON of its first line of output."""
        assert self.child.stdout
        return json.loads(self.child.stdout.readline())

    def end(self, number: int = signal.SIGTERM) -> None:
        """Signal the whole group and wait."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, number)
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()

    def memory(self) -> int:
        """Resident bytes."""
        text = Path(f"/proc/{self.child.pid}/status").read_text()
        return 1024 * int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1])


class Target(Process):
    """bench/target.py in its own process."""

    def __init__(self, folder: Path) -> None:
        super().__init__([sys.executable, str(HERE / "target.py")], folder / "target.log")
        ports = self.first_line()
        self.port, self.control = int(ports["port"]), int(ports["control"])
        self.folder = folder

    def command(self, what: str, document: object = None) -> Any:
        return ask(self.control, "POST", f"/{what}", document)

    def ids(self) -> list[str]:
        """The order ids it was called for, repeats included."""
        file = self.folder / "seen"
        self.command("ids", {"file": str(file)})
        return file.read_text().split()


class Subject:
    """One thing measured. ``start`` may be called again after ``kill``: it finds what was left on disk."""

    name = "subject"
    path = "/hooks/orders"
    delivers = True  # orders reach the target
    most = 0  # at most so many orders a measurement, so that a slow one ends; 0: no limit

    def __init__(self, folder: Path, target: int) -> None:
        self.folder, self.target, self.port = folder, target, free_port()
        self.process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    @classmethod
    def install(cls) -> str:
        """Bring it onto this machine if needed; returns its version. Raises :class:`Unavailable`."""
        return ""

    def deploy(self) -> None:
        """Put the flow into an empty folder."""

    def command(self) -> tuple[list[str], dict[str, str]]:
        """What to run, and its environment."""
        raise NotImplementedError

    def start(self) -> None:
        command, environment = self.command()
        self.process = Process(command, self.folder / "subject.log", environment)
        self.wait_ready()

    def wait_ready(self) -> None:
        """Return once the webhook's port answers."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            assert self.process
            if self.process.child.poll() is not None:
                break
            if self.ready():
                return
            time.sleep(0.05)
        tail = self.process.log.read_text(errors="replace")[-2000:] if self.process else ""
        raise Unavailable(f"{self.name} did not come up: {tail}")

    def ready(self) -> bool:
        """Whether it takes orders now."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False

    def drained(self) -> bool | None:
        """Whether nothing is pending; None when the subject cannot tell."""
        return None

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, no warning."""
        assert self.process
        self.process.end(signal.SIGKILL)

    def stop(self) -> None:
        if self.process:
            self.process.end()


class FloorAccept(Subject):
    """The floor that only accepts."""

    name = "floor, accept only"
    delivers = False
    what = "accept"
    script = "floor.py"

    def command(self) -> tuple[list[str], dict[str, str]]:
        script = [sys.executable, str(HERE / self.script), self.what, "--folder", str(self.folder)]
        return [*script, "--port", str(self.port), "--target", str(self.target)], {}


class FloorDeliver(FloorAccept):
    """The floor that maps and calls."""

    name = "floor"
    delivers = True
    what = "deliver"


class ByHandAccept(FloorAccept):
    """The flow's checks and records, written by hand."""

    name = "by hand, accept only"
    script = "by_hand.py"


class ByHandDeliver(FloorDeliver):
    """The same, with mapping and calls."""

    name = "by hand"
    script = "by_hand.py"


class Dovetail(Subject):
    """``dovetail run`` on bench/project, reduced to the flow that is measured."""

    name = "dovetail"
    flow = "deliver"

    def deploy(self) -> None:
        """A copy of the project; a second subject on the same folder takes its own flow and keeps the store."""
        project = self.folder / "project"
        shutil.rmtree(project, ignore_errors=True)
        shutil.copytree(HERE / "project", project)
        for flow in (project / "flows").iterdir():
            if flow.stem != self.flow:
                flow.unlink()

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def command(self) -> tuple[list[str], dict[str, str]]:
        command = [str(Path(sys.executable).with_name("dovetail")), "run", str(self.folder / "project")]
        command += ["--store", str(self.store), "--port", str(self.port), "--admin-port", "0"]
        return command, {"TARGET_URL": f"http://127.0.0.1:{self.target}", "DOVETAIL_SECRET_BENCH": SECRET}

    def admin(self, path: str) -> Any:
        """Ask the admin API. Raises OSError when it does not answer, RuntimeError when it refuses."""
        assert self.process
        places = json.loads((self.store / "server.json").read_text())
        if places["pid"] != self.process.child.pid:
            raise ConnectionError("the process of before a kill wrote this address")
        token = (self.store / "admin.token").read_text().strip()
        return ask(urlsplit(places["url"]).port or 0, "GET", path, token=token)

    def ready(self) -> bool:
        try:
            self.admin("/readyz")
        except (OSError, RuntimeError):
            return False
        return True

    def drained(self) -> bool | None:
        return all(flow["pending"] == 0 for flow in self.admin("/api/status")["flows"])

    def counts(self) -> dict[str, int]:
        """The counts of the flow: accepted, done, dead, discarded, pending."""
        flows = self.admin("/api/status")["flows"]
        return next(flow for flow in flows if flow["flow"] == self.flow)


class DovetailAccept(Dovetail):
    """Accepts, verifies, validates, dedupes, journals; the flow then discards by its filter."""

    name = "dovetail, accept only"
    flow = "accept"
    path = "/hooks/accept"
    delivers = False


def npm_install(folder: Path, package: str, overrides: dict[str, str], rebuild: list[str]) -> None:
    """Install one package with npm into a folder of its own, once. Raises :class:`Unavailable`."""
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed here")
    name, _, version = package.rpartition("@")
    manifest = json.dumps({"private": True, "dependencies": {name: version}, "overrides": overrides})
    file, mark = folder / "package.json", folder / "installed"
    if mark.exists() and mark.read_text() == manifest:
        return
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(manifest)
    steps = [[npm, "install", "--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts"]]
    steps += [[npm, "rebuild", "--loglevel=error", *rebuild]] if rebuild else []
    for step in steps:
        print(f"  {' '.join(step[1:3])} {package} into {folder.name} …", flush=True)
        done = subprocess.run(step, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(f"{package} does not install: {(done.stderr or done.stdout).strip()[-600:]}")
    mark.write_text(manifest)
