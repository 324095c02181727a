"""The admin API: the desk over HTTP. Answers are the desk's own structs as JSON, errors are problems (RFC 9457)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dovetail.control.access import problem
from dovetail.control.answers import (
    ApprovalOrder,
    BackupOrder,
    DeployOrder,
    DiscardOrder,
    RedriveOrder,
    Search,
    UnparkOrder,
    VersionOrder,
)
from dovetail.control.backups import Backups
from dovetail.control.desk import Control
from dovetail.control.job import JobOrder
from dovetail.control.vocabulary import Vocabulary
from dovetail.errors import DovetailError, Refused, Unavailable
from dovetail.sdk import Log
from dovetail.telemetry import CONTENT_TYPE, Answer, Health, Page

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]

ROUTES = (  # method, path, method of `Api`, what it answers
    ("GET", "/livez", "livez", "200 while the process answers at all."),
    ("GET", "/readyz", "readyz", "200 when messages may be sent here, else 503; with a token also the reasons."),
    ("GET", "/metrics", "metrics", "Metrics in Prometheus' text format."),
    ("GET", "/api/status", "status", "Flows, targets and store in numbers."),
    (
        "GET",
        "/api/messages",
        "messages",
        "A search: flow, state (repeatable), key, since, until, text, reason, step, version, before, limit.",
    ),
    ("GET", "/api/messages/{id}", "message", "One message's journey; flow."),
    ("GET", "/api/messages/{id}/body", "body", "The bytes of its body; flow, original."),
    (
        "POST",
        "/api/redrive",
        "redrive",
        "Dead letters taken up again at once: by, ids or search, body, map, version, rate, as_new, note.",
    ),
    ("POST", "/api/redrive/dry-run", "dry_run", "What the same order would send, and how that differs from before."),
    ("POST", "/api/redrives", "order_job", "The same order as a job, carried out part by part; 202."),
    ("GET", "/api/redrives", "jobs", "The jobs, newest first."),
    ("GET", "/api/redrives/{id}", "job", "One job, and how its messages fare."),
    ("POST", "/api/redrives/{id}", "change_job", "Pause, resume or cancel a job: by, action."),
    (
        "POST",
        "/api/deploy",
        "deploy",
        "The folder's text into the running server: by, plan, percent, keys, move, steps.",
    ),
    ("POST", "/api/promote", "promote", "All new messages of a flow get the version deployed last: by, flow."),
    ("POST", "/api/rollback", "rollback", "New messages of a flow get an older version: by, flow, version."),
    ("GET", "/api/approvals", "approvals", "What waits for a person's decision; flow."),
    ("POST", "/api/approve", "approve", "A decision: id, by, approve, comment, flow, step."),
    ("GET", "/api/versions/{flow}", "versions", "The versions of a flow, and how its messages fare on them."),
    ("GET", "/api/parked", "parked", "Keys that stand still behind a dead letter; flow."),
    ("POST", "/api/unpark", "unpark", "Let a parked key go on: by, flow, key, failed (redrive, discard, leave)."),
    ("POST", "/api/discard", "discard", "Dead letters that nobody will send on: by, reason, ids."),
    ("POST", "/api/backup", "backup", "Begin a backup: folder; answers 202 at once."),
    ("GET", "/api/backup", "backup_state", "How far the last backup is."),
    ("GET", "/api/connectors", "connectors", "The words a project may use."),
    ("GET", "/api/connectors/{name}", "connector", "One of them; kind."),
    ("POST", "/api/drain", "drain", "Finish what is under way and end; answers 202 at once."),
)


class Api:
    """The routes of one server. `drain` asks the server to finish and end; it returns at once."""

    def __init__(
        self, control: Control, health: Health, page: Page, vocabulary: Vocabulary, drain: Callable[[], None], log: Log,
        backups: Backups,
    ) -> None:  # fmt: skip
        self._control, self._health, self._page = control, health, page
        self._vocabulary, self._drain, self._log = vocabulary, drain, log
        self._backups = backups

    def app(self) -> Starlette:
        """The ASGI application; put a `Guard` around it."""
        routes = [Route(path, self._careful(getattr(self, name)), methods=[method]) for method, path, name, _ in ROUTES]
        return Starlette(routes=routes, exception_handlers={HTTPException: _http_problem})

    # --- health ----------------------------------------------------------------------------------------------------

    async def livez(self, request: Request) -> Response:
        return _health(self._health.live(), request)

    async def readyz(self, request: Request) -> Response:
        return _health(self._health.ready(), request)

    async def metrics(self, request: Request) -> Response:
        return Response(self._page.render(), media_type=CONTENT_TYPE)

    # --- the desk --------------------------------------------------------------------------------------------------

    async def status(self, request: Request) -> Response:
        status = self._control.status()
        ready = self._health.ready()
        status.ready, status.reasons = ready.ok, list(ready.reasons)
        return _json(status)

    async def messages(self, request: Request) -> Response:
        asked = request.query_params
        unknown = set(asked) - {"state", *Search.__struct_fields__} | set(asked) & {"states"}
        if unknown:
            raise Refused(f"unknown parameter '{min(unknown)}'", status=422, code="parameter")
        search = Search(
            flow=asked.get("flow", ""), states=asked.getlist("state"), key=asked.get("key"),
            since=_number(asked.get("since", "0"), "since"), until=_number(asked.get("until", "0"), "until"),
            text=asked.get("text", ""), before=asked.get("before", ""), reason=asked.get("reason", ""),
            step=asked.get("step", ""), version=_number(asked.get("version", "0"), "version"),
            limit=_number(asked.get("limit", "50"), "limit"),
        )  # fmt: skip
        return _json(await self._control.messages(search))

    async def message(self, request: Request) -> Response:
        return _json(await self._control.show(request.path_params["id"], request.query_params.get("flow", "")))

    async def body(self, request: Request) -> Response:
        asked = request.query_params
        original = asked.get("original", "") in ("1", "true")
        body = self._control.body(request.path_params["id"], asked.get("flow", ""), original)
        headers = {"x-content-type-options": "nosniff", "content-disposition": "attachment"}
        return Response(body, media_type="application/octet-stream", headers=headers)

    async def redrive(self, request: Request) -> Response:
        return _json(await self._control.redrive(await _order(request, RedriveOrder)))

    async def dry_run(self, request: Request) -> Response:
        return _json(await self._control.dry_run(await _order(request, RedriveOrder)))

    async def order_job(self, request: Request) -> Response:
        return _json(await self._control.jobs.order(await _order(request, RedriveOrder)), 202)

    async def jobs(self, request: Request) -> Response:
        return _json(self._control.jobs.lines())

    async def job(self, request: Request) -> Response:
        return _json(await self._control.jobs.show(request.path_params["id"]))

    async def change_job(self, request: Request) -> Response:
        order = await _order(request, JobOrder)
        return _json(await self._control.jobs.change(request.path_params["id"], order))

    async def deploy(self, request: Request) -> Response:
        return _json(await self._control.deploy(await _order(request, DeployOrder)))

    async def approvals(self, request: Request) -> Response:
        return _json(self._control.approvals(request.query_params.get("flow", "")))

    async def approve(self, request: Request) -> Response:
        return _json(await self._control.approve(await _order(request, ApprovalOrder)))

    async def promote(self, request: Request) -> Response:
        return _json(await self._control.promote(await _order(request, VersionOrder)))

    async def rollback(self, request: Request) -> Response:
        return _json(await self._control.rollback(await _order(request, VersionOrder)))

    async def versions(self, request: Request) -> Response:
        return _json(self._control.versions(request.path_params["flow"]))

    async def parked(self, request: Request) -> Response:
        return _json(self._control.parked(request.query_params.get("flow", "")))

    async def unpark(self, request: Request) -> Response:
        return _json(await self._control.unpark(await _order(request, UnparkOrder)))

    async def discard(self, request: Request) -> Response:
        return _json(await self._control.discard(await _order(request, DiscardOrder)))

    async def backup(self, request: Request) -> Response:
        return _json(self._backups.begin((await _order(request, BackupOrder)).folder), 202)

    async def backup_state(self, request: Request) -> Response:
        return _json(self._backups.state())

    async def connectors(self, request: Request) -> Response:
        return _json(self._vocabulary.all())

    async def connector(self, request: Request) -> Response:
        return _json(self._vocabulary.describe(request.path_params["name"], request.query_params.get("kind", "")))

    async def drain(self, request: Request) -> Response:
        self._drain()
        return _json({"draining": True}, 202)

    # --- errors ----------------------------------------------------------------------------------------------------

    def _careful(self, handler: Handler) -> Handler:
        @wraps(handler)
        async def careful(request: Request) -> Response:
            try:
                return await handler(request)
            except Refused as error:
                return _problem(error.status, error.code, error.message, error.detail)
            except Unavailable as error:
                answer = _problem(503, error.code, error.message)
                answer.headers["retry-after"] = str(max(1, round(error.after)))
                return answer
            except DovetailError as error:
                return _problem(503, error.code, error.message)
            except HTTPException:
                raise
            except Exception as error:
                self._log.error("admin_api_failed", path=request.url.path, error=repr(error))
                return _problem(500, "internal", "something went wrong here; the server's log has it")

        return careful


async def _order(request: Request, type: type[T]) -> T:
    """The order in a request's body. Raises `Refused`."""
    try:
        return msgspec.json.decode(await request.body(), type=type)
    except msgspec.ValidationError as error:
        raise Refused(str(error), status=422, code="order") from error
    except msgspec.DecodeError as error:
        raise Refused(f"not JSON: {error}", code="json") from error


def _json(value: Any, status: int = 200) -> Response:
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def _problem(status: int, code: str, detail: str, more: Any = None) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(problem(status, code, detail, more), status, headers, "application/problem+json")


async def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: ("not-found", f"there is nothing at {request.url.path}"), 405: ("method", "not with this method")}
    code, detail = words.get(error.status_code, ("request", error.detail))
    answer = _problem(error.status_code, code, detail)
    answer.headers.update(error.headers or {})
    return answer


def _health(answer: Answer, request: Request) -> Response:
    """Reasons only for those who showed the token."""
    known = answer if request.scope.get("trusted") else Answer(answer.ok)
    return _json(known, 200 if answer.ok else 503)


def _number(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise Refused(f"{name} must be a whole number, not '{text[:40]}'", status=422, code="parameter")
    return int(text)
