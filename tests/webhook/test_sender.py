"""One signed POST to a merchant's endpoint: what goes out, and what every kind of answer is taken for."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr
from standardwebhooks.webhooks import WebhookVerificationError
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from payd.config import WebhookConfig
from payd.errors import RequestError
from payd.models.ids import BEIJING
from payd.models.webhook import Delivery, DeliveryStatus, WebhookEvent
from payd.ports import WebhookAnswer
from payd.webhook.address_guard import Resolved
from payd.webhook.sender import HttpWebhookSender
from payd.webhook.trial import send_test_event
from tests.webhook.receiver import OTHER_SECRET, SECRET, Answer, CountingEntropy, ManualClock, Received, Receiver

BODY = '{"type":"order.paid","data":{"description":"茶"}}'.encode()
RawEndpoint = Callable[[Callable[[IOStream], Awaitable[None]]], str]


def endpoint(url: str, *secrets: str) -> WebhookConfig:
    chosen = tuple(SecretStr(s) for s in secrets or (SECRET,))
    return WebhookConfig(url=url, secrets=chosen, allow_private_addresses=True)


def delivery(url: str, at: datetime) -> Delivery:
    return Delivery(
        id="dlv_1", version=1, webhook_id="msg_1", url=url, type=WebhookEvent.ORDER_PAID, object_key="P1",
        out_trade_no="P1", out_refund_no=None, payload=BODY, status=DeliveryStatus.PENDING, attempts=0, created_at=at,
        updated_at=at, next_at=at,
    )  # fmt: skip


async def send(url: str, *, timeout_seconds: float = 15, secrets: Sequence[str] = (SECRET,)) -> WebhookAnswer:
    clock = ManualClock()
    sender = HttpWebhookSender([endpoint(url, *secrets)], clock=clock, timeout_seconds=timeout_seconds)
    try:
        return await sender.send(delivery(url, clock.now()))
    finally:
        await sender.close()


async def test_what_goes_out_is_a_standard_webhook(receiver: Receiver) -> None:
    """POST, the exact body, three headers; the standard's own library verifies it."""
    answer = await send(receiver.url("/hook?shop=1"))

    (request,) = receiver.received
    assert (answer.status, answer.error) == (200, None)
    assert request.body == BODY
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("payd/")
    assert request.webhook_id == "msg_1"
    assert request.verify()["data"] == {"description": "茶"}


async def test_a_changed_body_does_not_verify(receiver: Receiver) -> None:
    """The signature covers the body and the id."""
    await send(receiver.url())

    (request,) = receiver.received
    for forged in (
        Received(request.path, request.headers, BODY.replace(b"order.paid", b"order.fail")),
        Received(request.path, {**request.headers, "webhook-id": "msg_2"}, BODY),
    ):
        with pytest.raises(WebhookVerificationError):
            forged.verify()


async def test_while_secrets_change_each_of_them_signs(receiver: Receiver) -> None:
    """A receiver that knows the old or the new secret accepts; one that knows neither does not."""
    await send(receiver.url(), secrets=(OTHER_SECRET, SECRET))

    (request,) = receiver.received
    assert [part.split(",")[0] for part in request.headers["webhook-signature"].split(" ")] == ["v1", "v1"]
    request.verify(SECRET)
    request.verify(OTHER_SECRET)
    with pytest.raises(WebhookVerificationError):
        request.verify("whsec_" + "A" * 32)


