"""The simulator's only way out: loopback addresses, with any certificate, and nothing else."""

from __future__ import annotations

import datetime
import socket
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from payd.sandbox.loopback_poster import LoopbackPoster, is_loopback_url


def has_ipv6_loopback():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6_loopback(), reason="this machine has no IPv6 loopback")


@pytest.fixture
def poster(io_loop):
    """The poster under test."""

    async def make():
        return LoopbackPoster()

    made = io_loop.run_sync(make)
    yield made
    made.close()


@pytest.fixture
def self_made(tmp_path):
    """TLS with a certificate that no authority signed, of another name, and expired: nothing about it is right."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pay.shop.example")])
    then = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(then)
        .not_valid_after(then + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@pytest.fixture
def listen(io_loop):
    """Start a receiver at an address, with TLS when a context is given; returns its port and the bodies it got."""
    servers = []

    def start(host, tls=None):
        got = []

        class Keep(RequestHandler):
            def post(self):
                got.append(self.request.body)
                self.set_status(204)

        sockets = bind_sockets(0, host)

        async def serve():
            server = HTTPServer(Application([("/notify", Keep)]), ssl_options=tls)
            server.add_sockets(sockets)
            servers.append(server)

        io_loop.run_sync(serve)
        return sockets[0].getsockname()[1], got

    yield start
    for server in servers:
        server.stop()
        io_loop.run_sync(server.close_all_connections)


@pytest.mark.parametrize("url, here", [
    ("http://[::1]:8080/pay/notify/wechat", True),
    ("https://[0:0:0:0:0:0:0:1]/pay/notify/wechat", True),
    ("http://127.0.0.1:8080/pay/notify/wechat", True),
    ("http://127.8.9.10/", True),
    ("http://LOCALHOST:8080/", True),
    ("http://::1:8080/pay/notify/wechat", False),  # an IPv6 address without its brackets is no URL
    ("http://[::1:8080/", False),
    ("http://[::]:8080/", False),
    ("http://[fe80::1]/", False),
    ("http://[2001:db8::1]:8080/", False),
    ("http://10.0.0.1:8080/", False),
    ("http://localhost.example/", False),
    ("http://::1@pay.shop.example/", False),
])  # fmt: skip
def test_a_url_stays_on_this_machine_or_is_refused(url, here):
    """The guard knows both families' loopback addresses and nothing that only looks like one."""
    assert is_loopback_url(url) == here


@needs_ipv6
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_ipv6_loopback_is_this_machine_too(io_loop, poster, listen, self_made, scheme):
    """A callback reaches a receiver at ::1, whose address stands in brackets, with TLS or without."""
    port, got = listen("::1", self_made if scheme == "https" else None)

    heard = io_loop.run_sync(lambda: poster.post(f"{scheme}://[::1]:{port}/notify", {}, b"paid"))

    assert (heard.status, heard.error) == (204, None)
    assert got == [b"paid"]


@needs_ipv6
def test_a_payment_is_announced_to_an_ipv6_address(io_loop, merchant, control, listen):
    """The whole way: the notify_url of payd at ::1 is taken by a prepay, and its payment is delivered there."""
    port, got = listen("::1")

    async def pay():
        await merchant.prepay(notify_url=f"http://[::1]:{port}/notify")
        await control.pay()
        return await control.book()

    book = io_loop.run_sync(pay)

    assert [notification["state"] for notification in book["notifications"]] == ["delivered"]
    assert len(got) == 1


def test_any_certificate_will_do_on_this_machine(io_loop, poster, listen, self_made):
    """A merchant's program with TLS of its own hears of payments at once, not only when it asks."""
    port, got = listen("127.0.0.1", self_made)

    heard = io_loop.run_sync(lambda: poster.post(f"https://127.0.0.1:{port}/notify", {}, b"paid"))

    assert (heard.status, heard.error) == (204, None)
    assert got == [b"paid"]


def test_a_payment_is_announced_over_tls(io_loop, merchant, control, listen, self_made):
    """The whole way: a prepay names an https address on this machine, and its payment is delivered there."""
    port, got = listen("127.0.0.1", self_made)

    async def pay():
        await merchant.prepay(notify_url=f"https://localhost:{port}/notify")
        await control.pay()
        return await control.book()

    book = io_loop.run_sync(pay)

    assert [notification["state"] for notification in book["notifications"]] == ["delivered"]
    assert len(got) == 1


def test_a_certificate_opens_no_other_address(io_loop, poster):
    """https or not, what is not this machine is refused before a connection is made."""
    heard = io_loop.run_sync(lambda: poster.post("https://192.0.2.1:9/notify", {}, b"paid"))

    assert heard.status is None
    assert "192.0.2.1 is not a loopback address" in heard.error


def test_tls_to_a_receiver_without_is_an_attempt_that_failed(io_loop, poster, listen):
    """The receiver's mistake is written down, not raised, and it got nothing."""
    port, got = listen("127.0.0.1")

    heard = io_loop.run_sync(lambda: poster.post(f"https://127.0.0.1:{port}/notify", {}, b"paid"))

    assert heard.status is None
    assert heard.error
    assert got == []
