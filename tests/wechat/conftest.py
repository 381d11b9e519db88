"""A merchant with fresh keys, a clock that stands still, and a raw gateway that can do everything wrong.

The gateway is a TCP server written for these tests: it signs by the text of the WeChat Pay documentation, with code of
its own, so what payd sends and believes is checked by a second witness.
"""

import asyncio
import base64
import json
import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID
from tornado.httputil import HTTPHeaders

from payd.models.order import CreateCommand, Order
from payd.models.states import OrderState
from payd.wechat import ClientSettings, WechatPayClient, open_wechat_pay
from payd.wechat.keyring import Keyring, MerchantKey, PlatformKey, TrustStore

NOW = datetime(2026, 11, 24, 4, 0, 0, tzinfo=UTC)
MCHID = "1900000109"
APPID = "wxd678efh567hg6787"
API_V3_KEY = b"0123456789abcdefghijklmnopqrstuv"
KEY_ID = "PUB_KEY_ID_0119000001092026112400000000000001"


class Clock:
    """Stands still until a test moves it."""

    def __init__(self):
        self.wall = NOW
        self.ticks = 1000.0

    def now(self):
        return self.wall

    def monotonic(self):
        return self.ticks

    def advance(self, seconds):
        self.wall += timedelta(seconds=seconds)
        self.ticks += seconds


class Entropy:
    """Real randomness."""

    def token_hex(self, byte_count):
        return secrets.token_hex(byte_count)

    def uniform(self, low, high):
        return low


