"""payd's client against payd's simulator, over real HTTP: two programs that share no code and agree on every byte."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tornado.httpclient import HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from payd.errors import VerificationError
from payd.models.bill import BillKind
from payd.models.evidence import PaymentEvidence, RefundEvidence
from payd.models.ids import BEIJING
from payd.models.refund import AbnormalRefundCommand, Refund
from payd.models.states import PaymentEvent, RefundEvent, RefundState
from payd.models.wechat import BillOffer, Closed, PrepayParameters, Refused, Unclear
from payd.sandbox import Sandbox, prepare_directory
from payd.sandbox.faults import KINDS
from payd.wechat import ClientSettings, open_wechat_pay

NUMBER = "P20261124000000abc"


@pytest.fixture
def clock():
    """Stands still at the real time: the simulator's keys are made at the real time too."""

    class Still:
        wall = datetime.now(UTC).replace(microsecond=0)
        ticks = 1000.0

        def now(self):
            return self.wall

        def monotonic(self):
            return self.ticks

        def advance(self, seconds):
            self.wall += timedelta(seconds=seconds)
            self.ticks += seconds

    return Still()


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """One simulated merchant for this file."""
    path = tmp_path_factory.mktemp("sandbox") / "merchant"
    prepare_directory(path)
    return path


@pytest.fixture
def simulator(io_loop, directory, clock):
    """A running simulator with a backup host; its book lives in memory."""
    running = Sandbox(directory, seed=7, persist=False, backup_port=0, wall_clock=lambda: clock.now().timestamp())
    io_loop.run_sync(running.start)
    yield running
    io_loop.run_sync(running.stop)


@pytest.fixture
def control(simulator):
    """Calls the control API."""
    http = SimpleAsyncHTTPClient(force_instance=True)

    async def call(path, body=None):
        method = "GET" if body is None else "POST"
        content = None if body is None else json.dumps(body)
        request = HTTPRequest(f"{simulator.base_url}/_sandbox/{path}", method=method, body=content)
        return json.loads((await http.fetch(request)).body)

    yield call
    http.close()


@pytest.fixture
def callbacks(io_loop):
    """A real server that keeps the callbacks it gets: (url, list of (headers, body))."""
    received = []

    class Keep(RequestHandler):
        def post(self):
            received.append((self.request.headers, self.request.body))
            self.set_status(204)

    sock, port = bind_unused_port()

    async def serve():
        server = HTTPServer(Application([("/notify", Keep)]))
        server.add_socket(sock)
        return server

    server = io_loop.run_sync(serve)
    yield f"http://127.0.0.1:{port}/notify", received
    server.stop()
    io_loop.run_sync(server.close_all_connections)


@pytest.fixture
def connect(io_loop, simulator, clock, callbacks, tmp_path):
    """Builds clients of the simulated merchant, public-key mode unless told otherwise."""
    opened = []
    facts = simulator.merchant

    class Entropy:
        def token_hex(self, byte_count):
            import secrets

            return secrets.token_hex(byte_count)

        def uniform(self, low, high):
            return low

    def build(**changes):
        settings = ClientSettings(
            mchid=facts.mchid,
            appid=facts.appid,
            private_key_path=facts.private_key_path,
            merchant_cert_path=facts.merchant_cert_path,
            merchant_serial_no=facts.merchant_serial_no,
            api_v3_key=facts.api_v3_key.encode(),
            notify_url=callbacks[0],
            public_key_id=facts.public_key_id,
            public_key_path=facts.public_key_path,
            api_base=simulator.base_url,
            api_base_backup=None,
            timeout_ms=5000,
        )
        client = open_wechat_pay(replace(settings, **changes), clock=clock, entropy=Entropy())
        opened.append(client)
        return client

    yield build
    for client in opened:
        io_loop.run_sync(client.close_client)


@pytest.fixture
def client(connect):
    return connect()


PRODUCTS = {
    "NATIVE": {},
    "JSAPI": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
    "APP": {},
    "H5": {"scene_info": {"payer_client_ip": "203.0.113.9", "h5_info": {"type": "Wap"}}},
}


