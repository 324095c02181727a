"""The desk of a running server, asked over its admin API."""

from __future__ import annotations

import base64
import http.client
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from dovetail.control.answers import (
    ApprovalLine,
    ApprovalOrder,
    BackupOrder,
    BackupState,
    Connector,
    ConnectorLine,
    DeployAnswer,
    DeployOrder,
    Discarded,
    DiscardOrder,
    DryRunAnswer,
    Journey,
    Page,
    ParkedKey,
    RedriveAnswer,
    RedriveOrder,
    Search,
    Status,
    UnparkOrder,
    VersionOrder,
    VersionsAnswer,
)
from dovetail.control.job import Job, JobAnswer, JobLine, JobOrder
from dovetail.errors import DovetailError, Refused, Unavailable

T = TypeVar("T")


class Unreachable(DovetailError):
    """Nobody answers at the server's address."""

    code = "unreachable"


class Remote:
    """Blocking calls, one connection each; for the command line. Methods raise as the desk does, and `Unreachable`."""

    running = True

    def __init__(self, url: str, token: str, timeout: float = 60.0) -> None:
        self.url = url
        self._token, self._timeout = token, timeout

    def status(self) -> Status:
        return self._get("/api/status", Status)

    def messages(self, search: Search) -> Page:
        asked: list[tuple[str, str]] = [("state", word) for word in search.states]
        for name in ("flow", "key", "since", "until", "text", "reason", "step", "version", "before", "limit"):
            value = getattr(search, name)
            if value:
                asked.append((name, str(value)))
        return self._get(f"/api/messages?{urlencode(asked)}", Page)

    def show(self, id: str, flow: str = "") -> Journey:
        return self._get(f"/api/messages/{quote(id, safe='')}?{urlencode({'flow': flow})}", Journey)

    def body(self, id: str, flow: str = "", original: bool = False) -> bytes:
        asked = urlencode({"flow": flow, "original": "1" if original else ""})
        return self._ask("GET", f"/api/messages/{quote(id, safe='')}/body?{asked}")

    def redrive(self, order: RedriveOrder) -> RedriveAnswer:
        return self._post("/api/redrive", order, RedriveAnswer)

    def dry_run(self, order: RedriveOrder) -> DryRunAnswer:
        return self._post("/api/redrive/dry-run", order, DryRunAnswer)

    def order_job(self, order: RedriveOrder) -> JobAnswer:
        return self._post("/api/redrives", order, JobAnswer)

    def jobs(self) -> list[JobLine]:
        return self._get("/api/redrives", list[JobLine])

    def job(self, id: str) -> Job:
        return self._get(f"/api/redrives/{quote(id, safe='')}", Job)

    def change_job(self, id: str, order: JobOrder) -> JobLine:
        return self._post(f"/api/redrives/{quote(id, safe='')}", order, JobLine)

    def deploy(self, order: DeployOrder) -> DeployAnswer:
        return self._post("/api/deploy", order, DeployAnswer)

    def promote(self, order: VersionOrder) -> DeployAnswer:
        return self._post("/api/promote", order, DeployAnswer)

    def rollback(self, order: VersionOrder) -> DeployAnswer:
        return self._post("/api/rollback", order, DeployAnswer)

    def versions(self, flow: str) -> VersionsAnswer:
        return self._get(f"/api/versions/{quote(flow, safe='')}", VersionsAnswer)

    def approvals(self, flow: str = "") -> list[ApprovalLine]:
        return self._get(f"/api/approvals?{urlencode({'flow': flow})}", list[ApprovalLine])

    def approve(self, order: ApprovalOrder) -> ApprovalLine:
        return self._post("/api/approve", order, ApprovalLine)

    def parked(self, flow: str = "") -> list[ParkedKey]:
        return self._get(f"/api/parked?{urlencode({'flow': flow})}", list[ParkedKey])

    def unpark(self, order: UnparkOrder) -> ParkedKey:
        return msgspec.json.decode(self._ask("POST", "/api/unpark", msgspec.json.encode(order)), type=ParkedKey)

    def discard(self, order: DiscardOrder) -> Discarded:
        return msgspec.json.decode(self._ask("POST", "/api/discard", msgspec.json.encode(order)), type=Discarded)

    def backup(self, folder: str) -> BackupState:
        """Begin a backup."""
        order = msgspec.json.encode(BackupOrder(folder))
        return msgspec.json.decode(self._ask("POST", "/api/backup", order), type=BackupState)

    def backup_state(self) -> BackupState:
        return self._get("/api/backup", BackupState)

    def connectors(self) -> list[ConnectorLine]:
        return self._get("/api/connectors", list[ConnectorLine])

    def connector(self, name: str, kind: str = "") -> Connector:
        return self._get(f"/api/connectors/{quote(name, safe='')}?{urlencode({'kind': kind})}", Connector)

    def drain(self) -> None:
        """Ask the server to finish what it has and end."""
        self._ask("POST", "/api/drain")

    def _get(self, path: str, type: type[T]) -> T:
        return msgspec.json.decode(self._ask("GET", path), type=type)

    def _post(self, path: str, order: object, type: type[T]) -> T:
        return msgspec.json.decode(self._ask("POST", path, msgspec.json.encode(order)), type=type)

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=self._timeout)
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"the server at {self.url} does not answer: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise _error(answer.status, content, answer.getheader("Retry-After"))
        return content


def _error(status: int, content: bytes, after: str | None) -> DovetailError:
    try:
        problem: dict[str, Any] = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        problem = {}
    detail, code = str(problem.get("detail") or f"the server answers {status}"), str(problem.get("title") or "refused")
    if status == 503:
        return Unavailable(detail, after=float(after or 1))
    if status >= 500:
        return DovetailError(detail, code=code)
    return Refused(detail, status=status, code=code, detail=problem.get("more"))


def encoded(body: bytes) -> str:
    """A body as a redrive order carries it."""
    return base64.b64encode(body).decode()
