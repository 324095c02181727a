"""The back office: hears of accepted orders. Packing slips for the warehouse floor, entries for the sales ledger."""

from __future__ import annotations

from base import Offers, Reply, Request, System, main, text


class BackOffice(System):
    """The back office of the shop example."""

    name = "backoffice"
    schema = """
    CREATE TABLE IF NOT EXISTS packing_slips (number INTEGER PRIMARY KEY, reference TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS ledger_entries (
        number INTEGER PRIMARY KEY, reference TEXT NOT NULL, currency TEXT NOT NULL, total TEXT NOT NULL);
    """

    def offers(self) -> Offers:
        return (("POST", "/packing-slips", self.slip), ("POST", "/ledger-entries", self.entry))

    def slip(self, request: Request) -> Reply:
        reference = text(request.json(), "reference")
        number = self.db.execute("INSERT INTO packing_slips (reference) VALUES (?) RETURNING number", (reference,)).get
        return Reply(201, {"packing_slip": number})

    def entry(self, request: Request) -> Reply:
        entry = request.json()
        number = self.db.execute(
            "INSERT INTO ledger_entries (reference, currency, total) VALUES (?, ?, ?) RETURNING number",
            (text(entry, "reference"), text(entry, "currency"), text(entry, "total")),
        ).get
        return Reply(201, {"ledger_entry": number})


if __name__ == "__main__":
    main(BackOffice)
