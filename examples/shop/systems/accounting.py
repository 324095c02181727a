"""The accounting service: ``POST /invoices`` writes an invoice, ``GET`` finds those of an order by our reference.

``PUT /legacy/invoices`` writes one too, but forgets every key: a repeat is a second invoice, so its callers have to ask
``GET /legacy/invoices/{reference}`` first.
"""

from __future__ import annotations

from base import Offers, Refused, Reply, Request, System, main, text


class Accounting(System):
    """The accounting service of the shop example."""

    name = "accounting"
    schema = """
    CREATE TABLE IF NOT EXISTS invoices (
        number INTEGER PRIMARY KEY, reference TEXT NOT NULL, currency TEXT NOT NULL, total TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS by_reference ON invoices (reference);
    """

    def offers(self) -> Offers:
        return (
            ("POST", "/invoices", self.create),
            ("GET", "/invoices", self.search),
            ("PUT", "/legacy/invoices", self.create),
            ("GET", "/legacy/invoices/{reference}", self.find),
        )

    def create(self, request: Request) -> Reply:
        order = request.json()
        row = (text(order, "reference"), text(order, "currency"), text(order, "total"))
        number = self.db.execute(
            "INSERT INTO invoices (reference, currency, total) VALUES (?, ?, ?) RETURNING number", row
        ).get
        return Reply(201, {"invoice": f"INV-{number}", "reference": row[0], "total": row[2]})

    def find(self, _request: Request, reference: str) -> Reply:
        row = self.db.execute("SELECT number, total FROM invoices WHERE reference = ?", (reference,)).fetchone()
        if row is None:
            raise Refused(404, f"no invoice for {reference}")
        return Reply(200, {"invoice": f"INV-{row[0]}", "reference": reference, "total": row[1]})

    def search(self, request: Request) -> Reply:
        rows = self.db.execute(
            "SELECT number, total FROM invoices WHERE reference = ?", (request.query.get("reference"),)
        ).fetchall()
        return Reply(200, {"invoices": [{"invoice": f"INV-{number}", "total": total} for number, total in rows]})


if __name__ == "__main__":
    main(Accounting)
