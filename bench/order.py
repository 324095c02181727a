"""The message of every benchmark: an order of about 1 KB, its hand-written mapping, and the requests that carry it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

SECRET = "bench-secret"
SIGNATURE = "X-Shopify-Hmac-Sha256"
FIRST_ID = 1_000_000_000_000
ADDRESS = {"name": "Åsa Alder", "address1": "Market Street 7", "zip": "8000", "city": "Aarhus", "country_code": "DK"}
LINES = [
    {"id": 11, "sku": "MUG-WHT-350", "name": "Mug - White / 350 ml", "quantity": 2, "price": "12.90", "grams": 340},
    {"id": 12, "sku": "POT-CST-24", "name": "Cast iron pot - 24 cm", "quantity": 1, "price": "89.00", "grams": 4100},
    {"id": 13, "sku": "TWL-LIN-2", "name": "Linen towel - Set of 2", "quantity": 3, "price": "18.50", "grams": 220},
]
TEMPLATE = {
    "id": FIRST_ID,
    "customer": {"id": FIRST_ID, "email": "customer7@shop.example", "first_name": "Åsa", "last_name": "Alder"},
    "name": "#1007",
    "created_at": "2026-03-02T08:04:19+00:00",
    "currency": "EUR",
    "financial_status": "paid",
    "total_price": "170.30",
    "total_tax": "27.19",
    "subtotal_price": "170.30",
    "total_discounts": "0.00",
    "note": "Please ring twice",
    "source_name": "web",
    "tax_lines": [{"title": "VAT", "price": "27.19", "rate": 0.19}],
    "line_items": LINES,
    "billing_address": ADDRESS,
    "shipping_address": ADDRESS,
}
_PARTS = json.dumps(TEMPLATE, ensure_ascii=False, separators=(",", ":")).encode().split(str(FIRST_ID).encode())


def body(number: int) -> bytes:
    """The order with this running number; every one has its own customer, so that no two wait for each other."""
    return str(FIRST_ID + number).encode().join(_PARTS)


def sign(content: bytes) -> bytes:
    """The signature header's value for a body."""
    return base64.b64encode(hmac.digest(SECRET.encode(), content, hashlib.sha256))


def request(number: int, host: str, path: str) -> bytes:
    """The whole signed POST of an order."""
    content = body(number)
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{SIGNATURE}: "
    return b"%s%s\r\nContent-Length: %d\r\n\r\n%s" % (head.encode(), sign(content), len(content), content)


def map_order(order: dict[str, Any]) -> dict[str, Any]:
    """What bench/project/maps/order.jsonata says, written by hand in Python."""
    customer, address = order["customer"], order["shipping_address"]
    return {
        "reference": str(order["id"]),
        "name": order["name"],
        "placed_at": order["created_at"],
        "customer": {
            "id": str(customer["id"]),
            "name": customer["first_name"] + " " + customer["last_name"],
            "email": customer["email"],
        },
        "ship_to": {
            "name": address["name"],
            "street": address["address1"],
            "postcode": address["zip"],
            "city": address["city"],
            "country": address["country_code"],
        },
        "currency": order["currency"],
        "total": order["total_price"],
        "tax": order["total_tax"],
        "lines": [
            {"sku": line["sku"], "text": line["name"], "quantity": line["quantity"], "unit_price": line["price"]}
            for line in order["line_items"]
        ],
    }