def make_certificate(key, common_name, serial, *, start=NOW - timedelta(days=1), days=365, organization="Tenpay.com"):
    """A self-issued certificate; only subject, serial, key and dates matter."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(serial).not_valid_before(start).not_valid_after(start + timedelta(days=days))
    return builder.sign(key, hashes.SHA256())


def pem_of(thing):
    """PEM of a private key, public key or certificate."""
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(serialization.Encoding.PEM)
    if isinstance(thing, rsa.RSAPrivateKey):
        return thing.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    return thing.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@dataclass
class Keys:
    """Every key there is: the merchant's, WeChat's, a successor of WeChat's, and a stranger's."""

    merchant: rsa.RSAPrivateKey
    public: rsa.RSAPrivateKey
    platform: rsa.RSAPrivateKey
    successor: rsa.RSAPrivateKey
    stranger: rsa.RSAPrivateKey
    merchant_certificate: x509.Certificate
    platform_certificate: x509.Certificate
    successor_certificate: x509.Certificate

    @property
    def platform_serial(self):
        return f"{self.platform_certificate.serial_number:040X}"

    @property
    def successor_serial(self):
        return f"{self.successor_certificate.serial_number:040X}"

    @property
    def merchant_serial(self):
        return f"{self.merchant_certificate.serial_number:040X}"


@pytest.fixture(scope="session")
def keys():
    """Fresh keys for the whole run."""
    merchant, public, platform, successor, stranger = (rsa.generate_private_key(65537, 2048) for _ in range(5))
    return Keys(
        merchant,
        public,
        platform,
        successor,
        stranger,
        make_certificate(merchant, MCHID, 0x1A << 152 | 7, organization="WeChat Pay merchant"),
        make_certificate(platform, "Tenpay.com sign", 0x2B << 152 | 8),
        make_certificate(successor, "Tenpay.com sign", 0x3C << 152 | 9, start=NOW - timedelta(hours=1)),
    )


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def key_dir(tmp_path, keys):
    """The files a merchant has on disk, with the right modes."""
    folder = tmp_path / "keys"
    folder.mkdir()
    files = {
        "apiclient_key.pem": keys.merchant,
        "apiclient_cert.pem": keys.merchant_certificate,
        "pub_key.pem": keys.public.public_key(),
        "platform_cert.pem": keys.platform_certificate,
    }
    for name, thing in files.items():
        (folder / name).write_bytes(pem_of(thing))
    (folder / "apiclient_key.pem").chmod(0o600)
    return folder


@pytest.fixture
def public_key_settings(key_dir):
    """Settings of a new merchant: pure public-key mode. No host yet."""
    return ClientSettings(
        mchid=MCHID,
        appid=APPID,
        private_key_path=key_dir / "apiclient_key.pem",
        merchant_cert_path=key_dir / "apiclient_cert.pem",
        api_v3_key=API_V3_KEY,
        notify_url="https://pay.example.com/pay/notify/wechat",
        public_key_id=KEY_ID,
        public_key_path=key_dir / "pub_key.pem",
        api_base="http://127.0.0.1:9",
        api_base_backup=None,
        timeout_ms=2_000,
    )


def sign(key, *lines):
    """RSASSA-PKCS1-v1_5 with SHA-256 over lines each ended by LF, Base64."""
    text = b"".join(line + b"\n" for line in lines)
    return base64.b64encode(key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()


class Platform:
    """WeChat's side of the cryptography."""

    def __init__(self, keys, clock):
        self.keys = keys
        self.clock = clock
        self.key = keys.public
        self.serial = KEY_ID

    def use_certificate(self, successor=False):
        """Sign with a certificate's key from now on."""
        self.key = self.keys.successor if successor else self.keys.platform
        self.serial = self.keys.successor_serial if successor else self.keys.platform_serial

    def headers(self, body, *, key=None, serial=None, age=0, signature=None):
        """The five headers over a body; every part can be made wrong."""
        timestamp = str(int(self.clock.now().timestamp()) - age)
        nonce = secrets.token_hex(16)
        signed = sign(key or self.key, timestamp.encode(), nonce.encode(), body)
        return {
            "Wechatpay-Timestamp": timestamp,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Signature": signature if signature is not None else signed,
            "Wechatpay-Serial": serial or self.serial,
            "Wechatpay-Signature-Type": "WECHATPAY2-SHA256-RSA2048",
        }

    def seal(self, plain, associated_data, *, key=API_V3_KEY):
        """An AEAD_AES_256_GCM resource."""
        nonce = secrets.token_hex(6)
        sealed = AESGCM(key).encrypt(nonce.encode(), plain, associated_data.encode())
        return {
            "algorithm": "AEAD_AES_256_GCM",
            "nonce": nonce,
            "associated_data": associated_data,
            "ciphertext": base64.b64encode(sealed).decode(),
        }

    def callback(self, members, *, event_type="TRANSACTION.SUCCESS", original_type="transaction", **wrong):
        """A callback's headers and raw body."""
        plain = members if isinstance(members, bytes) else json.dumps(members, ensure_ascii=False).encode()
        resource = self.seal(plain, original_type, key=wrong.pop("api_v3_key", API_V3_KEY))
        envelope = {
            "id": "0d1f2a3b-4c5d-5e6f-8a9b-0c1d2e3f4a5b",
            "create_time": "2026-11-24T12:00:00+08:00",
            "resource_type": "encrypt-resource",
            "event_type": event_type,
            "summary": "支付成功",
            "resource": {"original_type": original_type, **resource},
        }
        envelope.update(wrong.pop("envelope", {}))
        body = json.dumps(envelope, ensure_ascii=False).encode()
        return HTTPHeaders(self.headers(body, **wrong)), body

    def certificates(self, *certificates):
        """The body of GET /v3/certificates."""
        return {
            "data": [
                {
                    "serial_no": f"{certificate.serial_number:040X}",
                    "effective_time": certificate.not_valid_before_utc.isoformat(),
                    "expire_time": certificate.not_valid_after_utc.isoformat(),
                    "encrypt_certificate": self.seal(pem_of(certificate), "certificate"),
                }
                for certificate in certificates
            ]
        }


@pytest.fixture
def platform(keys, clock):
    return Platform(keys, clock)


@dataclass
class Reply:
    """What the gateway does with one request.

    ``signed``: True, or False for no headers, or ``wrong``, ``probe``, ``stranger``, ``stale``. ``act``: ``answer``,
    ``hang``, ``reset`` (after reading), ``truncate``, ``drip``, ``garbage``.
    """

    status: int = 200
    body: object = b""
    signed: object = True
    act: str = "answer"
    headers: dict = field(default_factory=dict)


