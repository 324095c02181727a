"""The shop: takes orders and tells a webhook about each, signed and retried as Shopify does.

Its operator talks to the control port: ``POST /campaign`` places orders (see :class:`Campaign` for the knobs) and
``GET /progress`` counts what became of the deliveries. The database keeps every order and every delivery, with the
answer each one got in the end.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from base import Offers, Refused, Reply, Request, System, main
from client import Client
from orders import make_order, order_number

ATTEMPTS = 9  # the first one and eight retries
JUNK = ("malformed", "contract", "signature", "conflict")


@dataclass(slots=True)
class Campaign:
    """How many orders to place, and how badly to deliver them."""

    orders: int = 2000
    seed: int = 7
    twice: float = 0.05  # this share is delivered a second time
    junk: float = 0.01  # this share is junk of the four kinds
    rate: float = 200.0  # orders a second
    workers: int = 16  # deliveries under way at once
    retry_s: float = 0.25  # first wait after a failed delivery; it doubles up to 8 times that
    timeout_s: float = 5.0  # a delivery not answered by then has failed

    @classmethod
    def read(cls, values: object) -> Campaign:
        """Build from decoded JSON; raises :class:`Refused` (400) for an unknown knob or no number."""
        if not isinstance(values, dict):
            raise Refused(400, "a campaign is an object")
        names = [knob.name for knob in fields(cls)]
        for name, value in values.items():
            if name not in names or not isinstance(value, int | float):
                raise Refused(
                    400, f"{name}: {value!r} is not understood; the knobs are {', '.join(names)}, all numbers"
                )
        return cls(**values)


@dataclass(slots=True)
class Delivery:
    """One webhook on its way."""

    number: int
    order_id: int
    kind: str
    body: bytes
    webhook_id: str
    signed: bool = True
    attempts: int = 0


class Shop(System):
    """The shop of the shop example."""

    name = "shop"
    schema = """
    CREATE TABLE IF NOT EXISTS orders (
        id INTEGER PRIMARY KEY, name TEXT, financial_status TEXT, currency TEXT, total TEXT, genuine INTEGER);
    CREATE TABLE IF NOT EXISTS deliveries (
        number INTEGER PRIMARY KEY, order_id INTEGER, kind TEXT, body_hash TEXT, attempts INTEGER DEFAULT 0,
        status INTEGER, answer TEXT, finished INTEGER DEFAULT 0);
    CREATE INDEX IF NOT EXISTS by_order ON deliveries (order_id);
    """

    def __init__(self, database: Path, token: str = "", seed: int = 1) -> None:
        super().__init__(database, token, seed)
        self.webhook = os.environ["SHOP_WEBHOOK_URL"]
        self.secret = os.environ["SHOP_WEBHOOK_SECRET"].encode()
        self.planned = 0
        self.running: set[asyncio.Task[None]] = set()
        self.answered: dict[int, asyncio.Event] = {}

    def commands(self) -> Offers:
        return (("POST", "/campaign", self.start), ("GET", "/progress", self.progress))

    def start(self, request: Request) -> Reply:
        campaign = Campaign.read(request.json() if request.body else {})
        last = self.db.execute("SELECT max(id) FROM orders").get
        task = asyncio.create_task(self.run_campaign(campaign, order_number(last) if last else 0))
        self.running.add(task)
        task.add_done_callback(self.running.discard)
        return Reply(202, {"orders": campaign.orders})

    def progress(self, _request: Request) -> Reply:
        finished, attempts = self.db.execute("SELECT coalesce(sum(finished), 0), sum(attempts) FROM deliveries").get
        answers = self.db.execute(
            "SELECT coalesce(status, 'none'), count(*) FROM deliveries WHERE finished GROUP BY status"
        ).fetchall()
        counts = {str(status): count for status, count in answers}
        document = {"planned": self.planned, "finished": finished, "attempts": attempts, "answers": counts}
        return Reply(200, {**document, "busy": bool(self.running)})

    async def run_campaign(self, campaign: Campaign, already: int) -> None:
        """Place the orders at the campaign's rate and wait until every delivery has ended."""
        queue: asyncio.Queue[Delivery] = asyncio.Queue()
        workers = [asyncio.create_task(self.work(queue, campaign)) for _ in range(campaign.workers)]
        loop = asyncio.get_running_loop()
        begun, late = loop.time(), []
        for place, delivery in enumerate(plan(campaign, already)):
            self.note_planned(delivery)
            if delivery.kind == "conflict":
                late.append(asyncio.create_task(self.after_original(delivery, queue)))
            else:
                await asyncio.sleep(begun + place / campaign.rate - loop.time())
                queue.put_nowait(delivery)
        await asyncio.gather(*late)
        await queue.join()
        for worker in workers:
            worker.cancel()

    def note_planned(self, delivery: Delivery) -> None:
        """Write the order and its delivery down before anything is sent."""
        self.planned += 1
        self.answered.setdefault(delivery.order_id, asyncio.Event())
        digest = hashlib.sha256(delivery.body).hexdigest()
        with self.db:
            if delivery.kind == "first" or (delivery.kind in JUNK and delivery.kind != "conflict"):
                order = json.loads(delivery.body) if delivery.kind == "first" else {}
                names = ("name", "financial_status", "currency", "total_price")
                values = (delivery.order_id, *(order.get(name) for name in names), delivery.kind == "first")
                self.db.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)", values)
            delivery.number = self.db.execute(
                "INSERT INTO deliveries (order_id, kind, body_hash) VALUES (?, ?, ?) RETURNING number",
                (delivery.order_id, delivery.kind, digest),
            ).get

    async def after_original(self, delivery: Delivery, queue: asyncio.Queue[Delivery]) -> None:
        """A conflicting body is sent once the genuine order was answered: before, it would be the genuine one."""
        await self.answered[delivery.order_id].wait()
        queue.put_nowait(delivery)

    async def work(self, queue: asyncio.Queue[Delivery], campaign: Campaign) -> None:
        client = Client(self.webhook)
        loop = asyncio.get_running_loop()
        while True:
            delivery = await queue.get()
            again = await self.attempt(client, delivery, campaign.timeout_s)
            if again:
                wait = campaign.retry_s * min(8, 2 ** (delivery.attempts - 1)) * random.uniform(0.8, 1.2)
                loop.call_later(wait, self.requeue, queue, delivery)
            else:
                self.answered[delivery.order_id].set()
                queue.task_done()

    @staticmethod
    def requeue(queue: asyncio.Queue[Delivery], delivery: Delivery) -> None:
        queue.put_nowait(delivery)
        queue.task_done()

    async def attempt(self, client: Client, delivery: Delivery, within: float) -> bool:
        """Send once and write the answer down; says whether to send again (anything but 2xx, as Shopify does)."""
        delivery.attempts += 1
        try:
            status, answer = await client.post(delivery.body, self.headers(delivery), within)
        except OSError as error:
            status, answer = None, f"{type(error).__name__}: {error}".encode()
        done = status is not None and 200 <= status < 300
        finished = done or delivery.attempts == ATTEMPTS
        self.db.execute(
            "UPDATE deliveries SET attempts = ?, status = ?, answer = ?, finished = ? WHERE number = ?",
            (delivery.attempts, status, answer[:4000].decode("utf-8", "replace"), finished, delivery.number),
        )
        return not finished

    def headers(self, delivery: Delivery) -> dict[str, str]:
        secret = self.secret if delivery.signed else b"not the secret"
        signature = base64.b64encode(hmac.digest(secret, delivery.body, "sha256")).decode()
        return {
            "Content-Type": "application/json",
            "User-Agent": "Shop-Captain-Hook",
            "X-Shopify-Topic": "orders/create",
            "X-Shopify-Hmac-Sha256": signature,
            "X-Shopify-Shop-Domain": "kitchen.myshopify.example",
            "X-Shopify-API-Version": "2026-01",
            "X-Shopify-Webhook-Id": delivery.webhook_id,
        }


