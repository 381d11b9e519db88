"""payd's wire code against values made by openssl, node, WeChat Pay's documentation and the SDKs of the field."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from tornado.httputil import HTTPHeaders

from payd.errors import VerificationError
from payd.wechat import ClientSettings, open_wechat_pay
from payd.wechat.certificates import open_certificates
from payd.wechat.http_answer import HttpAnswer
from payd.wechat.key_files import parse_certificate, serial_of
from payd.wechat.keyring import MerchantKey, PlatformKey, TrustStore, load_keyring
from payd.wechat.notifications import read_payment
from payd.wechat.resource_cipher import ResourceCipher, decrypt_field
from payd.wechat.signatures import Signatures
from payd.wechat.signing import RequestSigner, authorization, request_text
from payd.wechat.verification import SignatureHeaders, check_signature, check_timestamp, read_signature_headers

VECTORS = Path(__file__).parent.parent / "vectors"
OWN = VECTORS / "own"


def public(name):
    """Load a published vector."""
    return json.loads((VECTORS / "public" / name).read_text())


@pytest.fixture(scope="module")
def values():
    """The values shared by our own vectors."""
    return json.loads((OWN / "values.json").read_text())


class FixedClock:
    """A clock that stands still."""

    def __init__(self, seconds):
        self._now = datetime.fromtimestamp(seconds, UTC)

    def now(self):
        return self._now

    def monotonic(self):
        return 1000.0


class FixedEntropy:
    """Hands out one nonce."""

    def __init__(self, nonce):
        self.nonce = nonce

    def token_hex(self, byte_count):
        assert byte_count == 16
        return self.nonce


@pytest.fixture
def own_settings(tmp_path, values):
    """Settings on our own vector keys, both platform modes at once."""
    key = tmp_path / "merchant_key.pem"
    key.write_bytes((OWN / "merchant_key.pem").read_bytes())
    key.chmod(0o600)
    return ClientSettings(
        mchid=values["mchid"],
        appid=values["appid"],
        private_key_path=key,
        merchant_cert_path=OWN / "merchant_cert.pem",
        api_v3_key=values["api_v3_key"].encode(),
        notify_url="https://pay.example.com/pay/notify/wechat",
        platform_cert_path=OWN / "platform_cert.pem",
        public_key_id=values["public_key_id"],
        public_key_path=OWN / "pub_key.pem",
    )


@pytest.fixture
def own_merchant(own_settings, values):
    """The merchant key of our own vectors."""
    return load_keyring(own_settings, now=datetime.fromtimestamp(values["timestamp"], UTC)).merchant


REQUESTS = [
    ("request_post", "POST", "/v3/pay/transactions/native", "request_post.body"),
    ("request_get", "GET", "/v3/pay/transactions/out-trade-no/P20261124000000abc?mchid=1900000109", None),
]


@pytest.mark.parametrize(("name", "method", "target", "body"), REQUESTS)
def test_request_text_and_signature_are_openssls(name, method, target, body, values, own_merchant):
    """The text to sign and its signature come out byte for byte as openssl made them."""
    text = request_text(
        method=method,
        target=target,
        timestamp=str(values["timestamp"]),
        nonce=values["nonce"],
        body=(OWN / body).read_bytes() if body else b"",
    )

    assert (OWN / f"{name}.txt").read_bytes() == text
    assert (OWN / f"{name}.sig").read_text() == base64.b64encode(own_merchant.sign(text)).decode()


def test_serial_is_written_as_openssl_writes_it(values, own_merchant):
    """The merchant's serial is taken from its certificate in upper-case hex."""
    assert values["merchant_serial"] == own_merchant.serial


@pytest.mark.parametrize(("name", "trade_type", "member"), [("jsapi", "JSAPI", "paySign"), ("app", "APP", "sign")])
def test_client_parameters_carry_openssls_signature(name, trade_type, member, values, own_merchant):
    """JSAPI signs the prefixed prepay id, APP the bare one."""
    signer = RequestSigner(
        own_merchant,
        clock=FixedClock(values["timestamp"]),
        entropy=FixedEntropy(values["nonce"]),
        signatures=None,
    )

    make = signer.jsapi_parameters if trade_type == "JSAPI" else signer.app_parameters
    parameters = make(values["appid"], values["prepay_id"])

    assert (OWN / f"{name}.sig").read_text() == parameters[member]
    assert all(isinstance(value, str) for value in parameters.values())


