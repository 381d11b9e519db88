"""What one attempt makes of a delivery: pure, from the endpoint's answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import Final

from payd.core.schedules import next_webhook_attempt
from payd.models.webhook import Delivery, DeliveryAttempt, DeliveryStatus
from payd.ports import WebhookAnswer

#: Words for the counter of attempts.
OK: Final = "ok"
FAILED: Final = "failed"
DEAD: Final = "dead"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be written after an attempt, and its word for the counter (``ok``, ``failed``, ``dead``)."""

    after: Delivery
    attempt: DeliveryAttempt
    outcome: str


def says_gone(answer: WebhookAnswer) -> bool:
    """Tell whether the endpoint wants no webhooks any more (contract 1.10: 410)."""
    return answer.status == HTTPStatus.GONE


def judge_attempt(
    delivery: Delivery,
    answer: WebhookAnswer,
    *,
    began_at: datetime,
    now: datetime,
    spread: float,
    endpoint_off: DeliveryStatus | None,
) -> Judgement:
    """Decide what becomes of a delivery, as the database holds it now, after one attempt.

    | answer | becomes |
    |---|---|
    | 2xx | delivered |
    | other, endpoint on | pending again by the ladder of ``core/schedules.py``, or dead at its end |
    | other, endpoint off | ``endpoint_off``: disabled (it said 410) or dead (it is not configured) |

    A failure never moves a delivery that somebody else ended while the attempt was under way. ``spread`` is uniform in
    -1..1. A resend of a dead delivery is one more attempt: the ladder is not climbed again.
    """
    number = delivery.attempts + 1
    attempt = DeliveryAttempt(
        delivery_id=delivery.id,
        number=number,
        at=began_at,
        status=answer.status,
        error=answer.error,
        duration_ms=answer.duration_ms,
    )
    status, next_at = _ending(delivery, answer, number=number, now=now, spread=spread, endpoint_off=endpoint_off)
    after = replace(
        delivery, version=delivery.version + 1, attempts=number, status=status, next_at=next_at, updated_at=now
    )
    outcome = OK if _says_yes(answer) else DEAD if status is DeliveryStatus.DEAD else FAILED
    return Judgement(after, attempt, outcome)


def _ending(
    delivery: Delivery,
    answer: WebhookAnswer,
    *,
    number: int,
    now: datetime,
    spread: float,
    endpoint_off: DeliveryStatus | None,
) -> tuple[DeliveryStatus, datetime | None]:
    if _says_yes(answer):
        return DeliveryStatus.DELIVERED, None
    if delivery.status is not DeliveryStatus.PENDING:
        return delivery.status, None
    if endpoint_off is not None:
        return endpoint_off, None
    next_at = next_webhook_attempt(now=now, attempts=number, spread=spread)
    return (DeliveryStatus.PENDING, next_at) if next_at is not None else (DeliveryStatus.DEAD, None)


def _says_yes(answer: WebhookAnswer) -> bool:
    return answer.status is not None and HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES
