"""A flow's door on the shared HTTP listener.

Delivery: a caller gets 202 only after its message stands in a flushed transaction; one that is sent again under the
same name is answered 200 with the first one's id. Any other answer is a problem document (RFC 9457): nothing was kept.
Limits: `max_body`, also for what a packed body unpacks to; one message a request.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

from dovetail.connectors.http import cloudevents
from dovetail.connectors.http.unpack import unpack
from dovetail.connectors.http.verify import Verification
from dovetail.sdk import (
    Codec,
    CodecError,
    Connecting,
    Deliver,
    Delivery,
    Duration,
    Message,
    Receipt,
    Refused,
    Rejected,
    Request,
    Respond,
    Size,
    Source,
    Spec,
    Threads,
    Unavailable,
    field,
)

_LARGE = 256 << 10  # bodies over this many bytes are read beside the event loop
THREADS = Threads(2)
_SWEEP = 0.25  # seconds between two looks at the callers who wait
PROBLEM = "application/problem+json"

# Said about one connection or one sender, and nothing to a flow; credentials never become part of a message.
_DROPPED = frozenset(
    {
        "accept", "accept-encoding", "authorization", "connection", "content-encoding", "content-length", "cookie",
        "expect", "host", "http2-settings", "keep-alive", "proxy-authorization", "set-cookie", "te", "traceparent",
        "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


class Config(Spec):
    """Settings of a webhook."""

    path: str = field(
        help="The path on the listener.",
        main=True,
        kind="route",
        pattern="/|(/[^/?#\\s]+)+",
        example="/hooks/shop/orders",
    )
    verify: Verification | None = field(
        help="How the sender proves itself. Without it, whoever reaches the path may send.", default=None,
        example="{github: {secret: ${secret:github_webhook}}}",
    )  # fmt: skip
    methods: list[Literal["POST", "PUT", "PATCH", "DELETE", "GET"]] = field(
        help="The methods that are taken.", default=["POST"], min=1
    )
    max_body: Size = field(help="The largest body, packed and unpacked.", default="1MB", min="1B", max="1GB")
    reply: Literal["accepted", "wait"] = field(
        help="Answer as soon as the message is safe (accepted), or wait for what the flow answers.", default="accepted"
    )
    timeout: Duration = field(help="How long a caller waits for the flow's answer.", default="30s", min="1s")
    format: str = field(
        help="The format of the body: auto goes by its Content-Type, a name overrides that.", default="auto",
        kind="format", example="json",
    )  # fmt: skip


class WebhookSource(Source):
    """Messages come as HTTP requests; each is answered when its fate at the door is known."""

    Config = Config
    replies = True

    def __init__(self, config: Any, flow: str) -> None:
        super().__init__(config, flow)
        self._deliver: Deliver | None = None
        self._codec: Codec | None = None
        self._waits = config.reply == "wait"
        self._waiting: dict[int, tuple[float, Respond, Message]] = {}
        self._next = 0
        self._dropped = _DROPPED | config.verify.private() if config.verify else _DROPPED
        self._keys = config.verify.keys() if config.verify else []
        self._mounted: list[str] = []
        self._large: set[asyncio.Future[None]] = set()

    @classmethod
    def traps(cls, config: Any) -> Iterable[tuple[str, str, str]]:
        if config.verify is None:
            hint = "write verify: {bearer: ${secret:name}}, another scheme, or verify: {open: why} if that is meant"
            yield "path", "whoever reaches this path may send: it has no 'verify'", hint

    @classmethod
    def nameless(cls, config: Any) -> bool:
        return config.verify is None or not config.verify.names()

    async def open(self, context: Connecting) -> None:
        """Take the path. Raises ValueError when another flow has it, KeyError for a format nobody knows."""
        self._context = context
        config = self.config
        self._codec = None if config.format == "auto" else context.codecs.by_name(config.format)
        for method in dict.fromkeys(config.methods):
            context.routes.add(method, config.path, self._receive, max_body=config.max_body)
            self._mounted.append(method)

    async def run(self, deliver: Deliver) -> None:
        """Deliver until cancelled; meanwhile tell those who waited for too long."""
        self._deliver = deliver
        try:
            while True:
                await asyncio.sleep(_SWEEP)
                self._expire()
        finally:
            self._deliver = None

    async def close(self) -> None:
        """Give the path back."""
        while self._mounted:
            self._context.routes.remove(self._mounted.pop(), self.config.path)

    # -- a request comes in --------------------------------------------------------------------------------------

    def _receive(self, request: Request) -> None:
        if len(request.body) > _LARGE:
            task = asyncio.ensure_future(self._receive_large(request))
            self._large.add(task)
            task.add_done_callback(self._large.discard)
            return
        self._take(request.respond, partial(self._message, request))

    async def _receive_large(self, request: Request) -> None:
        """Proving, unpacking and reading a large body would hold up everybody else's requests."""
        reading = asyncio.ensure_future(THREADS.run(self._message, request))
        await asyncio.wait([reading])
        self._take(request.respond, reading.result)

    def _take(self, respond: Respond, read: Callable[[], tuple[Message, str | None]]) -> None:
        try:
            message, name = read()
            challenge = self.config.verify.challenged(message.value) if self.config.verify else None
            if challenge is not None:
                respond(200, challenge)
                return
            if self._deliver is None:
                raise Unavailable(f"the flow {self.flow} is not running")
            settle = self._wait(message, respond) if self._waits else partial(_settle, respond)
            dedupe = None if name is None else [name]
            self._deliver(Delivery([message], settle, wait_for_reply=self._waits, dedupe=dedupe))
        except Refused as error:
            self._refuse(respond, error)
        except Unavailable as error:
            _unavailable(respond, error)

    def _message(self, request: Request) -> tuple[Message, str | None]:
        """The message of a request and the sender's name for it. Raises `Refused`."""
        headers, body, context, verify = request.headers, request.body, self._context, self.config.verify
        name: str | None = None
        now = context.clock.now_ms()
        if verify is not None:
            verify.prove(headers, body, now, self._keys)
            name = verify.delivery_id(headers)
        if "content-encoding" in headers:
            body = unpack(body, headers["content-encoding"], self.config.max_body)
        kind = headers.get("content-type")
        codec = self._codec or context.codecs.for_content_type(kind)
        dropped = self._dropped
        message = Message(
            body, codec=codec, content_type=kind, source=request.path, time_ms=now,
            headers={name: value for name, value in headers.items() if name not in dropped},
        )  # fmt: skip
        trace = headers.get("traceparent")
        if trace is not None and _TRACEPARENT.fullmatch(trace):
            message.trace = trace
        event = None
        if "ce-specversion" in headers:
            message, event = cloudevents.binary(message, headers)
        elif kind is not None and kind.partition(";")[0].strip().lower() == cloudevents.STRUCTURED:
            message, event = cloudevents.structured(_read(message), message, context.codecs)
        _read(message)
        return message, name or event

    def _refuse(self, respond: Respond, error: Refused) -> None:
        headers = None
        if error.status == 401:
            self._context.log.warning("webhook.unauthorized", flow=self.flow, path=self.config.path, code=error.code)
            headers = {"WWW-Authenticate": self.config.verify.challenge} if self.config.verify else None
        _problem(respond, error.status, error.code, error.message, headers, detail=error.detail)

    # -- a caller waits for the flow's answer ----------------------------------------------------------------------

    def _wait(self, message: Message, respond: Respond) -> Any:
        self._next = number = self._next + 1
        self._waiting[number] = (self._context.clock.monotonic() + self.config.timeout, respond, message)
        return partial(self._answer, number)

    def _answer(self, number: int, receipts: list[Receipt]) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            return  # it was told that the time is over; the message went its way
        respond, receipt = waiting[1], receipts[0]
        if receipt.reply is None:
            _settle(respond, receipts)
            return
        try:
            body = receipt.reply.body
        except Rejected as error:
            _problem(respond, 500, "reply_unwritable", f"the flow's answer cannot be written: {error.message}")
        else:
            respond(receipt.status, body, receipt.reply.content_type, receipt.reply.headers)

    def _expire(self) -> None:
        now = self._context.clock.monotonic()
        while self._waiting:  # in the order of their deadlines, because all wait equally long
            number, (deadline, respond, message) = next(iter(self._waiting.items()))
            if deadline > now:
                return
            del self._waiting[number]
            text = f"the flow gave no answer within {self.config.timeout}; the message goes on"
            _problem(respond, 504, "reply_timeout", text, id=message.id or None)