def plan(campaign: Campaign, already: int) -> Iterator[Delivery]:
    """Every delivery of a campaign in the order of sending; second deliveries follow at once or 40 orders later."""
    chance = random.Random(campaign.seed)
    numbers = range(already + 1, already + campaign.orders + 1)
    junk = set(chance.sample(numbers, round(campaign.orders * campaign.junk)))
    genuine = [number for number in numbers if number not in junk]
    twice = set(chance.sample(genuine, round(campaign.orders * campaign.twice)))
    kinds = {number: JUNK[place % len(JUNK)] for place, number in enumerate(sorted(junk))}
    waiting: list[tuple[int, Delivery]] = []
    sent: list[dict[str, Any]] = []
    for number in numbers:
        order = make_order(number, campaign.seed)
        if number in junk:
            yield make_junk(kinds[number], order, sent)
            continue
        sent.append(order)
        first = Delivery(0, order["id"], "first", encode(order), f"wh-{campaign.seed}-{number}")
        yield first
        if number in twice:
            again = Delivery(0, first.order_id, "again", first.body, first.webhook_id)
            if chance.random() < 0.5:
                yield again
            else:
                waiting.append((number + 40, again))
        while waiting and waiting[0][0] <= number:
            yield waiting.pop(0)[1]
    yield from (again for _place, again in waiting)


def make_junk(kind: str, order: dict[str, Any], sent: list[dict[str, Any]]) -> Delivery:
    """A delivery that must never become an invoice. It looks paid, so that only the check it offends can stop it."""
    order["financial_status"] = "paid"
    body = encode(order)
    webhook_id = f"wh-junk-{order['number']}"
    if kind == "malformed":
        return Delivery(0, order["id"], kind, body[: len(body) // 2], webhook_id)
    if kind == "signature":
        return Delivery(0, order["id"], kind, body, webhook_id, signed=False)
    if kind == "contract" or not sent:
        order["line_items"] = [
            {**line, "quantity": str(line["quantity"]), "price": None} for line in order["line_items"]
        ]
        return Delivery(0, order["id"], "contract", encode(order), webhook_id)
    original = sent[len(sent) // 2]
    return Delivery(0, original["id"], kind, encode({**original, "total_price": "0.01"}), webhook_id)


def encode(order: dict[str, Any]) -> bytes:
    """The bytes a webhook carries."""
    return json.dumps(order, ensure_ascii=False, separators=(",", ":")).encode()


if __name__ == "__main__":
    main(Shop)