def answer_headers(name, values, serial):
    """The five headers of one of our own answers."""
    return HTTPHeaders(
        {
            "Wechatpay-Timestamp": str(values["timestamp"]),
            "Wechatpay-Nonce": values["nonce"],
            "Wechatpay-Signature": (OWN / f"{name}.sig").read_text(),
            "Wechatpay-Serial": serial,
            "Wechatpay-Signature-Type": "WECHATPAY2-SHA256-RSA2048",
        }
    )


@pytest.mark.parametrize(("name", "body"), [("answer", "answer.body"), ("answer_empty", None)])
def test_an_answer_signed_by_openssl_verifies_and_nothing_else_does(name, body, values):
    """The three lines verify with body and without; one byte more does not."""
    key = PlatformKey("X", load_pem_public_key((OWN / "pub_key.pem").read_bytes()))
    raw = (OWN / body).read_bytes() if body else b""
    headers = read_signature_headers(answer_headers(name, values, "X"))

    assert (OWN / f"{name}.txt").read_bytes() == headers.signed_text(raw)
    check_signature(headers, raw, key)
    with pytest.raises(VerificationError):
        check_signature(headers, raw + b" ", key)


@pytest.mark.parametrize("serial_name", ["public_key_id", "platform_serial"])
async def test_a_callback_made_without_payd_opens(serial_name, values, own_settings):
    """openssl's signature and node's AES-256-GCM open, under either name of the platform key."""
    client = open_wechat_pay(own_settings, clock=FixedClock(values["timestamp"] + 300), entropy=FixedEntropy("a" * 32))
    steps = []

    opened = await client.open_notification(
        answer_headers("callback", values, values[serial_name]), (OWN / "callback.body").read_bytes(), steps
    )

    assert json.loads((OWN / "callback.plain").read_text()) == opened.resource
    assert (opened.event_type, opened.original_type) == ("TRANSACTION.SUCCESS", "transaction")
    assert [(step.step, step.verdict) for step in steps] == [
        (name, "ok") for name in ("headers", "timestamp", "serial", "signature", "envelope", "decrypt")
    ]
    assert (
        (evidence := read_payment(opened)).out_trade_no,
        evidence.total_fen,
        evidence.payer_total_fen,
    ) == ("P20261124000000abc", 100, 90)
    await client.close_client()


def test_a_certificate_list_sealed_by_node_opens_on_first_use(values, own_merchant):
    """With nothing trusted yet, the list is verified with the certificate inside it."""
    answer = HttpAnswer(
        status=200,
        headers=answer_headers("certificates", values, values["platform_serial"]),
        body=(OWN / "certificates.body").read_bytes(),
    )

    certificates = open_certificates(
        answer,
        cipher=ResourceCipher(values["api_v3_key"].encode()),
        trust=TrustStore((), configured_serial=None),
        merchant=own_merchant,
        clock=FixedClock(values["timestamp"]),
    )

    assert [values["platform_serial"]] == [serial_of(certificate) for certificate in certificates]


def test_a_field_encrypted_by_openssl_opens(own_merchant):
    """OAEP with SHA-1 to the merchant's certificate opens with its private key."""
    assert (OWN / "field.plain").read_text() == decrypt_field(
        own_merchant.private_key, (OWN / "field.sealed").read_text()
    )


def test_documentation_request_and_jsapi_values_reproduce():
    """The signatures printed in WeChat Pay's documentation come out."""
    doc = public("documentation.json")
    key = MerchantKey(doc["mchid"], doc["serial_no"], load_pem_private_key(doc["merchant_private_key"].encode(), None))
    request = doc["request"]
    signer = RequestSigner(
        key, clock=FixedClock(int(doc["timestamp"])), entropy=FixedEntropy(doc["nonce"]), signatures=None
    )

    text = request_text(
        method=request["method"],
        target=request["target"],
        timestamp=doc["timestamp"],
        nonce=doc["nonce"],
        body=request["body"].encode(),
    )
    jsapi = signer.jsapi_parameters(doc["jsapi"]["appid"], doc["jsapi"]["prepay_id"])

    assert request["signature"] == base64.b64encode(key.sign(text)).decode()
    assert doc["jsapi"]["paySign"] == jsapi["paySign"]