def _read(message: Message) -> Any:
    try:
        return message.value
    except CodecError as error:
        place = {name: at for name, at in (("line", error.line), ("column", error.column)) if at}
        raise Refused(error.message, status=400, code="unreadable", detail=place) from None
    except Rejected as error:
        raise Refused(error.message, status=400, code="unreadable", detail=error.detail) from None


def _settle(respond: Respond, receipts: list[Receipt]) -> None:
    receipt = receipts[0]
    error = receipt.error
    if error is None:
        if receipt.duplicate:
            respond(200, b'{"id":"%b","duplicate":true}' % receipt.id.encode())
        else:
            respond(202, b'{"id":"%b"}' % receipt.id.encode())
    elif isinstance(error, Unavailable):
        _unavailable(respond, error)
    else:
        _problem(respond, error.status, error.code, error.message, detail=error.detail, id=receipt.id or None)


def _unavailable(respond: Respond, error: Unavailable) -> None:
    after = {"Retry-After": str(max(1, math.ceil(error.after)))}
    _problem(respond, 503, error.code, error.message, after)


def _problem(
    respond: Respond, status: int, code: str, text: str, headers: dict[str, str] | None = None, *,
    detail: Any = None, id: str | None = None,
) -> None:  # fmt: skip
    """Answer with a problem document; what is known in detail stands beside the text, in members of its own."""
    document: dict[str, Any] = dict(detail) if isinstance(detail, dict) else {"errors": detail} if detail else {}
    document |= {"status": status, "code": code, "detail": text}
    if id is not None:
        document["id"] = id
    respond(status, json.dumps(document, default=str).encode(), PROBLEM, headers)
