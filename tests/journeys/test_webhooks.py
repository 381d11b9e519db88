"""The merchant is told: signed, in order per object, again until he answers, and never a private address."""

from __future__ import annotations

import base64
import json
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from standardwebhooks import Webhook

from tests.journeys.house import until

SECRET = "whsec_" + base64.b64encode(b"s" * 24).decode()


class Receiver:
    """A shop's endpoint: keeps what it was sent, answers what it is told to."""

    def __init__(self):
        self.got, self.status = [], 204
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers.items()), body))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def types(self):
        return [json.loads(body)["type"] for _, body in list(self.got)]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver():
    """A running endpoint."""
    running = Receiver()
    yield running
    running.close()


@pytest.fixture
def house(make_house, tmp_path, receiver):
    """A house with one endpoint."""
    hooks = [{"url": receiver.url, "secrets": [SECRET], "allow_private_addresses": True}]
    running = make_house(tmp_path, webhooks=hooks).start()
    yield running
    assert running.stop() == 0


def test_a_payment_and_its_refund_are_announced_signed_and_in_order(house, receiver):
    """Any Standard Webhooks library verifies them; data is the order or refund view."""
    number = house.paid()
    house.refund(number, 400, out_refund_no="HOOKS1")
    house.act("refunds/HOOKS1", {"status": "SUCCESS", "wait": True})
    until(lambda: len(receiver.got) == 2, "two webhooks")

    told = [Webhook(SECRET).verify(body, headers) for headers, body in receiver.got]

    assert [t["type"] for t in told] == ["order.paid", "refund.succeeded"]
    assert told[0]["data"]["out_trade_no"] == number
    assert told[0]["data"]["status"] == "PAID"
    assert told[1]["data"]["out_refund_no"] == "HOOKS1"


def test_a_failing_endpoint_is_tried_again_under_the_same_id(house, receiver):
    """First retry within ten seconds; attempts are listed; a resend keeps the id."""
    receiver.status = 500
    house.paid()
    until(lambda: receiver.got, "the first try")
    receiver.status = 200
    house.act("clock", {"advance_seconds": 10})
    delivered = until(lambda: deliveries(house, "delivered"), "the retry")[0]
    sent_again = house.call("POST", f"/pay/deliveries/{delivered['id']}/resend")
    until(lambda: len(receiver.got) == 3, "the resend")

    assert [a["status"] for a in delivered["attempts"]] == [500, 200]
    assert sent_again.status == 202
    assert [a["status"] for a in sent_again.json["attempts"]] == [500, 200]
    assert len({headers["Webhook-Id"] for headers, _ in receiver.got}) == 1


def test_a_resend_says_nothing(house, receiver):
    """It needs no body: an empty object is none, and what says anything is refused and sends nothing."""
    house.paid()
    delivered = until(lambda: deliveries(house, "delivered"), "the delivery")[0]
    path = f"/pay/deliveries/{delivered['id']}/resend"

    refused = [house.call("POST", path, body).status for body in ({"x": 1}, [], b"{{{")]
    plain = house.call("POST", path, b"{}", **{"Content-Type": "text/plain"}).status
    empty = house.call("POST", path, {}).status
    until(lambda: len(receiver.got) == 2, "the resend")

    assert refused == [400, 400, 400]
    assert (plain, empty) == (415, 202)


def test_a_refund_is_not_announced_before_its_order(house, receiver):
    """The receiver was away for the payment: it hears of the payment first, whatever was ready before."""
    receiver.status = 500
    number = house.paid()
    until(lambda: receiver.got, "the first try")
    house.refund(number, 100)
    until(lambda: house.shown(number)["amount"]["refunded"] == 100, "the refund")
    assert {headers["Webhook-Id"] for headers, _ in receiver.got} == {receiver.got[0][0]["Webhook-Id"]}
    receiver.status = 200
    house.act("clock", {"advance_seconds": 10})

    until(lambda: len(deliveries(house, "delivered")) == 2, "both")

    assert [json.loads(body)["type"] for _, body in receiver.got][-2:] == ["order.paid", "refund.succeeded"]


def deliveries(house, status):
    return house.call("GET", f"/pay/deliveries?status={status}").json["deliveries"]


def test_410_switches_the_endpoint_off_across_restarts(house, receiver):
    """Gone is gone: nothing more is sent there."""
    receiver.status = 410
    house.paid()
    until(lambda: deliveries(house, "disabled"), "the end of the endpoint")
    house.restart(signal.SIGTERM)
    receiver.status = 200
    house.paid()

    assert len(receiver.got) == 1


def test_a_crash_before_the_answer_is_written_sends_it_again(house, receiver):
    """The outbox row is in the commit of the payment: kill -9 loses no webhook."""
    receiver.status = 503
    house.paid()
    until(lambda: receiver.got, "the first try")
    house.stop(signal.SIGKILL)
    receiver.status = 200
    house.start()
    house.act("clock", {"advance_seconds": 10})

    until(lambda: deliveries(house, "delivered"), "the delivery after the crash")

    assert set(receiver.types()) == {"order.paid"}
