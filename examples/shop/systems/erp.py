"""The ERP: keeps sales orders. ``POST /sales-orders`` creates one; ``GET`` finds it by number or by our reference."""

from __future__ import annotations

from base import Offers, Refused, Reply, Request, System, main, rows, text

SELECT = "SELECT number, reference, total FROM sales_orders WHERE"


class Erp(System):
    """The ERP of the shop example."""

    name = "erp"
    schema = """
    CREATE TABLE IF NOT EXISTS sales_orders (
        number INTEGER PRIMARY KEY, reference TEXT NOT NULL, customer TEXT NOT NULL, currency TEXT NOT NULL,
        total TEXT NOT NULL, lines INTEGER NOT NULL);
    CREATE INDEX IF NOT EXISTS by_reference ON sales_orders (reference);
    """

    def offers(self) -> Offers:
        return (
            ("POST", "/sales-orders", self.create),
            ("GET", "/sales-orders/{number}", self.find),
            ("GET", "/sales-orders", self.search),
        )

    def create(self, request: Request) -> Reply:
        order = request.json()
        row = (
            text(order, "reference"),
            text(order, "customer", "id"),
            text(order, "currency"),
            text(order, "total"),
            len(rows(order, "lines")),
        )
        number = self.db.execute(
            "INSERT INTO sales_orders (reference, customer, currency, total, lines) VALUES (?, ?, ?, ?, ?)"
            " RETURNING number",
            row,
        ).get
        return Reply(201, show(number, row[0], row[3]))

    def find(self, _request: Request, number: str) -> Reply:
        found = self.db.execute(f"{SELECT} number = ?", (number.removeprefix("SO-"),)).fetchall()
        if not found:
            raise Refused(404, f"no sales order {number}")
        return Reply(200, show(*found[0]))

    def search(self, request: Request) -> Reply:
        found = self.db.execute(f"{SELECT} reference = ?", (request.query.get("reference"),)).fetchall()
        return Reply(200, {"sales_orders": [show(*row) for row in found]})


def show(number: object, reference: object, total: object) -> dict[str, object]:
    """A sales order as callers see it."""
    return {"id": f"SO-{number}", "reference": reference, "total": total, "status": "open"}


if __name__ == "__main__":
    main(Erp)