async def test_the_stamp_is_the_attempts_own(receiver: Receiver) -> None:
    """A retry hours later carries its own time, in whatever zone it is given, or receivers would call it stale."""
    url, clock = receiver.url(), ManualClock()
    clock.time = clock.time.astimezone(BEIJING)
    sender = HttpWebhookSender([endpoint(url)], clock=clock)

    await sender.send(delivery(url, clock.now() - timedelta(days=2)))
    await sender.close()

    (request,) = receiver.received
    assert request.headers["webhook-timestamp"] == str(int(clock.now().timestamp()))
    request.verify()


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_2xx_is_success(receiver: Receiver, status: int) -> None:
    """What the endpoint says beside its status does not matter."""
    receiver.usual = Answer(status)

    answer = await send(receiver.url())

    assert (answer.status, answer.error) == (status, None)


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 500, 503])
async def test_every_other_status_is_a_failure_with_its_number(receiver: Receiver, status: int) -> None:
    """The number is kept; the endpoint's words are not."""
    receiver.usual = Answer(status, body=b"secret internal page")

    answer = await send(receiver.url())

    assert (answer.status, answer.error) == (status, f"answered {status}")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    """A redirect could lead anywhere, inside too: it is a failure and nothing more is asked."""
    receiver.usual = Answer(status, headers={"Location": receiver.url("/elsewhere")})

    answer = await send(receiver.url())

    assert answer.status == status
    assert answer.error == f"answered {status}: redirects are not followed"
    assert [request.path for request in receiver.received] == ["/hook"]


async def test_an_endpoint_that_is_down_is_an_answer_without_status(receiver: Receiver) -> None:
    """Nobody listens: no exception, no status."""
    url = receiver.url()
    await receiver.close()

    answer = await send(url)

    assert answer.status is None
    assert answer.error is not None
    assert answer.error.startswith("cannot connect")


async def test_an_endpoint_that_never_answers_is_given_up_on(receiver: Receiver) -> None:
    """The whole attempt has one time limit."""
    receiver.hold()

    answer = await send(receiver.url(), timeout_seconds=0.05)

    assert (answer.status, answer.error) == (None, "no answer in time")
    assert len(receiver.received) == 1


async def test_a_name_server_that_hangs_is_given_up_on(io_loop: object) -> None:
    """The look-up is inside the time limit."""
    never = asyncio.Event()

    async def lookup(host: str, port: int, family: int) -> Sequence[Resolved]:
        await never.wait()
        raise AssertionError("unreachable")

    url = "https://hooks.example/"
    sender = HttpWebhookSender([endpoint(url)], clock=ManualClock(), lookup=lookup, timeout_seconds=0.05)

    answer = await sender.send(delivery(url, datetime.now(UTC)))
    await sender.close()

    assert (answer.status, answer.error) == (None, "no answer in time")


async def test_a_name_that_does_not_exist_is_a_failure(io_loop: object) -> None:
    """No address, no attempt on the wire."""

    async def lookup(host: str, port: int, family: int) -> Sequence[Resolved]:
        return []

    url = "https://hooks.example/"
    sender = HttpWebhookSender([endpoint(url)], clock=ManualClock(), lookup=lookup)

    answer = await sender.send(delivery(url, datetime.now(UTC)))
    await sender.close()

    assert answer.status is None
    assert answer.error is not None


#: Raw answers, and the status they count for.
RAW_ANSWERS = {
    "closed at once": (b"", None),
    "cut in the status line": (b"HTTP/1.1 20", None),
    "cut in the headers": (b"HTTP/1.1 200 OK\r\nContent-Le", None),
    "not HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", None),
    "only an interim answer": (b"HTTP/1.1 102 Processing\r\n\r\n", None),
    "cut in the body": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal", 200),
    "a body over the cap": (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 1000, 200),
    "a failure with a body over the cap": (b"HTTP/1.1 500 No\r\nContent-Length: 99999999\r\n\r\n", 500),
    "an endless chunked body": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"8000\r\n" + b"x" * 0x8000
                                + b"\r\n8000\r\n" + b"x" * 0x8000 + b"\r\n8000\r\n" + b"x" * 0x8000, 200),
    "headers over the cap": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", None),
}  # fmt: skip


