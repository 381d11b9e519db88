"""Announcements become deliveries: one per endpoint that wants the event, written with what they tell of."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import SecretStr

from payd.config import WebhookConfig
from payd.models.changes import OrderSnapshot
from payd.models.order import Order, Payment
from payd.models.states import OrderState, PaymentState
from payd.models.webhook import Announcement, DeliveryStatus, WebhookEvent
from payd.webhook.outbox import Outbox
from tests.webhook.receiver import SECRET, CountingEntropy

AT = datetime(2026, 11, 23, 21, 5, 9, 123456, tzinfo=timezone(timedelta(hours=8)))
NOW = datetime(2026, 11, 23, 13, 5, 10, tzinfo=UTC)


def endpoint(url: str, *events: str) -> WebhookConfig:
    return WebhookConfig(url=url, secrets=(SecretStr(SECRET),), events=events or ("*",))


def announcement(event: WebhookEvent = WebhookEvent.ORDER_PAID, out_refund_no: str | None = None) -> Announcement:
    return Announcement(event=event, out_trade_no="P20261123", out_refund_no=out_refund_no, at=AT)


@pytest.fixture
def snapshot() -> OrderSnapshot:
    times = {"created_at": AT, "updated_at": AT}
    order = Order(
        out_trade_no="P20261123", version=2, mchid="1900000001", appid="wx0", status=OrderState.PAID,
        trade_type="NATIVE", description="tea", total_fen=100, currency="CNY", content={}, attach=None, metadata=None,
        livemode=False, expires_at=AT, **times,
    )  # fmt: skip
    payment = Payment(
        out_trade_no="P20261123", version=2, status=PaymentState.SUCCESS, trade_type="NATIVE", wire_request=b"{}",
        **times,
    )  # fmt: skip
    return OrderSnapshot(order=order, payment=payment)


def outbox(*endpoints: WebhookConfig) -> Outbox:
    def render(told: Announcement, after: OrderSnapshot) -> dict[str, Any]:
        return {"out_trade_no": after.order.out_trade_no, "status": after.order.status.value, "茶": told.object_key}

    return Outbox(endpoints, render=render, entropy=CountingEntropy())


def test_each_endpoint_gets_its_own_delivery_of_one_event(snapshot: OrderSnapshot) -> None:
    """Two endpoints: two rows with their own ids, one webhook-id, one body."""
    box = outbox(endpoint("https://a.example/hook"), endpoint("https://b.example/hook"))

    first, second = box.deliveries([announcement()], snapshot, now=NOW, disabled=frozenset())

    assert (first.url, second.url) == ("https://a.example/hook", "https://b.example/hook")
    assert first.webhook_id == second.webhook_id
    assert first.webhook_id.startswith("msg_")
    assert first.id != second.id
    assert first.payload == second.payload


def test_every_event_has_its_own_webhook_id(snapshot: OrderSnapshot) -> None:
    """A receiver drops repeats by webhook-id, so two events never share one."""
    box = outbox(endpoint("https://a.example/hook"))
    told = [announcement(), announcement(WebhookEvent.REFUND_SUCCEEDED, "R1")]

    made = box.deliveries(told, snapshot, now=NOW, disabled=frozenset())

    assert [d.type for d in made] == [WebhookEvent.ORDER_PAID, WebhookEvent.REFUND_SUCCEEDED]
    assert len({d.webhook_id for d in made}) == 2


def test_a_new_delivery_is_pending_and_due_now(snapshot: OrderSnapshot) -> None:
    """It may go out as soon as the commit is on disk."""
    (made,) = outbox(endpoint("https://a.example/hook")).deliveries([announcement()], snapshot, now=NOW, disabled=())

    assert (made.status, made.attempts, made.version) == (DeliveryStatus.PENDING, 0, 1)
    assert made.next_at == made.created_at == made.updated_at == NOW


def test_the_body_has_type_timestamp_and_data(snapshot: OrderSnapshot) -> None:
    """The timestamp is the event's, RFC 3339 in UTC to the second; data is the rendered view; JSON is UTF-8."""
    (made,) = outbox(endpoint("https://a.example/hook")).deliveries([announcement()], snapshot, now=NOW, disabled=())

    assert list(json.loads(made.payload)) == ["type", "timestamp", "data"]
    assert json.loads(made.payload) == {
        "type": "order.paid",
        "timestamp": "2026-11-23T13:05:09Z",
        "data": {"out_trade_no": "P20261123", "status": "PAID", "茶": "P20261123"},
    }
    assert "茶".encode() in made.payload


def test_a_refund_event_waits_for_what_is_told_about_its_order(snapshot: OrderSnapshot) -> None:
    """A receiver hears that an order was paid before it hears that some of it went back."""
    told = [announcement(WebhookEvent.REFUND_ABNORMAL, "R1")]

    (made,) = outbox(endpoint("https://a.example/hook")).deliveries(told, snapshot, now=NOW, disabled=frozenset())

    assert (made.object_key, made.out_trade_no, made.out_refund_no) == ("P20261123", "P20261123", "R1")


@pytest.mark.parametrize("event", list(WebhookEvent))
def test_an_endpoint_gets_only_the_events_it_named(event: WebhookEvent, snapshot: OrderSnapshot) -> None:
    """The filter is exact names or *."""
    paid = endpoint("https://paid.example/", "order.paid")
    rest = endpoint("https://rest.example/", *(e.value for e in WebhookEvent if e is not WebhookEvent.ORDER_PAID))
    every = endpoint("https://all.example/", "*")
    expected = "https://paid.example/" if event is WebhookEvent.ORDER_PAID else "https://rest.example/"

    made = outbox(paid, rest, every).deliveries([announcement(event)], snapshot, now=NOW, disabled=frozenset())

    assert [d.url for d in made] == [expected, "https://all.example/"]


def test_nothing_is_made_for_an_endpoint_that_said_gone(snapshot: OrderSnapshot) -> None:
    """A disabled endpoint gets no new rows; the others do."""
    box = outbox(endpoint("https://a.example/hook"), endpoint("https://b.example/hook"))

    made = box.deliveries([announcement()], snapshot, now=NOW, disabled=frozenset({"https://a.example/hook"}))

    assert [d.url for d in made] == ["https://b.example/hook"]


def test_without_endpoints_nothing_is_made(snapshot: OrderSnapshot) -> None:
    """No endpoint, no row."""
    assert outbox().deliveries([announcement()], snapshot, now=NOW, disabled=frozenset()) == ()
