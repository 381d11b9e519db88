"""From announcements to deliveries: the outbox rows that are committed together with what they tell of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from payd.config import WebhookConfig
from payd.models.changes import OrderSnapshot
from payd.models.webhook import Announcement, Delivery, DeliveryStatus, WebhookEvent
from payd.ports import Entropy

#: Makes the public view of what an announcement is about (the order or the refund) from the state after the change.
Render = Callable[[Announcement, OrderSnapshot], Mapping[str, Any]]

#: Random bytes of a ``webhook_id`` and of a delivery's ``id``: no two ever meet, and nobody guesses one.
ID_BYTES: Final = 16

EVERY_EVENT: Final = "*"


def webhook_body(event_type: str, *, at: datetime, data: Mapping[str, Any]) -> bytes:
    """Write a webhook's body: ``type``, ``timestamp`` (RFC 3339, UTC, whole seconds) and ``data``, in this order.

    Source: Standard Webhooks 1.0.0, "Payload structure".
    """
    body = {"type": event_type, "timestamp": at.astimezone(UTC), "data": data}
    return orjson.dumps(body, option=orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS)


def new_webhook_id(entropy: Entropy) -> str:
    """Draw a Standard Webhooks id."""
    return f"msg_{entropy.token_hex(ID_BYTES)}"


class Outbox:
    """Makes the deliveries of a decision. Pure apart from the identifiers it draws; writes and sends nothing.

    One ``webhook_id`` per event, the same for every endpoint it goes to and for every attempt: a receiver behind
    several endpoints still sees one event. The delivery's own ``id`` is different for each endpoint.
    """

    def __init__(self, endpoints: Sequence[WebhookConfig], *, render: Render, entropy: Entropy) -> None:
        self._endpoints = tuple(endpoints)
        self._render = render
        self._entropy = entropy

    def deliveries(
        self,
        announcements: Sequence[Announcement],
        snapshot: OrderSnapshot,
        *,
        now: datetime,
        disabled: Collection[str],
    ) -> tuple[Delivery, ...]:
        """Make one pending delivery, due now, for each announcement and each endpoint that wants its event.

        ``snapshot`` is the state after the change; ``disabled`` are the URLs that said 410: nothing is made for them.
        Deliveries are in the order of the announcements.
        """
        made: list[Delivery] = []
        for announcement in announcements:
            urls = [e.url for e in self._endpoints if wants(e, announcement.event) and e.url not in disabled]
            if urls:
                made += self._fan_out(announcement, snapshot, urls, now=now)
        return tuple(made)

    def _fan_out(
        self, announcement: Announcement, snapshot: OrderSnapshot, urls: Sequence[str], *, now: datetime
    ) -> list[Delivery]:
        webhook_id = new_webhook_id(self._entropy)
        payload = webhook_body(announcement.event.value, at=announcement.at, data=self._render(announcement, snapshot))
        return [
            Delivery(
                id=f"dlv_{self._entropy.token_hex(ID_BYTES)}",
                version=1,
                webhook_id=webhook_id,
                url=url,
                type=announcement.event,
                object_key=announcement.object_key,
                out_trade_no=announcement.out_trade_no,
                out_refund_no=announcement.out_refund_no,
                payload=payload,
                status=DeliveryStatus.PENDING,
                attempts=0,
                created_at=now,
                updated_at=now,
                next_at=now,
            )
            for url in urls
        ]


def wants(endpoint: WebhookConfig, event: WebhookEvent) -> bool:
    """Tell whether an endpoint asked for this event."""
    return EVERY_EVENT in endpoint.events or event.value in endpoint.events
