"""A merchant who signs by hand, a receiver of callbacks, and a simulator with a clock that stands still.

Nothing here uses the simulator's own signing code: requests are signed and answers verified from the text of
the WeChat Pay documentation, so the simulator has a witness of its own.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from payd.sandbox import Sandbox, prepare_directory

NOON = 1_795_406_400.0  # 2026-11-23 12:00:00 in Beijing


@dataclass
class Wall:
    """A wall clock that moves only when a test moves it."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now


@dataclass
class Answer:
    """What the simulator said."""

    status: int
    body: bytes
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def signed(self) -> bool:
        return "Wechatpay-Signature" in self.headers


class RawMerchant:
    """Signs each request by section 1 of PROTOCOL.md and can get every part of it wrong."""

    def __init__(self, simulator: Sandbox, wall: Wall) -> None:
        self.facts = simulator.merchant
        self.base_url = simulator.base_url
        self.wall = wall
        key = serialization.load_pem_private_key(
            self.facts.private_key_path.read_bytes(), None, unsafe_skip_rsa_key_validation=True
        )
        self.key: Any = key
        self._client = SimpleAsyncHTTPClient(force_instance=True, max_clients=64)

    def close(self) -> None:
        self._client.close()

    def authorization(
        self,
        method: str,
        target: str,
        body: bytes,
        *,
        timestamp: int | None = None,
        nonce: str | None = None,
        **wrong: str,
    ) -> str:
        timestamp = int(self.wall()) if timestamp is None else timestamp
        nonce = nonce or secrets.token_hex(16)
        text = f"{method}\n{target}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"
        signature = base64.b64encode(self.key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()
        fields = {
            "mchid": self.facts.mchid,
            "nonce_str": nonce,
            "signature": signature,
            "timestamp": str(timestamp),
            "serial_no": self.facts.merchant_serial_no,
        } | wrong
        return "WECHATPAY2-SHA256-RSA2048 " + ",".join(f'{name}="{value}"' for name, value in fields.items())

    async def send(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        headers: dict[str, str | None] | None = None,
        raw: bytes | None = None,
        timeout: float = 10,
        **signing: Any,
    ) -> Answer:
        """One signed request; ``headers`` with None take a header away."""
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        wanted: dict[str, str | None] = {
            "Authorization": self.authorization(method, target, content, **signing),
            "Accept": "application/json",
            "User-Agent": "payd-tests",
            "Content-Type": "application/json",
            "Wechatpay-Serial": None,
        } | (headers or {})
        request = HTTPRequest(
            self.base_url + target,
            method=method,
            body=content if method == "POST" else None,
            headers={name: value for name, value in wanted.items() if value is not None},
            user_agent=None,
            decompress_response=False,
            request_timeout=timeout,
        )
        if wanted["User-Agent"] is None:
            request.headers["User-Agent"] = ""
        answer: HTTPResponse = await self._client.fetch(request, raise_error=False)
        return Answer(answer.code, answer.body, answer.headers)

    async def get(self, target: str, **options: Any) -> Answer:
        return await self.send("GET", target, **options)

    async def post(self, target: str, body: Any, **options: Any) -> Answer:
        return await self.send("POST", target, body, **options)

    def prepay_body(self, out_trade_no: str = "order-000001", **changes: Any) -> dict[str, Any]:
        """A Native prepay; ``changes`` replace members, None removes one."""
        body = {
            "appid": self.facts.appid,
            "mchid": self.facts.mchid,
            "description": "一杯茶",
            "out_trade_no": out_trade_no,
            "notify_url": "http://127.0.0.1:9/notify",
            "amount": {"total": 100, "currency": "CNY"},
        } | changes
        return {name: value for name, value in body.items() if value is not None}

    async def prepay(self, out_trade_no: str = "order-000001", product: str = "native", **changes: Any) -> Answer:
        return await self.post(f"/v3/pay/transactions/{product}", self.prepay_body(out_trade_no, **changes))

    async def query(self, out_trade_no: str = "order-000001", **options: Any) -> Answer:
        target = f"/v3/pay/transactions/out-trade-no/{out_trade_no}?mchid={self.facts.mchid}"
        return await self.get(target, **options)

    async def close_order(self, out_trade_no: str = "order-000001", **options: Any) -> Answer:
        target = f"/v3/pay/transactions/out-trade-no/{out_trade_no}/close"
        return await self.post(target, {"mchid": self.facts.mchid}, **options)

    def refund_body(self, out_refund_no: str = "refund-1", fen: int = 40, **changes: Any) -> dict[str, Any]:
        body = {
            "out_trade_no": "order-000001",
            "out_refund_no": out_refund_no,
            "amount": {"refund": fen, "total": 100, "currency": "CNY"},
            "notify_url": "http://127.0.0.1:9/notify",
        } | changes
        return {name: value for name, value in body.items() if value is not None}

    async def refund(self, out_refund_no: str = "refund-1", fen: int = 40, **changes: Any) -> Answer:
        return await self.post("/v3/refund/domestic/refunds", self.refund_body(out_refund_no, fen, **changes))

    async def query_refund(self, out_refund_no: str = "refund-1", **options: Any) -> Answer:
        return await self.get(f"/v3/refund/domestic/refunds/{out_refund_no}", **options)

    def platform_keys(self) -> dict[str, Any]:
        """serial -> public key of what the merchant was given at the start."""
        certificate = x509.load_pem_x509_certificate(self.facts.platform_cert_path.read_bytes())
        return {
            self.facts.public_key_id: serialization.load_pem_public_key(self.facts.public_key_path.read_bytes()),
            self.facts.platform_serial_no: certificate.public_key(),
        }

    def verifies(self, headers: Any, body: bytes, extra: dict[str, Any] | None = None) -> bool:
        """Section 2.2, by hand: does the signature of an answer or a callback hold?"""
        key = (self.platform_keys() | (extra or {})).get(headers["Wechatpay-Serial"])
        if key is None:
            return False
        text = f"{headers['Wechatpay-Timestamp']}\n{headers['Wechatpay-Nonce']}\n".encode() + body + b"\n"
        try:
            signature = base64.b64decode(headers["Wechatpay-Signature"], validate=True)
            key.verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
        except (ValueError, InvalidSignature):
            return False
        return True

    def unseal(self, resource: dict[str, Any]) -> bytes:
        """Section 4.1, by hand."""
        return AESGCM(self.facts.api_v3_key.encode()).decrypt(
            resource["nonce"].encode(),
            base64.b64decode(resource["ciphertext"]),
            resource.get("associated_data", "").encode(),
        )


class Controls:
    """The control API."""

    def __init__(self, merchant: RawMerchant) -> None:
        self._merchant = merchant

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body)
        if method == "POST" and content is None:
            content = ""
        request = HTTPRequest(
            f"{self._merchant.base_url}/_sandbox/{path}",
            method=method,
            body=content,
            headers=headers,
            request_timeout=30,
        )
        answer = await self._merchant._client.fetch(request, raise_error=False)
        return Answer(answer.code, answer.body, answer.headers)

    async def pay(self, out_trade_no: str = "order-000001", **more: Any) -> Any:
        answer = await self("POST", "pay", {"out_trade_no": out_trade_no, "wait": True} | more)
        assert answer.status == 200, answer.body
        return answer.json

    async def advance(self, seconds: float = 0) -> Any:
        answer = await self("POST", "clock", {"advance_seconds": seconds})
        assert answer.status == 200, answer.body
        return answer.json

    async def fault(self, target: str, kind: str, **more: Any) -> Any:
        answer = await self("POST", "faults", {"target": target, "kind": kind} | more)
        assert answer.status == 200, answer.body
        return answer.json

    async def switch(self, **switches: Any) -> Any:
        answer = await self("POST", "switches", switches)
        assert answer.status == 200, answer.body
        return answer.json

    async def book(self, query: str = "") -> Any:
        return (await self("GET", f"book{query}")).json


