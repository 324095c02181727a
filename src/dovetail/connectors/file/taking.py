"""Taking one file: its messages are handed over, its bad rows kept, its progress remembered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dovetail.connectors.file.quarantine import Quarantine
from dovetail.connectors.file.reading import Opened, Records, codec_of, first_lines, whole
from dovetail.connectors.file.root import THREADS
from dovetail.sdk import (
    BadRecord,
    Connecting,
    CsvCodec,
    Deliver,
    Framed,
    Message,
    Position,
    Receipt,
    Refused,
    Rejected,
    hand_over,
)

Portion = list[tuple[int, Any]]


class Taking:
    """One file on its way in. `content` is its fingerprint: the id of a whole file, the partition of its rows.

    `accepted`, `repeated` (accepted before) and `bad` count its messages.
    """

    def __init__(self, file: Opened, name: str, content: str, context: Connecting, deliver: Deliver) -> None:
        self._file, self._name, self._content = file, shown(name), content
        self._context, self._deliver = context, deliver
        self.accepted = self.repeated = self.bad = 0

    async def whole(self, format: str, limit: int) -> None:
        """The file as one message. Raises `Rejected` when it is too long, or was refused and kept as a dead letter."""
        body = await THREADS.run(whole, self._file, limit)
        codecs = self._context.codecs
        codec = codec_of(codecs, self._name) if format == "whole" else codecs.by_name(format)
        message = Message(
            body, codec=codec, source="file", type="dovetail.file", subject=self._name,
            headers={"file-name": self._name}, time_ms=self._context.clock.now_ms(),
        )  # fmt: skip
        (receipt,) = await self._hand_over([message], [self._content], None)
        if receipt.error is not None:
            raise Rejected(f"refused, and kept as a dead letter: {receipt.error.message}")

    async def rows(self, config: Any, quarantine: Quarantine) -> None:
        """The file row by row, in portions; what lies before the remembered line was accepted before a restart.

        `config` is the source's. Raises `Rejected` for a file with too many bad rows, after its good ones were taken,
        and `CodecError` for one that has no rows at all.
        """
        codec = self._codec(config)
        mark = self._context.marked("reading")
        behind, self.bad = (mark[1], mark[2]) if mark and mark[0] == self._content else (0, 0)
        records = Records(self._file, codec, behind)
        while self.bad <= config.max_bad and (portion := await THREADS.run(records.portion, config.batch)):
            await self._portion(portion, codec, quarantine)
        if self.bad:
            await self._report(config, quarantine)
        if self.bad > config.max_bad:
            raise Rejected(f"more than {config.max_bad} bad rows; what comes behind them was not read")

    def _codec(self, config: Any) -> Framed:
        if config.format == "csv":
            codec: Framed = config.csv.codec()
            return codec
        found = self._context.codecs.by_name("text" if config.format == "lines" else config.format)
        assert isinstance(found, Framed)
        return found

    async def _portion(self, portion: Portion, codec: Framed, quarantine: Quarantine) -> None:
        messages = self._messages(portion)
        refusals = [self._refusal(value) for _, value in portion]
        positions = [Position(self._content, line, passing=True) for line, _ in portion]
        receipts = await self._hand_over(messages, None, refusals if any(refusals) else None, positions)
        rows = [
            {"line": line, "reason": receipt.error.message, "raw": _raw(codec, value)}
            for (line, value), receipt in zip(portion, receipts, strict=True)
            if receipt.error is not None
        ]
        if rows:
            await THREADS.run(quarantine.add, self._content, rows)
        self._context.mark("reading", [self._content, portion[-1][0], self.bad])

    def _messages(self, portion: Portion) -> list[Message]:
        """One for each row; a bad one has its text for a body, so that a person can mend it."""
        name, now, json = self._name, self._context.clock.now_ms(), self._context.codecs.by_name("json")
        messages: list[Message] = []
        for line, value in portion:
            headers = {"file-name": name, "file-line": str(line)}
            message = Message(
                None, value=value, codec=json, headers=headers, source="file", type="dovetail.file.row", subject=name,
                time_ms=now,
            )  # fmt: skip
            messages.append(message.with_body(value.raw.encode()) if isinstance(value, BadRecord) else message)
        return messages

    def _refusal(self, value: Any) -> Refused | None:
        return Refused(f"{self._name}: {value.error}", code="unreadable") if isinstance(value, BadRecord) else None

    async def _hand_over(
        self, messages: list[Message], ids: list[str] | None, refusals: list[Refused | None] | None,
        positions: list[Position] | None = None,
    ) -> list[Receipt]:  # fmt: skip
        receipts = await hand_over(self._deliver, messages, ids, refusals, positions)
        for receipt in receipts:
            if receipt.error is not None:
                self.bad += 1
            elif receipt.duplicate:
                self.repeated += 1
            else:
                self.accepted += 1
        return receipts

    async def _report(self, config: Any, quarantine: Quarantine) -> None:
        header, encoding = b"", "utf-8"
        if config.format == "csv":
            encoding = config.csv.encoding
            header = first_lines(self._file, config.csv.skip + 1) if config.csv.header else b""
        report = await THREADS.run(quarantine.finish, self._content, self._name, header, encoding)
        if report is not None:
            self._context.log.warning(
                "rows_quarantined", file=self._name, rows=report["rows"], count=len(report["bad"])
            )


def shown(name: str) -> str:
    """A file's name as text that anybody can store, even one whose bytes are no UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _raw(codec: Any, value: Any) -> str:
    """A row as it was, or one that was read well as text again."""
    if isinstance(value, BadRecord):
        return value.raw
    if codec.name == "csv":
        value = [list(value.values()) if isinstance(value, dict) else value]
        plain = CsvCodec(replace(codec.dialect, encoding="utf-8"))
        return plain.encode(value).decode().rstrip("\r\n")
    return str(codec.encode(value).decode(errors="replace")).rstrip("\r\n")