@pytest.mark.parametrize("name", RAW_ANSWERS)
async def test_the_status_line_alone_decides(raw_endpoint: RawEndpoint, name: str) -> None:
    """A whole header with a status counts, whatever becomes of the body; anything less is no answer. Never a raise."""
    raw, expected = RAW_ANSWERS[name]

    async def talk(stream: IOStream) -> None:
        await stream.read_until(BODY)
        await stream.write(raw)
        stream.close()

    answer = await send(raw_endpoint(talk))

    assert expected == answer.status
    assert (answer.error is None) == (expected == 200)


async def test_a_body_that_never_ends_does_not_undo_its_status(raw_endpoint: RawEndpoint) -> None:
    """2xx was said in time: sending it again would be a repeat the merchant did not ask for."""

    async def talk(stream: IOStream) -> None:
        await stream.read_until(BODY)
        await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        await stream.read_until_close()

    answer = await send(raw_endpoint(talk), timeout_seconds=0.05)

    assert (answer.status, answer.error) == (200, None)


async def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would connect where the guard cannot see."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")

    answer = await send(receiver.url())

    assert answer.status == 200


async def test_an_endpoint_outside_the_configuration_gets_nothing(receiver: Receiver) -> None:
    """Only configured URLs are posted to; there is no secret to sign with for others."""
    clock = ManualClock()
    sender = HttpWebhookSender([endpoint(receiver.url())], clock=clock)

    answer = await sender.send(delivery(receiver.url("/other"), clock.now()))
    await sender.close()

    assert (answer.status, answer.error) == (None, "the endpoint is no longer in the configuration")
    assert receiver.received == []


async def test_a_test_event_is_signed_like_any_other(receiver: Receiver) -> None:
    """`payd webhook test` posts type test to one configured endpoint."""
    url = receiver.url()

    answer = await send_test_event(url, [endpoint(url)], clock=ManualClock(), entropy=CountingEntropy())

    (request,) = receiver.received
    assert answer.status == 200
    assert request.verify()["type"] == "test"
    assert request.webhook_id.startswith("msg_")


async def test_a_test_event_goes_to_configured_endpoints_only(receiver: Receiver) -> None:
    """The command line is no way round the configuration."""
    with pytest.raises(RequestError) as refused:
        await send_test_event(
            receiver.url("/other"), [endpoint(receiver.url())], clock=ManualClock(), entropy=CountingEntropy()
        )

    assert refused.value.code == "not_found"
    assert receiver.received == []


# -- TLS ----------------------------------------------------------------------------------------------------------


def certificate_for(name: str, folder: Path) -> ssl.SSLContext:
    """Make a self-signed certificate and a server context that uses it; the certificate is left in ca.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return context


@pytest.mark.parametrize(
    ("host", "trusted", "status", "error"),
    [
        ("hooks.example", True, 204, None),
        ("hooks.example", False, None, "TLS: the certificate cannot be verified"),
        ("other.example", True, None, "TLS: the certificate cannot be verified"),
    ],
)
async def test_the_certificate_and_its_name_are_verified(
    io_loop: object, tmp_path: Path, host: str, trusted: bool, status: int | None, error: str | None
) -> None:
    """Only a trusted certificate for this very name gets to see an order."""
    got: list[bytes] = []

    class Hook(RequestHandler):
        def post(self) -> None:
            got.append(self.request.body)
            self.set_status(204)

    async def lookup(name: str, port: int, family: int) -> Sequence[Resolved]:
        return [(2, ("127.0.0.1", port))]

    server = HTTPServer(
        Application([("/", Hook)], log_function=lambda handler: None),
        ssl_options=certificate_for("hooks.example", tmp_path),
    )
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    url = f"https://{host}:{sockets[0].getsockname()[1]}/"
    trust = ssl.create_default_context(cafile=tmp_path / "ca.pem") if trusted else None
    sender = HttpWebhookSender([endpoint(url)], clock=ManualClock(), lookup=lookup, tls=trust)

    answer = await sender.send(delivery(url, datetime.now(UTC)))
    await sender.close()
    server.stop()
    await server.close_all_connections()

    assert (answer.status, answer.error) == (status, error)
    assert got == ([BODY] if status else [])