@dataclass
class Callback:
    """One callback as it came in."""

    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """A merchant's callback address that answers as it is told, 204 when the list is used up."""

    url: str
    answers: list[int] = field(default_factory=list)
    received: list[Callback] = field(default_factory=list)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One simulated merchant for all tests; its files are only read."""
    directory = tmp_path_factory.mktemp("merchant") / "sandbox"
    prepare_directory(directory)
    return directory


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def simulator(io_loop: Any, prepared: Path, wall: Wall) -> Any:
    """A running simulator whose book lives in memory and whose wall clock is the test's."""
    running = Sandbox(prepared, seed=7, persist=False, backup_port=0, wall_clock=wall)
    io_loop.run_sync(running.start)
    yield running
    io_loop.run_sync(running.stop)


@pytest.fixture
def merchant(simulator: Sandbox, wall: Wall) -> Any:
    client = RawMerchant(simulator, wall)
    yield client
    client.close()


@pytest.fixture
def control(merchant: RawMerchant) -> Controls:
    return Controls(merchant)


@pytest.fixture
def receiver(io_loop: Any) -> Any:
    """A real HTTP server that keeps every callback it gets."""

    class Keep(RequestHandler):
        def post(self) -> None:
            kept.received.append(Callback(self.request.headers, self.request.body))
            status = kept.answers.pop(0) if kept.answers else 204
            self.set_status(status)
            if status >= 300:
                self.finish({"code": "FAIL", "message": "told to"})

    sock, port = bind_unused_port()
    kept = Receiver(f"http://127.0.0.1:{port}/notify")

    async def serve() -> HTTPServer:
        server = HTTPServer(Application([("/notify", Keep)]))
        server.add_socket(sock)
        return server

    server = io_loop.run_sync(serve)
    yield kept
    server.stop()
    io_loop.run_sync(server.close_all_connections)
