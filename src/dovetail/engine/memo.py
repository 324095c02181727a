"""What the engine must not forget about a message: its effects and its attempts. Kept in the message's row of
progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from dovetail.sdk import Message

EffectState = Literal["intended", "done", "in_doubt", "failed", "compensated"]


class Effect(msgspec.Struct, array_like=True):
    """One call of one step on an outside system. `body` is the answer's bytes in `codec`, `request` a hash of what was
    sent, `branch` the branches and rounds that the step is in. `refusal`: the code of the target's no, which stands
    until the message is a dead letter and somebody takes it up again. `unsafe`: its outcome is not known, and it cannot
    simply be made again. `headers`: those of the answer that are kept.
    """

    step: str
    target: str
    state: EffectState
    attempt: int
    at: int
    request: bytes = b""
    status: int = 0
    codec: str = ""
    body: bytes = b""
    message: str = ""
    branch: str = ""
    refusal: str = ""
    unsafe: bool = False
    headers: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def place(self) -> str:
        """Its step, with the branches and rounds that it is in."""
        return f"{self.branch}/{self.step}" if self.branch else self.step


class Attempt(msgspec.Struct, array_like=True):
    """One failed attempt: when, where, what kind of error, in whose words, under which flow version."""

    number: int
    at: int
    step: str
    code: str
    message: str
    detail: object = None
    version: int = 0


class Undo(msgspec.Struct, array_like=True):
    """What undoes one effect: the operation (`connection.operation`) and its whole request, `args` as JSON.
    `problem` says why there is no request."""

    step: str
    branch: str
    operation: str
    args: bytes = b""
    body: bytes = b""
    codec: str = ""
    content_type: str = ""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    timeout: float | None = None
    problem: str = ""


class Undoing(msgspec.Struct, array_like=True):
    """The message goes backwards: why, and since when."""

    reason: str
    at: int


class Memo(msgspec.Struct, array_like=True):
    """`effects` by effect key. `version`: the flow version it was moved to by a redrive (0: as accepted). `crashes`:
    how often it was in flight when the process died, since it last survived a run; `deaths`: in all. `undo` by the key
    of what it undoes, in the order in which that was done. `pivots`: effects after which nothing is undone, and whether
    they are done; those not done are in doubt.
    """

    effects: dict[str, Effect] = msgspec.field(default_factory=dict)
    history: list[Attempt] = msgspec.field(default_factory=list)
    version: int = 0
    crashes: int = 0
    redriven: int = 0
    first_try_at: int = 0
    sleep: float = 0.0
    undo: dict[str, Undo] = msgspec.field(default_factory=dict)
    pivots: dict[str, bool] = msgspec.field(default_factory=dict)
    undoing: Undoing | None = None
    deaths: int = 0


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Memo)


def pack(memo: Memo) -> bytes:
    """The memo as bytes for the store."""
    return _encoder.encode(memo)


def unpack(data: bytes) -> Memo:
    """The memo a row holds; an empty row has an empty memo."""
    return _decoder.decode(data) if data else Memo()


FORGOTTEN = "-"  # the codec of an answer that is no longer kept


def forget_answers(data: bytes) -> bytes:
    """A memo without what targets answered; that they did, and how, stays."""
    memo = unpack(data)
    full = [effect for effect in memo.effects.values() if effect.body or effect.headers]
    for effect in full:
        effect.body, effect.codec, effect.headers = b"", FORGOTTEN, {}
    return pack(memo) if full else data


MOST_HEADERS = 4096  # bytes of an answer's headers that are kept
_NOT_KEPT = frozenset((
    "age", "alt-svc", "connection", "content-length", "content-type", "date", "keep-alive", "server", "set-cookie",
    "transfer-encoding", "vary", "via",
))  # fmt: skip


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of an answer that are kept with it, in their order as far as they fit: not those about the connection
    and the format (the codec is kept), nor cookies, which are secrets."""
    found: dict[str, str] = {}
    left = MOST_HEADERS
    for name, value in headers.items():
        if name.lower() in _NOT_KEPT:
            continue
        left -= len(name) + len(value)
        if left < 0:
            break
        found[readable(name)] = readable(value)
    return found


class Meta(msgspec.Struct, array_like=True):
    """A journal entry's attributes, packed: CloudEvents attributes, headers, and the codec its bytes are in."""

    source: str
    type: str
    codec: str
    content_type: str
    headers: dict[str, str]
    subject: str | None = None
    trace: str | None = None
    parent: str | None = None
    index: int = 0
    variables: bytes = b""
    owner: int = 0  # of a part, or of what a step emitted: the flow that made it
    emitted: str = ""  # the step that made it of what it remembered; it comes to that step first
    members: list[int] = msgspec.field(default_factory=list)  # and what it was made of: journal numbers
    origin: str = ""  # what its effects are named by, when it is not its id
    sound: bool = False  # its codec has read or written the bytes before


_meta_decoder = msgspec.msgpack.Decoder(Meta)


def pack_meta(meta: Meta) -> bytes:
    """The attributes as bytes for the store."""
    return _encoder.encode(meta)


def meta_of(
    message: Message, *, parent: str | None = None, index: int = 0, variables: bytes = b"", owner: int = 0,
    origin: str = "",
) -> Meta:  # fmt: skip
    """A message's attributes for the journal; `variables` is what it remembers, as JSON."""
    return Meta(
        source=message.source, type=message.type, codec=message.codec.name, content_type=message.content_type,
        headers=message.headers, subject=message.subject, trace=message.trace, parent=parent, index=index,
        variables=variables, owner=owner, origin=origin, sound=message.sound,
    )  # fmt: skip


def unpack_meta(data: bytes) -> Meta:
    """The attributes an entry holds."""
    return _meta_decoder.decode(data)


def message_id(uid: str, seq: int) -> str:
    """A message's name: the store's own mark and the journal number, so that it needs no index and no other store
    makes it."""
    return f"{uid}-{seq:x}"


def parse_message_id(uid: str, text: str) -> int:
    """The journal number of a name (or of its short form, the part behind the dash). Raises ValueError for another
    store's."""
    prefix, dash, number = text.rpartition("-")
    if dash and prefix != uid:
        raise ValueError(f"message {text!r} belongs to another store (this one's ids begin with {uid}-)")
    return int(number, 16)


def readable(text: str) -> str:
    """The text as it can be written: halves of characters (from file names, say) become question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def plain(detail: object, depth: int = 8) -> object:
    """A detail that the memo can keep: plain data, or its text."""
    if detail is None or isinstance(detail, (bool, float)):
        return detail
    if isinstance(detail, int):
        return detail if -(2**63) <= detail < 2**63 else str(detail)
    if isinstance(detail, dict) and depth:
        return {readable(str(key)): plain(value, depth - 1) for key, value in list(detail.items())[:50]}
    if isinstance(detail, (list, tuple)) and depth:
        return [plain(value, depth - 1) for value in detail[:50]]
    return readable(str(detail)[:2000])