@pytest.fixture
def create(command, clock):
    """Creates an order at WeChat."""

    async def run(client, number=NUMBER, trade_type="NATIVE", **members):
        wish = command(trade_type=trade_type, **(PRODUCTS[trade_type] | members))
        body = client.prepay_body(wish, out_trade_no=number, expires_at=clock.now() + timedelta(hours=2))
        return await client.prepay(trade_type, body)

    return run


@pytest.fixture
def refund(order):
    """Asks for a refund of 40 fen of the order."""

    async def run(client, number="R1", fen=40, **changes):
        body = client.refund_body(
            order(transaction_id=None, **changes), out_refund_no=number, refund_fen=fen, reason="退货", content={}
        )
        return await client.refund(body, out_refund_no=number)

    return run


async def test_every_product_is_created_paid_and_seen(client, create, control):
    """The payer's app accepts the code or the signed parameters; the query says paid."""
    for trade_type in PRODUCTS:
        number = f"P20261124{trade_type}"
        heard = await create(client, number, trade_type, attach="茶", goods_tag="t", support_fapiao=False)
        assert PrepayParameters is type(heard), heard
        unpaid = await client.query_payment(number)

        wish = {"out_trade_no": number, "payer_total": 90, "notify": False}
        if heard.prepay_id is not None:
            wish["pay_params"] = dict(client.client_parameters(trade_type, heard.prepay_id))
        await control("pay", wish)
        paid = await client.query_payment(number)

        assert PaymentEvent.STILL_OPEN is unpaid.event
        assert (PaymentEvent.PAID, 100, 90, "CNY", trade_type) == (
            paid.event,
            paid.total_fen,
            paid.payer_total_fen,
            paid.currency,
            paid.trade_type,
        )
        assert paid.transaction_id is not None


async def test_the_same_prepay_again_gives_fresh_parameters_and_another_does_not(client, create):
    """Identical bytes are welcome; a changed one is a definite refusal."""
    first, second = await create(client), await create(client)
    changed = await create(client, total_fen=101)

    assert PrepayParameters is type(first) is type(second)
    assert (Refused, "OUT_TRADE_NO_USED") == (type(changed), changed.code)


async def test_an_order_that_does_not_exist_is_evidence(client):
    """The simulator signs its 404."""
    heard = await client.query_payment(NUMBER)

    assert heard.exists is False


async def test_close_before_and_after_the_payment(client, create, control):
    """Unpaid: closed, twice. Paid: refused with ORDER_PAID, and the query says paid."""
    await create(client)
    await create(client, "P20261124000000def")
    await control("pay", {"out_trade_no": "P20261124000000def", "notify": False})

    closed = [await client.close(NUMBER) for _ in range(2)]
    refused = await client.close("P20261124000000def")

    assert [Closed, Closed] == [type(heard) for heard in closed]
    assert PaymentEvent.EXPIRED is (await client.query_payment(NUMBER)).event
    assert (Refused, "ORDER_PAID") == (type(refused), refused.code)


async def test_a_refund_runs_to_its_end(client, create, control, refund):
    """Absent, accepted, repeated under the same number, then succeeded."""
    await create(client)
    unpaid = await refund(client)
    await control("pay", {"out_trade_no": NUMBER, "notify": False})
    absent = await client.query_refund("R1")

    accepted = await refund(client)
    again = await refund(client)
    await control("refunds/R1", {"status": "SUCCESS"})
    done = await client.query_refund("R1")

    assert (Refused, "RESOURCE_NOT_EXISTS") == (type(unpaid), unpaid.code)
    assert absent.exists is False
    assert (accepted.event, accepted.refund_fen, accepted.total_fen) == (RefundEvent.STILL_OPEN, 40, 100)
    assert accepted.refund_id == again.refund_id == done.refund_id
    assert RefundEvent.SUCCEEDED is done.event
    assert done.success_at is not None
    assert PaymentEvent.PAID is (await client.query_payment(NUMBER)).event