async def test_documentation_authorization_header_comes_out_whole(io_loop):
    """The header of the documentation's POST sample, all five pairs."""
    from concurrent.futures import ThreadPoolExecutor

    doc = public("documentation.json")
    key = MerchantKey(doc["mchid"], doc["serial_no"], load_pem_private_key(doc["merchant_private_key"].encode(), None))
    request = doc["request"]
    with ThreadPoolExecutor(1) as executor:
        clock = FixedClock(int(doc["timestamp"]))
        signatures = Signatures(key, clock=clock, executor=executor)
        signer = RequestSigner(key, clock=clock, entropy=FixedEntropy(doc["nonce"]), signatures=signatures)
        header = await signer.authorize(
            method=request["method"], target=request["target"], body=request["body"].encode()
        )

    expected = authorization(
        mchid=doc["mchid"],
        serial_no=doc["serial_no"],
        timestamp=doc["timestamp"],
        nonce=doc["nonce"],
        signature=request["signature"],
    )
    assert expected == header
    assert header.startswith(
        'WECHATPAY2-SHA256-RSA2048 mchid="1900007291",nonce_str="593BEC0C930BF1AFEB40B4A08C8FB242"'
    )


def test_documentation_answer_verifies():
    """The real answer printed in the documentation verifies with the public key printed beside it."""
    answer = public("documentation.json")["answer"]
    key = PlatformKey("X", load_pem_public_key(answer["public_key"].encode()))
    headers = SignatureHeaders(answer["timestamp"], answer["nonce"], answer["signature"], "X")

    check_signature(headers, answer["body"].encode(), key)
    with pytest.raises(VerificationError):
        check_signature(headers, answer["body"].encode().replace(b"EIz1", b"EIz2"), key)


@pytest.mark.parametrize("case", public("go_request_texts.json")["cases"], ids=lambda case: case["method"])
def test_go_sdk_request_texts_come_out(case):
    """A body that ends in a line feed contributes it; no body leaves an empty fifth line."""
    vector = public("go_request_texts.json")

    text = request_text(
        method=case["method"],
        target=case["target"],
        timestamp=vector["timestamp"],
        nonce=vector["nonce"],
        body=case["body"].encode(),
    )

    assert case["text"].encode() == text


def test_go_sdk_callback_verifies_and_opens():
    """The Go SDK's end-to-end callback: signature over the raw body, then the sealed resource."""
    vector = public("go_callback.json")
    body = vector["body"].encode()
    certificate = parse_certificate(vector["certificate"].encode(), "the vector's certificate")
    trust = TrustStore([PlatformKey.of_certificate(certificate)], configured_serial=None)
    headers = read_signature_headers(vector["headers"])

    check_timestamp(headers, now=vector["now"])
    check_signature(headers, body, trust.lookup(headers.serial))
    sealed = json.loads(body)["resource"]
    plain = AESGCM(vector["aead_key"].encode()).decrypt(
        sealed["nonce"].encode(), base64.b64decode(sealed["ciphertext"]), sealed["associated_data"].encode()
    )

    assert vector["plaintext"] == plain.decode()


def test_java_sdk_aead_opens():
    """A true AES-256 vector; with other associated data it does not open."""
    vector = public("java_ciphers.json")["aead"]
    cipher = ResourceCipher(vector["api_v3_key"].encode())

    plain = cipher.open(
        ciphertext=vector["ciphertext"], nonce=vector["nonce"], associated_data=vector["associated_data"]
    )

    assert vector["plaintext"] == plain.decode()
    with pytest.raises(VerificationError):
        cipher.open(ciphertext=vector["ciphertext"], nonce=vector["nonce"], associated_data="")


def test_java_sdk_oaep_field_opens():
    """OAEP is with SHA-1, whatever one FAQ says."""
    vector = public("java_ciphers.json")["oaep"]
    key = load_pem_private_key(vector["private_key"].encode(), None)

    assert vector["plaintext"] == decrypt_field(key, vector["ciphertext"])


def test_java_sdk_signature_verifies_under_its_certificate():
    """The fixed signature verifies and the serial is read as WeChat writes it."""
    vector = public("java_ciphers.json")["signature"]
    certificate = parse_certificate(vector["certificate"].encode(), "the vector's certificate")
    key = PlatformKey.of_certificate(certificate)

    assert vector["serial_no"] == key.serial
    key.verify(base64.b64decode(vector["signature"]), vector["message"].encode())


@pytest.mark.parametrize("case", public("axios_aead.json")["cases"], ids=lambda case: case["plaintext"] or "empty")
def test_axios_plugin_aead_opens(case):
    """A nonce of 16 characters and empty plaintext are legal."""
    vector = public("axios_aead.json")

    plain = ResourceCipher(vector["api_v3_key"].encode()).open(
        ciphertext=case["ciphertext"], nonce=vector["nonce"], associated_data=case["associated_data"]
    )

    assert case["plaintext"] == plain.decode()
