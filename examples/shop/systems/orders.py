"""Makes orders in the shape Shopify publishes for its order webhooks. The same seed makes the same orders."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

OPENED = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
FIRST_ID = 5_901_000_000_000
TAX_RATE = Decimal("0.19")
# what share of orders is in which state when the shop tells about them
STATES = {"paid": 72, "pending": 12, "authorized": 8, "refunded": 4, "partially_paid": 2, "voided": 2}
PRODUCTS = [  # sku, title, variant, cents, grams
    ("MUG-WHT-350", "Mug", "White / 350 ml", 1290, 340),
    ("MUG-BLU-350", "Mug", "Blue / 350 ml", 1290, 340),
    ("POT-CST-24", "Cast iron pot", "24 cm", 8900, 4100),
    ("PAN-STL-28", "Steel pan", "28 cm", 5450, 1600),
    ("KNF-CHF-20", "Chef's knife", "20 cm", 6995, 260),
    ("BRD-OAK-L", "Cutting board", "Oak / L", 3900, 1900),
    ("GLS-WIN-6", "Wine glasses", "Set of 6", 4200, 1150),
    ("TWL-LIN-2", "Linen towel", "Set of 2", 1850, 220),
    ("KTL-ENM-RED", "Enamel kettle", "Red", 4990, 1250),
    ("SPN-BCH-5", "Beech spoons", "Set of 5", 1475, 180),
    ("BWL-CRM-18", "Crème bowl", "18 cm", 1990, 520),
    ("JAR-GLS-1L", "Storage jar", "1 l", 850, 610),
]
GIVEN = ["Åsa", "Bruno", "Chloé", "Dilek", "Emma", "Frode", "Grażyna", "Hugo", "Inés", "Jürgen", "Kenji", "Łucja"]
FAMILY = ["Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Ginkgo", "Hazel", "Ilex", "Juniper", "Kauri", "Larch"]
CITIES = [("Aarhus", "DK", "8000"), ("Bologna", "IT", "40121"), ("Köln", "DE", "50667"), ("Malmö", "SE", "21119")]


def money(amount: Decimal) -> str:
    """An amount as Shopify writes it: text with two decimals."""
    return str(amount.quantize(Decimal("0.01")))


def order_id(number: int) -> int:
    """The shop's id of the order with this running number."""
    return FIRST_ID + number * 1024


def order_number(identity: int) -> int:
    """The running number back from the id."""
    return (identity - FIRST_ID) // 1024


def make_order(number: int, seed: int) -> dict[str, Any]:
    """The order with this running number, starting at 1."""
    chance = random.Random(f"{seed}/{number}")
    created = (OPENED + timedelta(seconds=37 * number)).isoformat()
    lines = [make_line(chance, number, position) for position in range(chance.choice([1, 1, 1, 2, 2, 3, 5]))]
    subtotal = sum((Decimal(line["price"]) * line["quantity"] for line in lines), Decimal(0))
    discount = (subtotal / 10).quantize(Decimal("0.01")) if chance.random() < 0.15 else Decimal(0)
    shipping = Decimal("0.00") if subtotal > 100 else Decimal("4.90")
    total = subtotal - discount + shipping
    tax = total - total / (1 + TAX_RATE)
    customer, address = make_customer(chance)
    return {
        "id": order_id(number),
        "admin_graphql_api_id": f"gid://shopify/Order/{order_id(number)}",
        "name": f"#{1000 + number}",
        "number": number,
        "order_number": 1000 + number,
        "created_at": created,
        "updated_at": created,
        "processed_at": created,
        "cancelled_at": None,
        "closed_at": None,
        "confirmed": True,
        "test": False,
        "currency": "EUR",
        "email": customer["email"],
        "financial_status": chance.choices(list(STATES), list(STATES.values()))[0],
        "fulfillment_status": None,
        "note": chance.choice([None, None, None, "Please ring twice", 'Geschenk – "nicht öffnen"']),
        "source_name": "web",
        "taxes_included": True,
        "subtotal_price": money(subtotal - discount),
        "total_line_items_price": money(subtotal),
        "total_discounts": money(discount),
        "total_tax": money(tax),
        "total_price": money(total),
        "total_weight": sum(line["grams"] * line["quantity"] for line in lines),
        "discount_codes": [{"code": "SPRING10", "amount": money(discount), "type": "percentage"}] if discount else [],
        "tax_lines": [{"title": "VAT", "price": money(tax), "rate": float(TAX_RATE)}],
        "shipping_lines": [{"title": "Standard", "code": "STD", "price": money(shipping), "source": "shopify"}],
        "line_items": lines,
        "customer": customer,
        "billing_address": address,
        "shipping_address": address,
        "fulfillments": [],
        "refunds": [],
    }


def make_line(chance: random.Random, number: int, position: int) -> dict[str, Any]:
    """One line item."""
    index = chance.randrange(len(PRODUCTS))
    sku, title, variant, cents, grams = PRODUCTS[index]
    return {
        "id": FIRST_ID * 2 + number * 8 + position,
        "product_id": 7_700_000_000 + index,
        "variant_id": 42_700_000_000 + index,
        "sku": sku,
        "title": title,
        "variant_title": variant,
        "name": f"{title} - {variant}",
        "quantity": chance.choice([1, 1, 1, 2, 3, 6]),
        "price": money(Decimal(cents) / 100),
        "total_discount": "0.00",
        "grams": grams,
        "requires_shipping": True,
        "taxable": True,
        "fulfillment_service": "manual",
        "fulfillment_status": None,
        "product_exists": True,
        "properties": [],
    }


def make_customer(chance: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """One of some three hundred customers, and the address."""
    index = chance.randrange(300)
    given, family = GIVEN[index % len(GIVEN)], FAMILY[index // len(GIVEN) % len(FAMILY)]
    city, country, postcode = CITIES[index % len(CITIES)]
    customer = {
        "id": 6_600_000_000_000 + index,
        "email": f"customer{index}@shop.example",
        "first_name": given,
        "last_name": family,
        "state": "enabled",
        "verified_email": True,
        "tags": "",
        "currency": "EUR",
    }
    address = {
        "first_name": given,
        "last_name": family,
        "name": f"{given} {family}",
        "company": None,
        "address1": f"Market Street {index}",
        "address2": None,
        "city": city,
        "zip": postcode,
        "province": None,
        "country_code": country,
        "phone": None,
    }
    return customer, address