async def test_an_abnormal_refund_is_finished_on_another_card(client, create, control, refund, clock):
    """Card and name arrive encrypted and the simulator can open them."""
    await create(client)
    await control("pay", {"out_trade_no": NUMBER, "notify": False})
    accepted = await refund(client)
    await control("refunds/R1", {"status": "ABNORMAL"})
    stuck = await client.query_refund("R1")
    record = Refund(
        out_refund_no="R1",
        version=1,
        out_trade_no=NUMBER,
        transaction_id=accepted.transaction_id,
        status=RefundState.REFUNDING,
        refund_fen=40,
        total_fen=100,
        currency="CNY",
        reason=None,
        content={},
        metadata=None,
        wire_request=b"",
        created_at=clock.now(),
        updated_at=clock.now(),
        refund_id=accepted.refund_id,
    )

    heard = await client.abnormal_refund(
        record,
        AbnormalRefundCommand(
            out_refund_no="R1",
            account_type="USER_BANK_CARD",
            bank_type="ICBC_DEBIT",
            bank_account="6222020200001234567",
            real_name="张三",
        ),
    )

    assert (stuck.attention, stuck.event) == ("abnormal", RefundEvent.STILL_OPEN)
    assert RefundEvidence is type(heard), heard
    assert (heard.out_refund_no, heard.attention) == ("R1", None)


async def test_yesterdays_bills_are_applied_for_and_fetched(client, create, control, tmp_path, clock):
    """A day later both files are there, whole, and hold the payment."""
    await create(client)
    paid = await control("pay", {"out_trade_no": NUMBER, "notify": False})
    day = clock.now().astimezone(BEIJING).date()
    await control("clock", {"advance_seconds": 2 * 86_400})

    for kind in BillKind:
        offer = await client.apply_bill(day, kind)
        assert BillOffer is type(offer), offer
        trouble = await client.download_bill(offer, tmp_path / kind.value)

        assert trouble is None
        assert paid["transaction_id"] in (tmp_path / kind.value).read_text(encoding="utf-8-sig")


async def test_a_day_without_payments_has_no_bill(client, control, clock):
    """A definite refusal with its code."""
    await control("clock", {"advance_seconds": 2 * 86_400})

    heard = await client.apply_bill(clock.now().astimezone(BEIJING).date(), BillKind.TRADE)

    assert (Refused, "NO_STATEMENT_EXIST") == (type(heard), heard.code)


async def test_echo_round_trips(client):
    """The doctor's question: signing, verification, encryption, clock."""
    report = await client.echo()

    assert report.ok, report.detail
    assert abs(report.clock_skew_seconds) <= 1


async def test_certificates_are_downloaded_and_rotated(connect, control, create, simulator, callbacks, clock):
    """Certificate mode from nothing; then the successor signs a callback, without a restart of payd."""
    await control("keys", {"mode": "certificate"})
    client = connect(public_key_id=None, public_key_path=None)
    await client.refresh_keys()
    first = client.key_status().serials
    created = await create(client)
    await control("keys", {"mode": "certificate", "rotate": True})
    clock.advance(120)  # a successor counts from when it was made

    await control("pay", {"out_trade_no": NUMBER, "wait": True})
    opened = await client.open_notification(*callbacks[1][0], [])
    queried = await client.query_payment(NUMBER)

    assert (simulator.merchant.platform_serial_no,) == first
    assert PrepayParameters is type(created), created
    assert PaymentEvent.PAID is client.payment_evidence(opened).event is queried.event
    assert len(client.key_status().serials) == 2


async def test_a_new_merchant_has_no_certificates_and_is_told_so(connect, simulator):
    """404 in public-key mode: nothing is loaded, nothing is raised."""
    client = connect(public_key_id=None, public_key_path=None)

    await client.refresh_keys()

    assert not client.key_status().loaded


