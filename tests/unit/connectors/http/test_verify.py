"""Each scheme takes what its sender signs, and nothing that was changed, replayed late or signed by somebody else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dovetail.connectors.http.verify import Verify
from dovetail.connectors.http.webhook import Config
from dovetail.sdk import ProjectError, Refused, Secret

DATA = Path(__file__).parents[4].parent / "shared" / "data" / "webhooks-events"
VECTORS = json.loads((DATA / "signature-vectors" / "published-vectors.json").read_bytes())
PAYLOADS = sorted([*DATA.glob("github/**/*.json"), *DATA.glob("shopify/*.json"), *DATA.glob("stripe-fixtures/*.json")])
NOW = 1_714_521_600
BODY = b'{"id": 1, "name": "na\xc3\xafve"}'
KEY = "s3cr\u00e9t"
WHSEC = "whsec_" + base64.b64encode(b"k" * 24).decode()


def scheme(**kind: Any) -> Verify:
    verify = Config.parse({"path": "/x", "verify": kind}).verify
    assert verify is not None
    return verify


def prove(verify: Verify, headers: dict[str, str], body: bytes, now: float = NOW) -> None:
    verify.prove({name.lower(): value for name, value in headers.items()}, body, int(now * 1000), verify.keys())


def refused(verify: Verify, headers: dict[str, str], body: bytes, now: float = NOW) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        prove(verify, headers, body, now)
    assert KEY not in caught.value.message
    return caught.value.status, caught.value.code


def mac(signed: bytes, key: bytes = KEY.encode(), algorithm: str = "sha256") -> bytes:
    return hmac.new(key, signed, algorithm).digest()


def github(body: bytes, stamp: int = NOW) -> dict[str, str]:
    return {"X-Hub-Signature-256": "sha256=" + mac(body).hex(), "X-GitHub-Delivery": "d-1"}


def shopify(body: bytes, stamp: int = NOW) -> dict[str, str]:
    return {"X-Shopify-Hmac-Sha256": base64.b64encode(mac(body)).decode(), "X-Shopify-Webhook-Id": "d-1"}


def stripe(body: bytes, stamp: int = NOW) -> dict[str, str]:
    return {"Stripe-Signature": f"t={stamp},v1={mac(b'%d.' % stamp + body).hex()},v0=ignored"}


def slack(body: bytes, stamp: int = NOW) -> dict[str, str]:
    signature = "v0=" + mac(b"v0:%d:" % stamp + body).hex()
    return {"X-Slack-Signature": signature, "X-Slack-Request-Timestamp": str(stamp)}


def standard(body: bytes, stamp: int = NOW) -> dict[str, str]:
    signature = base64.b64encode(mac(b"d-1.%d." % stamp + body, b"k" * 24)).decode()
    return {"webhook-id": "d-1", "webhook-timestamp": str(stamp), "webhook-signature": f"v1a,xyz v1,{signature}"}


Sign = Callable[..., dict[str, str]]
SCHEMES: dict[str, tuple[Sign, str, str]] = {
    "github": (github, "X-Hub-Signature-256", KEY),
    "shopify": (shopify, "X-Shopify-Hmac-Sha256", KEY),
    "stripe": (stripe, "Stripe-Signature", KEY),
    "slack": (slack, "X-Slack-Signature", KEY),
    "standard": (standard, "webhook-signature", WHSEC),
}
each = pytest.mark.parametrize("name", SCHEMES)
timed = pytest.mark.parametrize("name", ["stripe", "slack", "standard"])


def test_the_published_vector_of_github() -> None:
    (vector,) = [one for one in VECTORS if one["id"].startswith("github")]
    verify = scheme(github=Secret(vector["secret"]))
    prove(verify, vector["headers"], vector["body"].encode())
    assert refused(verify, vector["headers"], vector["body"].encode() + b"!") == (401, "signature_mismatch")


def test_the_published_vector_of_standard_webhooks() -> None:
    (vector,) = [one for one in VECTORS if one["id"].startswith("stdwebhooks")]
    verify = scheme(standard={"secret": Secret(vector["secret"])})
    now = int(vector["headers"]["webhook-timestamp"])
    prove(verify, vector["headers"], vector["body"].encode(), now)
    assert refused(verify, vector["headers"], vector["body"].encode(), now + 301) == (401, "timestamp_stale")


@each
def test_real_payloads_pass_as_they_are_and_fail_when_one_byte_changes(name: str) -> None:
    sign, _, secret = SCHEMES[name]
    verify = scheme(**{name: Secret(secret)})
    assert len(PAYLOADS) > 30
    for path in PAYLOADS:
        body = path.read_bytes()
        headers = sign(body)
        prove(verify, headers, body)
        at = len(body) // 2
        changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        assert refused(verify, headers, changed) == (401, "signature_mismatch")


@each
def test_without_its_signature(name: str) -> None:
    sign, header, secret = SCHEMES[name]
    verify = scheme(**{name: Secret(secret)})
    headers = sign(BODY)
    assert refused(verify, {}, BODY) == (401, "signature_missing")
    assert refused(verify, {**headers, header: ""}, BODY) == (401, "signature_missing")


@each
def test_with_somebody_elses_secret(name: str) -> None:
    sign, _, secret = SCHEMES[name]
    other = "whsec_" + base64.b64encode(b"o" * 24).decode() if name == "standard" else "other"
    assert refused(scheme(**{name: Secret(other)}), sign(BODY), BODY) == (401, "signature_mismatch")
    prove(scheme(**{name: {"secret": [Secret(other), Secret(secret)]}}), sign(BODY), BODY)
    prove(scheme(**{name: {"secret": [Secret(secret), Secret(other)]}}), sign(BODY), BODY)


@each
@pytest.mark.parametrize("junk", ["x", "sha256=", "v1=", "v1,", "\xff\xfe", "=" * 100, "t=,v1=", "sha256=" + "0" * 64])
def test_with_junk_in_place_of_the_signature(name: str, junk: str) -> None:
    sign, header, secret = SCHEMES[name]
    verify = scheme(**{name: Secret(secret)})
    status, code = refused(verify, {**sign(BODY), header: junk}, BODY)
    assert (status, code) in [(401, "signature_mismatch"), (400, "signature_malformed")]


@timed
def test_a_timestamp_may_be_off_by_its_tolerance_and_no_more(name: str) -> None:
    sign, _, secret = SCHEMES[name]
    verify = scheme(**{name: Secret(secret)})
    headers = sign(BODY)
    for off in (-300, 0, 300):
        prove(verify, headers, BODY, NOW + off)
    for off in (-301, 301, 86_400):
        assert refused(verify, headers, BODY, NOW + off) == (401, "timestamp_stale")
    narrow = scheme(**{name: {"secret": Secret(secret), "tolerance": "10s"}})
    assert refused(narrow, headers, BODY, NOW + 11) == (401, "timestamp_stale")


@timed
def test_a_timestamp_cannot_be_exchanged(name: str) -> None:
    sign, _, secret = SCHEMES[name]
    verify = scheme(**{name: Secret(secret)})
    old = {key: value.replace(str(NOW - 1000), str(NOW)) for key, value in sign(BODY, NOW - 1000).items()}
    assert refused(verify, old, BODY) == (401, "signature_mismatch")


def test_a_timestamp_that_is_no_number_is_malformed_even_when_signed() -> None:
    for stamp in ("soon", "-5", "1e9", "\u00b2", "9" * 20):
        key = KEY.encode()
        signed = {
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": "v0=" + mac(b"v0:" + stamp.encode("latin-1") + b":" + BODY, key).hex(),
        }
        assert refused(scheme(slack=Secret(KEY)), signed, BODY) == (400, "timestamp_malformed")


def test_stripe_may_send_several_signatures_and_exactly_one_timestamp() -> None:
    verify = scheme(stripe=Secret(KEY))
    good = stripe(BODY)["Stripe-Signature"]
    stamp, signature, _ = good.split(",")
    prove(verify, {"Stripe-Signature": f"{stamp},v1={'0' * 64},{signature}"}, BODY)
    prove(verify, {"Stripe-Signature": f"{stamp}, {signature}"}, BODY)
    for bad in (signature, stamp, f"{stamp},{stamp},{signature}"):
        assert refused(verify, {"Stripe-Signature": bad}, BODY) == (400, "signature_malformed")


def test_standard_webhooks_may_send_several_signatures() -> None:
    verify = scheme(standard=Secret(WHSEC))
    headers = standard(BODY)
    good = headers["webhook-signature"].split(" ")[1]
    for text in (f"v1,AAAA {good}", f"{good} v1,AAAA", f"v2,x {good}"):
        prove(verify, {**headers, "webhook-signature": text}, BODY)
    assert refused(verify, {**headers, "webhook-id": "d-2"}, BODY) == (401, "signature_mismatch")


def test_the_names_of_deliveries() -> None:
    names = {}
    for name, (sign, _, secret) in SCHEMES.items():
        headers = {key.lower(): value for key, value in sign(BODY).items()}
        names[name] = scheme(**{name: Secret(secret)}).delivery_id(headers)
    assert (names["github"], names["shopify"], names["standard"]) == ("d-1", "d-1", "d-1")
    assert names["stripe"] == f"{NOW}.{mac(b'%d.' % NOW + BODY).hex()}"
    assert names["slack"] == slack(BODY)["X-Slack-Signature"]
    assert scheme(hmac={"secret": Secret(KEY), "header": "X-S"}).delivery_id({}) is None
    named = scheme(hmac={"secret": Secret(KEY), "header": "X-S", "delivery": "X-Id"})
    assert named.delivery_id({"x-id": "7"}) == "7"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64", "auto"])
@pytest.mark.parametrize("prefix", ["", "sha=", "v1:"])
def test_the_general_hmac(algorithm: str, encoding: str, prefix: str) -> None:
    config = {"secret": Secret(KEY), "header": "X-Sig", "algorithm": algorithm, "encoding": encoding, "prefix": prefix}
    verify = scheme(hmac=config)
    digest = mac(BODY, algorithm=algorithm)
    forms = {"hex": [digest.hex(), digest.hex().upper()], "base64": [base64.b64encode(digest).decode()]}
    for form, texts in forms.items():
        for text in texts:
            if encoding in (form, "auto"):
                prove(verify, {"x-sig": prefix + text}, BODY)
                code = "signature_malformed" if prefix else "signature_mismatch"
                assert refused(verify, {"x-sig": f"?{text}"}, BODY) == (401, code)
            else:
                assert refused(verify, {"x-sig": prefix + text}, BODY) == (401, "signature_mismatch")
            assert refused(verify, {"x-sig": prefix + text}, BODY + b" ") == (401, "signature_mismatch")


def test_basic() -> None:
    verify = scheme(basic={"username": "shop", "password": [Secret("old"), Secret(KEY)]})
    for password in ("old", KEY):
        pair = base64.b64encode(f"shop:{password}".encode()).decode()
        prove(verify, {"Authorization": f"Basic {pair}"}, BODY)
        prove(verify, {"Authorization": f"basic {pair}"}, BODY)
        assert refused(verify, {"Authorization": f"Bearer {pair}"}, BODY) == (401, "unauthorized")
    wrong = base64.b64encode(b"shop:no").decode()
    for text in ("", "Basic", "Basic !!!", f"Basic {wrong}", "Basic \xff"):
        assert refused(verify, {"Authorization": text}, BODY) == (401, "unauthorized")


def test_bearer_and_key() -> None:
    bearer, key = scheme(bearer=Secret(KEY)), scheme(api_key={"key": Secret(KEY), "header": "X-Key"})
    sent = KEY.encode().decode("latin-1")
    prove(bearer, {"Authorization": f"Bearer {sent}"}, BODY)
    prove(key, {"X-Key": sent}, BODY)
    for text in ("", "Bearer", "Bearer ", "Bearer x", f"Token {sent}", sent):
        assert refused(bearer, {"Authorization": text}, BODY) == (401, "unauthorized")
    for text in ("", "x", sent + " "):
        assert refused(key, {"X-Key": text}, BODY) == (401, "unauthorized")


@pytest.mark.parametrize(
    "kind",
    [
        {"github": Secret("")}, {"github": {"secret": []}}, {"shopify": {"secret": [Secret("a"), Secret("")]}},
        {"bearer": Secret("")}, {"api_key": Secret("")}, {"basic": {"username": "u", "password": Secret("")}},
        {"standard": Secret("whsec_")}, {"standard": Secret("whsec_no base64!")}, {"github": {}},
        {"gitlab": Secret("x")},
    ],
)  # fmt: skip
def test_settings_that_would_prove_nothing_do_not_load(kind: dict[str, Any]) -> None:
    with pytest.raises(ProjectError):
        scheme(**kind)


def test_a_secret_is_not_in_what_is_shown() -> None:
    verify = scheme(github=Secret(KEY))
    assert KEY not in repr(verify) + repr(vars(verify))
    assert hashlib.sha256(KEY.encode()).hexdigest() not in repr(verify)
