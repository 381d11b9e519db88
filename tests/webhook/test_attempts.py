"""What one attempt makes of a delivery, as a table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from payd.core.schedules import WEBHOOK_JITTER, WEBHOOK_LADDER
from payd.models.webhook import Delivery, DeliveryStatus, WebhookEvent
from payd.ports import WebhookAnswer
from payd.webhook.attempts import Judgement, judge_attempt

NOW = datetime(2026, 11, 23, 13, 5, 9, tzinfo=UTC)
PENDING, DELIVERED, DEAD, DISABLED = (
    DeliveryStatus.PENDING,
    DeliveryStatus.DELIVERED,
    DeliveryStatus.DEAD,
    DeliveryStatus.DISABLED,
)


def delivery(status: DeliveryStatus = PENDING, *, attempts: int = 0) -> Delivery:
    return Delivery(
        id="dlv_1", version=4, webhook_id="msg_1", url="https://a.example/", type=WebhookEvent.ORDER_PAID,
        object_key="P1", out_trade_no="P1", out_refund_no=None, payload=b"{}", status=status, attempts=attempts,
        created_at=NOW, updated_at=NOW, next_at=NOW if status is PENDING else None,
    )  # fmt: skip


def judge(
    before: Delivery, status: int | None, *, spread: float = 0.0, off: DeliveryStatus | None = None
) -> tuple[Judgement, Delivery]:
    answer = WebhookAnswer(status, None if status == 200 else "why", 12)
    made = judge_attempt(before, answer, began_at=NOW, now=NOW, spread=spread, endpoint_off=off)
    return made, made.after


@pytest.mark.parametrize(
    ("before", "answer", "off", "after", "outcome"),
    [
        (PENDING, 200, None, DELIVERED, "ok"),
        (PENDING, 299, None, DELIVERED, "ok"),
        (PENDING, 300, None, PENDING, "failed"),
        (PENDING, 500, None, PENDING, "failed"),
        (PENDING, None, None, PENDING, "failed"),
        (PENDING, 410, DISABLED, DISABLED, "failed"),
        (PENDING, 500, DISABLED, DISABLED, "failed"),
        (PENDING, None, DEAD, DEAD, "dead"),
        (PENDING, 204, DISABLED, DELIVERED, "ok"),
        (DISABLED, 200, DISABLED, DELIVERED, "ok"),
        (DISABLED, 500, DISABLED, DISABLED, "failed"),
        (DELIVERED, 500, None, DELIVERED, "failed"),
    ],
)
def test_the_answer_and_the_endpoint_decide(
    before: DeliveryStatus, answer: int | None, off: DeliveryStatus | None, after: DeliveryStatus, outcome: str
) -> None:
    """2xx delivers; a failure is repeated, unless the endpoint is off or somebody ended the delivery meanwhile."""
    made, written = judge(delivery(before), answer, off=off)

    assert (written.status, made.outcome) == (after, outcome)
    assert (written.next_at is None) == (after is not PENDING)


def test_every_attempt_is_written_with_its_number() -> None:
    """The row of the attempt and the counter of the delivery agree; the version moves by one."""
    made, written = judge(delivery(attempts=2), 503)

    assert made.attempt.number == written.attempts == 3
    assert (made.attempt.status, made.attempt.error, made.attempt.duration_ms) == (503, "why", 12)
    assert written.version == 5


@pytest.mark.parametrize("attempts", range(len(WEBHOOK_LADDER)))
@pytest.mark.parametrize("spread", [-1.0, 0.0, 1.0])
def test_failures_climb_the_ladder_with_jitter(attempts: int, spread: float) -> None:
    """Each delay is its rung, spread by at most the jitter."""
    _, written = judge(delivery(attempts=attempts), 500, spread=spread)

    expected = WEBHOOK_LADDER[attempts] * (1 + WEBHOOK_JITTER * spread)
    assert written.next_at == NOW + timedelta(seconds=expected)


def test_the_first_retry_comes_within_ten_seconds_whatever_the_jitter() -> None:
    """Contract 1.10, with two seconds left for the worker's own interval."""
    _, written = judge(delivery(), 500, spread=1.0)

    assert written.next_at is not None
    assert written.next_at - NOW <= timedelta(seconds=8)


def test_after_the_last_rung_it_is_dead() -> None:
    """The ladder ends; a person must resend it."""
    made, written = judge(delivery(attempts=len(WEBHOOK_LADDER)), 500)

    assert (written.status, written.next_at, made.outcome) == (DEAD, None, "dead")


def test_a_resend_of_a_dead_delivery_is_one_more_attempt() -> None:
    """Past its end the ladder is not climbed again."""
    resent = replace(delivery(attempts=len(WEBHOOK_LADDER) + 1), status=PENDING)

    _, written = judge(resent, 500)

    assert written.status is DEAD
