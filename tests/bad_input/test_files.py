"""Bad files: good rows go on, bad ones are kept with their line numbers; what cannot be read at all is put aside."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from dovetail.testkit.processes import Dovetail, until

ROWS = b"""sku;quantity;text
A;1;good
B;2
C;3;one;too many
D;4;"quoted; with a delimiter"
E;five;not a number
I;9;"two
lines"
F;6;"a quote that is never closed
G;7;good again
H;8;not UTF-8: \xff
J;10;good
"""


def drop(folder: Path, name: str, content: bytes) -> None:
    (folder / f"{name}.part").write_bytes(content)
    (folder / f"{name}.part").rename(folder / name)


def test_ragged_rows(server: Dovetail, place: Path) -> None:
    drop(place / "in", "rows.csv", ROWS)
    flows = server.settled(rows=10)
    assert (flows["rows"]["done"], flows["rows"]["dead"]) == (5, 5)
    assert sorted(file.name for file in (place / "out/rows").iterdir()) == ["A", "D", "G", "I", "J"]
    assert json.loads((place / "out/rows/I").read_text())["text"] == "two\nlines"

    dead = {}
    for message in server.messages(flow="rows", state="dead"):
        journey = server.show(message["id"])
        assert journey["headers"]["file-name"] == "rows.csv"
        dead[int(journey["headers"]["file-line"])] = message["reason"]
    assert sorted(dead) == [3, 4, 6, 9, 11]
    assert "2 fields where 3 are expected" in dead[3] and "4 fields where 3" in dead[4]
    assert "/quantity" in dead[6]
    assert "a quote is opened here" in dead[9]
    assert "0xff" in dead[11]

    [report] = until("the report", lambda: list((place / "in/bad").glob("rows.*.report.json")))
    said = json.loads(report.read_text())
    assert [row["line"] for row in said["bad"]] == sorted(dead)
    kept = (place / "in/bad" / said["rows"]).read_text().splitlines()
    assert kept[:4] == ["sku;quantity;text", "B;2", "C;3;one;too many", "E;five;not a number"]
    until("the file is in the archive", lambda: (place / "in/done/rows.csv").exists())

    [wrong] = [message for message in server.messages(flow="rows", state="dead") if "/quantity" in message["reason"]]
    mended = base64.b64encode(b'{"sku": "E", "quantity": "5", "text": "mended"}').decode()
    assert server.ask("POST", "/api/redrive", {"by": "clerk", "ids": [wrong["id"]], "body": mended})["redriven"]
    until("the mended row came through", lambda: (place / "out/rows/E").exists())
    flows = server.settled()
    assert (flows["rows"]["done"], flows["rows"]["dead"]) == (6, 4)


def test_files_without_a_meaning(server: Dovetail, place: Path) -> None:
    """No header, a header with a name twice, more bad rows than can be meant."""
    before = server.count("rows", "accepted")
    files = {
        "twice.csv": b"sku;sku;text\nA;1;x\n",
        "broken.csv": b'sku;"quantity\nA;1\n',
        "nameless.csv": b"sku;;text\nA;1;x\n",
    }
    for name, content in files.items():
        drop(place / "in", name, content)
        until(f"{name} is put aside", lambda name=name: f'"file_quarantined","file":"{name}"' in server.log())
    assert server.count("rows", "accepted") == before
    for name, content in files.items():
        aside = [file for file in (place / "in/bad").iterdir() if file.read_bytes() == content]
        assert len(aside) == 1, f"{name} is kept as it was"


def test_too_many_bad_rows(server: Dovetail, place: Path) -> None:
    before = server.flows()["rows"]
    drop(place / "in", "mostly-bad.csv", b"sku;quantity;text\n" + b"X;1;good\n" + b"bad\n" * 25 + b"Y;1;never read\n")
    [aside] = until(
        "it is put aside",
        lambda: [
            file
            for file in (place / "in/bad").iterdir()
            if file.name.startswith("mostly-bad") and file.name.endswith("csv") and b"never read" in file.read_bytes()
        ],
    )
    now = server.settled()["rows"]
    assert now["done"] >= before["done"] + 1 and now["dead"] > before["dead"] + 20
    assert aside.exists()


def test_documents_that_are_none(server: Dovetail, place: Path) -> None:
    """Files taken whole: unreadable ones are dead letters or put aside, and later ones are not held up."""
    drop(place / "in", "1-bomb.xml", b'<!DOCTYPE a [<!ENTITY a "a">]><Invoice><Total>&a;</Total></Invoice>')
    drop(place / "in", "2-torn.xml", b"<Invoice><Total>1</Tot")
    drop(place / "in", "3-wrong.xml", b"<Invoice><Total>a lot</Total></Invoice>")
    drop(place / "in", "4-good.xml", b"<Invoice><Total>4.5</Total></Invoice>")
    until("the good one came through", lambda: (place / "out/documents/4-good.xml.json").exists())
    flows = server.settled(documents=4)
    assert (flows["documents"]["done"], flows["documents"]["dead"]) == (1, 3)
    reasons = " ".join(message["reason"] for message in server.messages(flow="documents", state="dead"))
    assert "DTD" in reasons and "not XML" in reasons and "a lot" in reasons
    assert [file.name for file in (place / "out/documents").iterdir()] == ["4-good.xml.json"]
