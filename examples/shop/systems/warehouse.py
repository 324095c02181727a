"""The warehouse: reserves stock for an order (``POST /reservations``) and releases it (``POST …/release``)."""

from __future__ import annotations

from base import Offers, Refused, Reply, Request, System, main, rows, text

OPENING_STOCK = 1_000_000


class Warehouse(System):
    """The warehouse of the shop example."""

    name = "warehouse"
    schema = """
    CREATE TABLE IF NOT EXISTS stock (sku TEXT PRIMARY KEY, free INTEGER NOT NULL CHECK (free >= 0));
    CREATE TABLE IF NOT EXISTS reservations (
        number INTEGER PRIMARY KEY, reference TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'reserved');
    CREATE TABLE IF NOT EXISTS reserved (number INTEGER, sku TEXT, quantity INTEGER CHECK (quantity > 0));
    CREATE INDEX IF NOT EXISTS by_number ON reserved (number);
    """

    def offers(self) -> Offers:
        return (
            ("POST", "/reservations", self.reserve),
            ("POST", "/reservations/{number}/release", self.release),
            ("GET", "/stock/{sku}", self.stock),
        )

    def reserve(self, request: Request) -> Reply:
        order = request.json()
        reference = text(order, "reference")
        lines = [(text(line, "sku"), text(line, "quantity")) for line in rows(order, "lines")]
        if not all(quantity.isdecimal() and int(quantity) > 0 for _sku, quantity in lines):
            raise Refused(422, "quantity must be a whole number above 0")
        number = self.db.execute("INSERT INTO reservations (reference) VALUES (?) RETURNING number", (reference,)).get
        for sku, quantity in lines:
            self.take(sku, int(quantity))
            self.db.execute("INSERT INTO reserved VALUES (?, ?, ?)", (number, sku, int(quantity)))
        return Reply(201, {"reservation": f"R-{number}", "reference": reference})

    def take(self, sku: str, quantity: int) -> None:
        self.db.execute("INSERT OR IGNORE INTO stock VALUES (?, ?)", (sku, OPENING_STOCK))
        self.db.execute("UPDATE stock SET free = free - ? WHERE sku = ? AND free >= ?", (quantity, sku, quantity))
        if self.db.changes() == 0:
            raise Refused(409, f"not enough {sku} in stock")

    def release(self, _request: Request, number: str) -> Reply:
        digits = number.removeprefix("R-")
        state = self.db.execute("SELECT state FROM reservations WHERE number = ?", (digits,)).get
        if state is None:
            raise Refused(404, f"no reservation {number}")
        if state == "reserved":
            self.db.execute(
                "UPDATE stock SET free = free + r.quantity FROM"
                " (SELECT sku, sum(quantity) AS quantity FROM reserved WHERE number = ? GROUP BY sku) r"
                " WHERE stock.sku = r.sku",
                (digits,),
            )
            self.db.execute("UPDATE reservations SET state = 'released' WHERE number = ?", (digits,))
        return Reply(200, {"reservation": number, "state": "released"})

    def stock(self, _request: Request, sku: str) -> Reply:
        free = self.db.execute("SELECT free FROM stock WHERE sku = ?", (sku,)).get
        return Reply(200, {"sku": sku, "free": OPENING_STOCK if free is None else free})


if __name__ == "__main__":
    main(Warehouse)