@pytest.mark.parametrize("mode", ["public_key", "certificate", "both"])
async def test_payment_and_refund_callbacks_open(mode, connect, create, control, refund, callbacks, simulator):
    """Under every key mode what the simulator announces is opened and reads right."""
    await control("keys", {"mode": mode})
    facts = simulator.merchant
    known = {"platform_cert_path": facts.platform_cert_path, "platform_serial_no": facts.platform_serial_no}
    without = {"public_key_id": None, "public_key_path": None} if mode == "certificate" else {}
    client = connect(**known, **without)
    await create(client)
    await control("pay", {"out_trade_no": NUMBER, "wait": True})
    await refund(client)
    await control("refunds/R1", {"status": "SUCCESS", "wait": True})

    opened = [await client.open_notification(headers, body, []) for headers, body in callbacks[1]]

    payment, refunded = client.payment_evidence(opened[0]), client.refund_evidence(opened[1])
    assert [one.original_type for one in opened] == ["transaction", "refund"]
    assert (NUMBER, PaymentEvent.PAID, 100, facts.mchid, facts.appid) == (
        payment.out_trade_no,
        payment.event,
        payment.total_fen,
        payment.mchid,
        payment.appid,
    )
    assert (refunded.out_refund_no, refunded.event, refunded.refund_fen) == ("R1", RefundEvent.SUCCEEDED, 40)


#: kind of fault on a callback -> step that refuses it and its reason
TAMPERED = {
    "unsigned": ("headers", None),
    "wrong_signature": ("signature", None),
    "probe": ("signature", "probe"),
    "wrong_serial": ("serial", None),
    "stale": ("timestamp", None),
}


async def test_tampered_callbacks_are_refused(client, create, control, callbacks):
    """Each by its own check."""
    for number, (kind, (step, reason)) in enumerate(TAMPERED.items()):
        await create(client, f"P2026112400{number}")
        await control("faults", {"target": "notify", "kind": kind, "times": 1})
        await control("pay", {"out_trade_no": f"P2026112400{number}", "wait": True})

        with pytest.raises(VerificationError) as caught:
            await client.open_notification(*callbacks[1][-1], [])

        assert step == caught.value.step
        assert reason is None or reason == caught.value.reason
    assert len(TAMPERED) == len(callbacks[1])


#: kind of fault on a prepay -> what the client must make of it: a kind, or the word of Unclear
ON_PREPAY = {
    "delay": PrepayParameters,
    "hang_before": "timeout",
    "hang_after": "timeout",
    "reset_before": "connection",
    "reset_after": "connection",
    "system_error": "status",
    "system_error_after": "status",
    "bad_gateway": "status",
    "bad_gateway_after": "status",
    "rate_limited": "rate_limited",
    "rate_limited_accepted": "rate_limited",
    "forged_not_found": "code",
    "unauthorized": "status",
    "truncated": "connection",
    "slow_body": PrepayParameters,
    "corrupt_body": "signature",
    "unsigned": "unsigned",
    "wrong_signature": "signature",
    "probe": "signature",
    "wrong_serial": "key_refresh",
    "stale": "signature",
    "clock_skew": PrepayParameters,
}
#: kinds that can only happen elsewhere, each tested below or not the client's concern
ELSEWHERE = {
    "not_enough", "user_account_abnormal", "damaged_bill", "statement_creating", "no_statement", "pay_wins",
    "close_wins", "pay_after_close", "host_down", "lost", "dropped", "late", "duplicate", "reorder",
}  # fmt: skip
SHORT = {"delay": 0.05, "slow_body": 0.05, "clock_skew": 120, "stale": 600}


def test_every_fault_of_the_simulator_is_spoken_of():
    """A new fault must get its expectation here."""
    assert set(KINDS) == set(ON_PREPAY) | ELSEWHERE


async def test_every_fault_ends_as_it_must(connect, create, control):
    """No exception, no conclusion; the same prepay again, once the fault is over, works."""
    patient, hasty = connect(), connect(timeout_ms=150)
    for position, (kind, expected) in enumerate(ON_PREPAY.items()):
        number = f"P2026112400{position:02}"
        fault = {"target": "prepay", "kind": kind, "times": 1}
        await control("faults", fault | ({"seconds": SHORT[kind]} if kind in SHORT else {}))

        heard = await create(hasty if "hang" in kind else patient, number)

        if isinstance(expected, str):
            assert (Unclear, expected) == (type(heard), heard.reason), kind
        else:
            assert expected is type(heard), (kind, heard)
        if kind == "clock_skew":
            assert 119 <= patient.clock_skew_seconds() <= 121
        assert PrepayParameters is type(await create(patient, number)), kind


