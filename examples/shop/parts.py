"""The processes of the story: five systems and Dovetail itself, each on free loopback ports."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
SYSTEMS = ("erp", "warehouse", "accounting", "backoffice")
STOP_SECONDS = 30
P = TypeVar("P", bound="Part")


def ask(port: int, method: str, path: str, document: object = None, token: str = "") -> Any:
    """One JSON call on loopback; raises OSError when there is no answer and RuntimeError for one that is not 2xx."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        body = None if document is None else json.dumps(document)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from None
    finally:
        connection.close()
    if response.status >= 300:
        raise RuntimeError(f"{method} {path} on port {port}: {response.status} {answer[:300].decode(errors='replace')}")
    return json.loads(answer)


class Part:
    """One process with a log file beside its database."""

    def __init__(self, name: str, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, env={**os.environ, **environment}, start_new_session=True
            )

    def stop(self) -> None:
        """Ask it to end, and end it if it does not."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def failure(self) -> str:
        """Why it ended early, for people."""
        tail = self.log.read_text(errors="replace").strip().splitlines()[-5:]
        return "\n".join([f"{self.name} ended with status {self.process.poll()}; the end of {self.log}:", *tail])


class SystemPart(Part):
    """One of the systems; it says its ports on its first line."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str], token: str = "") -> None:
        self.database = folder / f"{name}.sqlite"
        script = HERE / "systems" / f"{name}.py"
        command = [sys.executable, str(script), "--db", str(self.database), "--token", token]
        super().__init__(name, command, folder, environment)
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise RuntimeError(self.failure())
        ports = json.loads(line)
        self.port, self.control = int(ports["port"]), int(ports["control"])

    @property
    def url(self) -> str:
        """Where other systems call it."""
        return f"http://127.0.0.1:{self.port}"

    def faults(self, **knobs: object) -> None:
        """Set its fault knobs; no knob heals it."""
        ask(self.control, "PUT", "/faults", knobs)


class Dovetail(Part):
    """``dovetail run`` on the project beside this file, on free ports that it writes down in its store's folder."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.store = folder / "dovetail"
        program = Path(sys.executable).with_name("dovetail")
        command = [str(program), "run", str(HERE / "project"), "--store", str(self.store)]
        super().__init__("dovetail", [*command, "--port", "0", "--admin-port", "0"], folder, environment)
        self.url, self.admin, self.token = "", 0, ""

    def wait_ready(self, seconds: float = 30) -> None:
        """Return once it accepts work; raises RuntimeError when it ends or does not come up."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(self.failure())
            try:
                places = json.loads((self.store / "server.json").read_text())
                self.url, self.admin = places["http"], urlsplit(places["url"]).port or 0
                self.token = (self.store / "admin.token").read_text().strip()
                ask(self.admin, "GET", "/readyz")
            except (OSError, RuntimeError):
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"dovetail was not ready within {seconds:.0f} s; see {self.log}")

    def status(self) -> dict[str, dict[str, int]]:
        """Counts per flow: accepted, done, dead, discarded, pending."""
        answer = ask(self.admin, "GET", "/api/status", token=self.token)
        return {flow["flow"]: flow for flow in answer["flows"]}


class Cast:
    """Everything that plays, started in order; stops in the other order."""

    def __init__(self, folder: Path) -> None:
        self.parts: list[Part] = []
        self.folder = folder
        secret = secrets.token_hex(16)
        tokens = {name: secrets.token_hex(16) for name in SYSTEMS}
        try:
            systems = {name: self.add(SystemPart(name, folder, {}, tokens[name])) for name in SYSTEMS}
            environment = {f"{name.upper()}_URL": system.url for name, system in systems.items()}
            environment |= {f"DOVETAIL_SECRET_{name.upper()}_TOKEN": token for name, token in tokens.items()}
            environment |= {"DOVETAIL_SECRET_SHOP_WEBHOOK": secret}
            self.dovetail = self.add(Dovetail(folder, environment))
            self.dovetail.wait_ready()
            webhook = f"{self.dovetail.url}/hooks/shop/orders"
            self.shop = self.add(
                SystemPart("shop", folder, {"SHOP_WEBHOOK_URL": webhook, "SHOP_WEBHOOK_SECRET": secret})
            )
        except BaseException:
            self.stop()
            raise
        self.erp = systems["erp"]

    def add(self, part: P) -> P:
        self.parts.append(part)
        return part

    def alive(self) -> None:
        """Raise RuntimeError when any part has ended."""
        for part in self.parts:
            if part.process.poll() is not None:
                raise RuntimeError(part.failure())

    def stop(self) -> None:
        """End every process."""
        for part in reversed(self.parts):
            part.stop()