@dataclass
class Request:
    """One request as it came over the wire."""

    connection: int
    method: str
    target: str
    headers: HTTPHeaders
    body: bytes

    @property
    def authorization(self):
        """The five pairs of the Authorization header."""
        scheme, _, pairs = self.headers["Authorization"].partition(" ")
        assert scheme == "WECHATPAY2-SHA256-RSA2048"
        return dict(pair.split("=", 1) for pair in pairs.replace('"', "").split(","))


class Gateway:
    """A raw HTTP server on loopback; answers from ``replies``, then for ever with the last one."""

    def __init__(self, platform):
        self.platform = platform
        self.replies = [Reply()]
        self.requests = []
        self.connections = 0
        self.base = ""
        self._server = None
        self._tasks = set()

    def script(self, *replies):
        """Say what happens to the next requests."""
        self.replies = list(replies)

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self):
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        self.connections += 1
        number = self.connections
        try:
            while True:
                self.requests.append(await self._read(reader, number))
                reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
                if not await self._answer(reply, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()
            self._tasks.discard(asyncio.current_task())

    async def _read(self, reader, number):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1")
        line, _, fields = head.partition("\r\n")
        headers = HTTPHeaders.parse(fields.strip())
        body = await reader.readexactly(int(headers.get("Content-Length", 0)))
        method, target, _ = line.split(" ")
        return Request(number, method, target, headers, body)

    async def _answer(self, reply, writer):
        if reply.act == "hang":
            await asyncio.Event().wait()
        if reply.act == "reset":
            writer.transport.abort()
            return False
        if reply.act == "garbage":
            writer.write(b"\x00\x01 this is not HTTP\r\n\r\n")
            await writer.drain()
            return False
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body, ensure_ascii=False).encode()
        head = self._head(reply, body)
        if reply.act in ("truncate", "drip"):
            writer.write(head + body[: len(body) // 2])
            await writer.drain()
            if reply.act == "drip":
                await asyncio.Event().wait()
            return False
        writer.write(head + body)
        await writer.drain()
        return True

    def _head(self, reply, body):
        headers = {
            "Server": "nginx",
            "Date": format_datetime(self.platform.clock.now(), usegmt=True),
            "Request-ID": f"08F0A0BFC90610{len(self.requests):026X}-0",
            "Keep-Alive": "timeout=8",
        }
        if reply.status != 204:
            headers |= {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(body))}
        headers |= self._signature(reply.signed, body) | reply.headers
        lines = [f"HTTP/1.1 {reply.status} X", *(f"{name}: {value}" for name, value in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin1")

    def _signature(self, signed, body):
        platform = self.platform
        if signed is False:
            return {}
        if signed == "wrong":
            return platform.headers(body, key=platform.keys.stranger)
        if signed == "probe":
            return platform.headers(body, signature="WECHATPAY/SIGNTEST/" + secrets.token_hex(120))
        if signed == "stranger":
            return platform.headers(body, key=platform.keys.stranger, serial="7F" * 20)
        if signed == "stale":
            return platform.headers(body, age=301)
        assert signed is True
        return platform.headers(body)


@pytest.fixture
def reply():
    """The class of gateway replies."""
    return Reply


@pytest.fixture
def gateway(io_loop, platform):
    """A running gateway."""
    running = Gateway(platform)
    io_loop.run_sync(running.start)
    yield running
    io_loop.run_sync(running.stop)


@pytest.fixture
def backup(io_loop, platform):
    """A second running gateway, the other city."""
    running = Gateway(platform)
    io_loop.run_sync(running.start)
    yield running
    io_loop.run_sync(running.stop)


@pytest.fixture
def calls():
    """What ``on_call`` was told: (operation, outcome)."""
    return []


@pytest.fixture(scope="session")
def public_keyring(keys):
    """The keyring of pure public-key mode, made once: loading a private key takes 40 ms. It never changes."""
    trust = TrustStore([PlatformKey(KEY_ID, keys.public.public_key())], configured_serial=None)
    return Keyring(MerchantKey(MCHID, keys.merchant_serial, keys.merchant), trust)


@pytest.fixture
def open_client(io_loop, clock, calls, gateway, public_key_settings, public_keyring):
    """Builds clients on the gateway; settings may be changed by name. Key files are loaded only when they change."""
    opened = []

    def on_call(operation, outcome, seconds):
        calls.append((operation, outcome))

    def build(**changes):
        settings = replace(public_key_settings, **({"api_base": gateway.base} | changes))
        parts = {"clock": clock, "entropy": Entropy(), "on_call": on_call}
        if set(changes) <= {"api_base", "api_base_backup", "timeout_ms"}:
            client = WechatPayClient(settings, public_keyring, cache=None, **parts)
        else:
            client = open_wechat_pay(settings, **parts)
        opened.append(client)
        return client

    yield build
    for client in opened:
        io_loop.run_sync(client.close_client)


@pytest.fixture
def client(open_client):
    """A client in pure public-key mode."""
    return open_client()


@pytest.fixture
def certificate_client(open_client, key_dir, tmp_path):
    """Builds clients in certificate mode: downloads unless a file is named."""

    def build(**changes):
        off = {"public_key_id": None, "public_key_path": None, "key_cache_dir": tmp_path / "cache"}
        return open_client(**(off | changes))

    return build


@pytest.fixture
def command():
    """A plain NATIVE order; members may be replaced."""

    def build(**changes):
        members = {
            "out_trade_no": None,
            "trade_type": "NATIVE",
            "description": "一杯茶",
            "total_fen": 100,
            "currency": "CNY",
            "expire_seconds": 7200,
            "openid": None,
            "attach": None,
            "goods_tag": None,
            "detail": None,
            "scene_info": None,
            "settle_info": None,
            "support_fapiao": None,
            "metadata": None,
            "content": {},
        }
        return CreateCommand(**(members | changes))

    return build


@pytest.fixture
def order():
    """A paid order; members may be replaced."""

    def build(**changes):
        members = {
            "out_trade_no": "P20261124000000abc",
            "version": 3,
            "mchid": MCHID,
            "appid": APPID,
            "status": OrderState.PAID,
            "trade_type": "NATIVE",
            "description": "一杯茶",
            "total_fen": 100,
            "currency": "CNY",
            "content": {},
            "attach": None,
            "metadata": None,
            "livemode": True,
            "created_at": NOW,
            "updated_at": NOW,
            "expires_at": NOW,
            "transaction_id": "4200002400202611240000000001",
        }
        return Order(**(members | changes))

    return build


@pytest.fixture
def paid():
    """The members of a paid order in a query answer or payment notification; members may be replaced."""

    def build(**changes):
        members = {
            "mchid": MCHID,
            "appid": APPID,
            "out_trade_no": "P20261124000000abc",
            "transaction_id": "4200002400202611240000000001",
            "trade_type": "NATIVE",
            "trade_state": "SUCCESS",
            "trade_state_desc": "支付成功",
            "bank_type": "OTHERS",
            "attach": "",
            "success_time": "2026-11-24T12:00:00+08:00",
            "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
            "amount": {"total": 100, "payer_total": 90, "currency": "CNY", "payer_currency": "CNY"},
        }
        return {name: value for name, value in (members | changes).items() if value is not ...}

    return build


@pytest.fixture
def refunded():
    """The members of a refund answer; members may be replaced."""

    def build(**changes):
        members = {
            "refund_id": "50000000012026112400000000001",
            "out_refund_no": "R1",
            "transaction_id": "4200002400202611240000000001",
            "out_trade_no": "P20261124000000abc",
            "channel": "ORIGINAL",
            "user_received_account": "支付用户零钱",
            "create_time": "2026-11-24T12:00:00+08:00",
            "status": "PROCESSING",
            "amount": {
                "total": 100,
                "refund": 40,
                "payer_total": 100,
                "payer_refund": 40,
                "from": [],
                "currency": "CNY",
            },
            "promotion_detail": [],
        }
        return {name: value for name, value in (members | changes).items() if value is not ...}

    return build


@pytest.fixture
def make_cert():
    """Makes certificates."""
    return make_certificate


@pytest.fixture
def write_pem():
    """Writes a key or certificate as PEM, readable by nobody else."""

    def write(path, thing):
        path.write_bytes(pem_of(thing))
        path.chmod(0o600)
        return path

    return write