async def test_a_forged_not_found_proves_nothing(client, create, control):
    """An unsigned ORDER_NOT_EXIST to a query is Unclear, the order is there."""
    await create(client)
    await control("faults", {"target": "query", "kind": "forged_not_found"})

    forged = await client.query_payment(NUMBER)
    true = await client.query_payment(NUMBER)

    assert (Unclear, "unsigned", "ORDER_NOT_EXIST") == (type(forged), forged.reason, forged.code)
    assert PaymentEvent.STILL_OPEN is true.event


async def test_signed_refund_refusals_keep_their_code(client, create, control, refund, clock):
    """The caller tells funds from a dead account."""
    await create(client)
    await control("pay", {"out_trade_no": NUMBER, "notify": False})
    for kind, code in (("not_enough", "NOT_ENOUGH"), ("user_account_abnormal", "USER_ACCOUNT_ABNORMAL")):
        await control("faults", {"target": "refund", "kind": kind})
        clock.advance(11)

        heard = await refund(client)

        assert (Refused, code) == (type(heard), heard.code)
        assert (await client.query_refund("R1")).exists is False


async def test_a_429_refund_that_was_accepted_is_found_by_its_number(client, create, control, refund):
    """The trap of the refund API: 429 does not mean 'not accepted'."""
    await create(client)
    await control("pay", {"out_trade_no": NUMBER, "notify": False})
    await control("faults", {"target": "refund", "kind": "rate_limited_accepted"})

    heard = await refund(client)
    found = await client.query_refund("R1")

    assert (Unclear, "rate_limited") == (type(heard), heard.reason)
    assert (found.exists, found.refund_fen) == (True, 40)


RACES = [
    ("pay_wins", Refused, PaymentEvent.PAID),
    ("close_wins", Closed, PaymentEvent.EXPIRED),
    ("pay_after_close", Closed, PaymentEvent.PAID),
]


async def test_races_between_closing_and_paying(client, create, control):
    """Whoever wins: the query tells the truth."""
    for kind, expected, event in RACES:
        number = f"P20261124-{kind}"
        await create(client, number)
        await control("faults", {"target": "close", "kind": kind})

        heard = await client.close(number)

        assert expected is type(heard), heard
        assert event is (await client.query_payment(number)).event


async def test_bills_that_are_not_ready(client, control, clock):
    """Refused with the code that tells the two apart."""
    await control("clock", {"advance_seconds": 2 * 86_400})
    for kind, code in (("statement_creating", "STATEMENT_CREATING"), ("no_statement", "NO_STATEMENT_EXIST")):
        await control("faults", {"target": "bill", "kind": kind})

        heard = await client.apply_bill(clock.now().astimezone(BEIJING).date(), BillKind.TRADE)

        assert (Refused, code) == (type(heard), heard.code)


async def test_a_damaged_bill_is_noticed(client, create, control, clock, tmp_path: Path):
    """Bytes changed on the way: Unclear and no file; applying again gives the true one."""
    await create(client)
    await control("pay", {"out_trade_no": NUMBER, "notify": False})
    day = clock.now().astimezone(BEIJING).date()
    await control("clock", {"advance_seconds": 2 * 86_400})
    await control("faults", {"target": "download", "kind": "damaged_bill"})

    damaged = await client.download_bill(await client.apply_bill(day, BillKind.TRADE), tmp_path / "bill.csv")
    assert Unclear is type(damaged)
    assert not (tmp_path / "bill.csv").exists()
    good = await client.download_bill(await client.apply_bill(day, BillKind.TRADE), tmp_path / "bill.csv")

    assert good is None


async def test_the_backup_host_takes_over_while_the_main_one_is_down(connect, simulator, create, control):
    """host_down resets every connection to the main port; the order is created through the other."""
    client, alone = connect(api_base_backup=simulator.backup_url), connect()
    await control("faults", {"target": "all", "kind": "host_down", "times": 1, "seconds": 60})

    heard = await create(client)
    lost = await create(alone)

    assert (Unclear, "connection") == (type(lost), lost.reason)
    assert PrepayParameters is type(heard), heard
    assert isinstance(await client.query_payment(NUMBER), PaymentEvidence)
