"""The line to the daemon: every way to lose it is named, the last data stays, and it is tried again."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from dashboard.api_client import Action, ApiClient, RequestFailed, failure_of_error, path_of, sound
from dashboard.poller import RETRY_SECONDS, Poller
from dashboard.settings import ApiKey
from dashboard.snapshots import AUTH, KEY_CHECK_SECONDS, KEY_CHECKS, METRICS, Snapshot, Want

ORDERS = Want("orders", "/pay/orders", (("limit", "5"),))


class Wire:
    """A poller on the fake daemon with a clock that moves when told."""

    def __init__(self, daemon: Any, key: str | None, *, timeout: float = 5.0, checks: tuple[Want, ...] = ()) -> None:
        self.source = ApiClient(daemon.url, ApiKey(key) if key else None, request_timeout_seconds=timeout)
        self.clock = 1000.0
        self.posted: list[Snapshot] = []
        self.wants: tuple[Want, ...] = (ORDERS,)
        self.poller = Poller(
            self.source,
            clock=lambda: self.clock,
            post=self.posted.append,
            wants=lambda: self.wants,
            interval_seconds=2.0,
            key_checks=checks,
        )

    async def tick(self) -> Snapshot:
        self.clock += 2.0
        return await self.poller.poll_once()

    async def minute(self) -> Snapshot:
        for _ in range(30):
            snapshot = await self.tick()
        return snapshot


async def test_a_good_tick_brings_metrics_readiness_and_what_the_screen_wants(daemon: Any) -> None:
    """One tick asks for exactly that, with the key only where it is needed."""
    wire = Wire(daemon, daemon.key)

    snapshot = await wire.tick()

    assert snapshot.link.state == "up"
    assert snapshot.ready.data["mode"] == "sandbox"
    assert len(snapshot.part(ORDERS).data["orders"]) == 5
    assert {"/metrics", "/readyz", "/pay/orders"} == set(daemon.paths())
    assert {request.path for request in daemon.requests if "X-Api-Key" in request.headers} == {"/pay/orders"}
    wire.source.close()


async def test_a_killed_daemon_is_refused_and_its_last_data_stays(daemon: Any) -> None:
    """Refused is named; the ladder is 1, 2, 5, 10 s; a return is seen."""
    wire = Wire(daemon, daemon.key)
    good = await wire.tick()
    await daemon.stop()

    delays = []
    for _ in range(6):
        lost = await wire.tick()
        delays.append(wire.poller.delay_seconds)

    assert lost.link.failure.cause == "refused"
    assert good.metrics.data is lost.metrics.data
    assert good.metrics.at == lost.metrics.at
    assert good.part(ORDERS).data == lost.part(ORDERS).data
    assert lost.part(ORDERS).failure.cause == "refused"
    assert [*RETRY_SECONDS, 10.0, 10.0] == delays
    daemon.listen()
    back = await wire.tick()
    assert (back.link.state, back.part(ORDERS).failure) == ("up", None)
    assert wire.poller.delay_seconds == 2.0
    wire.source.close()


async def test_a_hanging_daemon_is_a_time_out(daemon: Any) -> None:
    """Silence is named as such, and nothing shown changes."""
    wire = Wire(daemon, daemon.key, timeout=0.2)
    good = await wire.tick()
    daemon.hanging |= {"/metrics", "/readyz", "/pay/orders"}

    lost = await wire.tick()

    assert (lost.link.state, lost.link.failure.cause) == ("lost", "timeout")
    assert good.metrics.at == lost.metrics.at
    wire.source.close()


async def test_a_refused_key_keeps_the_line_and_names_the_key(daemon: Any) -> None:
    """401 concerns the key alone: money and health go on."""
    wire = Wire(daemon, "wrong-key-000000")

    snapshot = await wire.tick()

    assert snapshot.link.state == "up"
    assert (snapshot.key_failure().cause, snapshot.key_failure().status) == ("unauthorized", 401)
    assert not snapshot.part(ORDERS).known
    wire.source.close()


async def test_without_a_key_nothing_is_asked_that_needs_one(daemon: Any) -> None:
    """No request goes out only to be refused and counted."""
    wire = Wire(daemon, None)

    snapshot = await wire.tick()

    assert snapshot.key_failure().cause == "no_key"
    assert {"/metrics", "/readyz"} == set(daemon.paths())
    wire.source.close()


def overview_wire(daemon: Any, key: str | None) -> Wire:
    """A wire as the first screen has it: nothing wanted, the key checked."""
    wire = Wire(daemon, key, checks=KEY_CHECKS)
    wire.wants = ()
    return wire


async def test_the_key_is_checked_once_at_the_start_and_then_once_a_minute(daemon: Any) -> None:
    """A good key costs the daemon three small reads a minute, whatever is on screen."""
    wire = overview_wire(daemon, daemon.key)

    first = await wire.tick()
    assert sorted(daemon.paths()) == ["/metrics", "/pay/metrics/auth", "/pay/orders", "/pay/refunds", "/readyz"]
    last = await wire.minute()
    await wire.minute()

    assert (first.key_failure(), last.key_failure(), KEY_CHECK_SECONDS) == (None, None, 60.0)
    assert [daemon.paths().count(want.path) for want in KEY_CHECKS] == [3, 3, 3]
    assert {request.arguments["limit"][0] for request in daemon.requests if request.path == "/pay/orders"} == {b"1"}
    wire.source.close()


async def test_a_refused_key_is_known_after_one_tick_and_not_asked_in_a_flood(daemon: Any) -> None:
    """Each refusal is counted by the daemon: one ask per ten seconds, of the check and of the list in front."""
    wire = Wire(daemon, "wrong-key-000000", checks=KEY_CHECKS)

    first = await wire.tick()
    await wire.minute()

    assert (first.key_failure().cause, first.key_failure().status) == ("unauthorized", 401)
    assert (daemon.paths().count(AUTH.path), daemon.paths().count(ORDERS.path)) == (7, 7)
    assert "/pay/refunds" not in daemon.paths()
    wire.source.close()


async def test_a_key_taken_back_is_noticed_by_the_next_refusal_and_its_return_too(daemon: Any) -> None:
    """A refused list doubts the key at once, long before the check is due; `refresh` and ten seconds find it good."""
    wire, key = Wire(daemon, daemon.key, checks=KEY_CHECKS), daemon.key
    await wire.tick()

    daemon.key = "another-key-0000"
    refused = await wire.tick()
    daemon.key = key
    for _ in range(5):
        good = await wire.tick()

    assert refused.key_failure().cause == "unauthorized"
    assert (good.key_failure(), len(good.part(ORDERS).data["orders"])) == (None, 5)
    wire.source.close()


async def test_the_key_is_checked_anew_when_the_line_returns(daemon: Any) -> None:
    """A restarted daemon may have other keys."""
    wire = overview_wire(daemon, daemon.key)
    await wire.tick()
    await daemon.stop()
    await wire.tick()
    daemon.key = "another-key-0000"
    daemon.listen()

    snapshot = await wire.tick()

    assert (snapshot.link.state, snapshot.key_failure().cause) == ("up", "unauthorized")
    wire.source.close()


async def test_every_missing_scope_is_named_and_nothing_but_it(daemon: Any) -> None:
    """403 of one read is one scope; the other works."""
    wire = overview_wire(daemon, daemon.key)
    denied = (403, daemon.problem(403, "scope_denied", "The API key lacks the scope."))
    daemon.answers |= {"/pay/refunds": denied}
    one = await wire.tick()
    daemon.answers |= {"/pay/orders": denied}
    wire.poller.wake(forget=True)
    both = await wire.tick()

    assert (one.key_failure().cause, one.missing_scopes) == ("forbidden", ("refund_query",))
    assert both.missing_scopes == ("order_query", "refund_query")
    wire.source.close()


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [(503, "api_key_not_configured", "not_configured"), (429, "rate_limited", "busy")],
)
async def test_other_refusals_of_the_key_are_told_too(daemon: Any, status: int, code: str, cause: str) -> None:
    """A daemon without keys, and one that has heard too many bad ones (a good key is served even then)."""
    wire = overview_wire(daemon, daemon.key)
    daemon.answers["/pay/metrics/auth"] = (status, daemon.problem(status, code, "No."))

    snapshot = await wire.tick()

    assert (snapshot.link.state, snapshot.key_failure().cause) == ("up", cause)
    wire.source.close()


async def test_without_a_key_the_check_asks_nothing(daemon: Any) -> None:
    """What is missing is known without a request."""
    wire = overview_wire(daemon, None)

    snapshot = await wire.minute()

    assert snapshot.key_failure().cause == "no_key"
    assert {"/metrics", "/readyz"} == set(daemon.paths())
    wire.source.close()


async def test_a_scrape_that_fails_alone_does_not_lose_the_line(daemon: Any) -> None:
    """One bad endpoint is a failure of its part."""
    wire = Wire(daemon, daemon.key)
    daemon.answers["/metrics"] = (500, {"code": "internal", "detail": "no"})

    snapshot = await wire.tick()

    assert snapshot.link.state == "up"
    assert (
        snapshot.metrics.failure.cause, snapshot.metrics.failure.status, snapshot.metrics.failure.code
    ) == ("http", 500, "internal")  # fmt: skip
    assert snapshot.metrics.data is None
    wire.source.close()


@pytest.mark.parametrize(
    "body",
    ["<html>not payd</html>", b"\xff\xfe\x00", '{"orders": NaN}', "", "[" * 20000, '{"orders": 1' + "0" * 5000 + "}"],
)
async def test_an_answer_that_is_not_understood_is_named_malformed(daemon: Any, body: Any) -> None:
    """Whatever else listens there, nothing is guessed."""
    wire = Wire(daemon, daemon.key)
    daemon.answers["/pay/orders"] = (200, body)

    snapshot = await wire.tick()

    assert snapshot.part(ORDERS).failure.cause == "malformed"
    wire.source.close()


async def test_not_ready_is_data_and_no_failure(daemon: Any) -> None:
    """A daemon that says why it is not ready is heard."""
    wire = Wire(daemon, daemon.key)
    daemon.answers["/readyz"] = (503, {"status": "not_ready", "mode": "live", "checks": {"draining": "yes"}})

    snapshot = await wire.tick()

    assert (snapshot.ready.data["status"], snapshot.ready.failure) == ("not_ready", None)
    wire.source.close()


async def test_a_redirect_is_never_followed(daemon: Any) -> None:
    """The key is not carried to wherever an answer points."""
    wire = Wire(daemon, daemon.key)
    daemon.answers["/pay/orders"] = (302, {})

    snapshot = await wire.tick()

    assert snapshot.part(ORDERS).failure.status == 302
    assert daemon.paths().count("/pay/orders") == 1
    wire.source.close()


def certificate(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate nobody vouches for; it is also written to `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC)).not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(private)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


async def test_an_untrusted_certificate_is_named_tls_and_ca_file_trusts_it(daemon: Any, tmp_path: Path) -> None:
    """No key is ever sent to a host that cannot prove its name; --ca-file says whom to believe."""
    server, (socket, port) = HTTPServer(daemon.application(), ssl_options=certificate(tmp_path)), bind_unused_port()
    server.add_socket(socket)
    doubting = ApiClient(f"https://127.0.0.1:{port}", ApiKey(daemon.key))
    trusting = ApiClient(f"https://127.0.0.1:{port}", ApiKey(daemon.key), ca_file=str(tmp_path / "cert.pem"))

    with pytest.raises(RequestFailed) as caught:
        await doubting.read(ORDERS)

    assert (caught.value.failure.cause, daemon.requests) == ("tls", [])
    assert len((await trusting.read(ORDERS))["orders"]) == 5
    doubting.close()
    trusting.close()
    server.stop()
    await server.close_all_connections()


async def test_an_oversize_answer_is_cut_off(daemon: Any) -> None:
    """A wrong or hostile daemon cannot fill the memory."""
    wire = Wire(daemon, daemon.key)
    daemon.answers["/pay/orders"] = (200, b"[" + b" " * (9 * 1024 * 1024) + b"]")

    snapshot = await wire.tick()

    assert snapshot.part(ORDERS).failure is not None
    wire.source.close()


async def test_another_filter_never_shows_the_old_filters_rows(daemon: Any) -> None:
    """An answer belongs to its question."""
    wire = Wire(daemon, daemon.key)
    await wire.tick()
    paid = Want("orders", "/pay/orders", (("limit", "5"), ("status", "PAID")))
    wire.wants = (paid,)
    daemon.answers["/pay/orders"] = (500, {})

    snapshot = await wire.tick()

    assert not snapshot.part(paid).known
    wire.source.close()


async def test_a_want_with_a_pace_is_asked_no_more_often(daemon: Any) -> None:
    """An open order is asked every few seconds, because the daemon asks WeChat each time."""
    wire = Wire(daemon, daemon.key)
    slow = Want("order", "/pay/query", (("out_trade_no", "shop-000000"),), 10.0)
    wire.wants = (slow,)

    for _ in range(6):
        await wire.tick()

    assert daemon.paths().count("/pay/query") == 2
    wire.poller.wake(forget=True)
    await wire.tick()
    assert daemon.paths().count("/pay/query") == 3
    wire.source.close()


async def test_an_action_that_times_out_is_an_unknown_outcome(daemon: Any) -> None:
    """Silence after a refund is no refusal."""
    client = ApiClient(daemon.url, ApiKey(daemon.key))
    await daemon.stop()

    outcome = await client.act(Action("/pay/refund", {"out_trade_no": "x"}, "k1"))

    assert (outcome.status, outcome.accepted, outcome.settled) == (None, False, False)
    client.close()


async def test_the_key_is_hidden_should_the_daemon_echo_it(daemon: Any) -> None:
    """No answer can put the key on the screen."""
    wire = Wire(daemon, daemon.key)
    daemon.answers["/pay/orders"] = (400, {"detail": f"bad key {daemon.key}", "code": "invalid_request"})

    snapshot = await wire.tick()

    assert daemon.key not in snapshot.part(ORDERS).failure.detail
    assert daemon.key not in repr(ApiKey(daemon.key))
    wire.source.close()


def test_paths_escape_what_comes_from_outside() -> None:
    """An id cannot climb out of its place in a path."""
    assert path_of("pay", "orders", "../../metrics?x#", "events") == "/pay/orders/..%2F..%2Fmetrics%3Fx%23/events"


def test_answers_are_made_sound() -> None:
    """Half a surrogate pair becomes a question mark; a pit of brackets is refused."""
    assert sound({"a\ud800": ["红茶", "\udfff", 1, None]}) == {"a?": ["红茶", "?", 1, None]}
    deep: Any = 1
    for _ in range(50):
        deep = [deep]
    with pytest.raises(ValueError):
        sound(deep)


def test_every_error_has_a_cause_in_a_word() -> None:
    """Whatever the line throws is named."""
    assert failure_of_error(ConnectionResetError()).cause == "reset"
    assert failure_of_error(ssl.SSLError(1, "bad")).cause == "tls"
    assert failure_of_error(OSError(113, "no route")).cause == "unreachable"
    assert failure_of_error(ValueError("?")).cause == "malformed"


async def test_a_name_that_does_not_exist_is_named(io_loop: Any) -> None:
    """A typing error in the host is told as such."""
    client = ApiClient("http://no-such-host.invalid", None)

    with pytest.raises(RequestFailed) as caught:
        await client.read(METRICS)

    assert caught.value.failure.cause == "name"
    client.close()


async def test_a_daemon_that_breaks_off_is_a_reset(io_loop: Any) -> None:
    """A connection closed without an answer is no time-out."""

    def slam(request: Any) -> None:
        request.connection.stream.close()

    server, (socket, port) = HTTPServer(slam), bind_unused_port()
    server.add_socket(socket)
    client = ApiClient(f"http://127.0.0.1:{port}", None)

    with pytest.raises(RequestFailed) as caught:
        await client.read(METRICS)

    assert caught.value.failure.cause == "reset"
    client.close()
    server.stop()
