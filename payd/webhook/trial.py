"""A `test` event to one configured endpoint: the operator sees at once whether address, TLS and signature are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from payd.config import WebhookConfig
from payd.errors import RequestError
from payd.ports import Clock, Entropy, WebhookAnswer
from payd.webhook.outbox import new_webhook_id, webhook_body
from payd.webhook.sender import HttpWebhookSender

TEST_EVENT: Final = "test"


async def send_test_event(
    url: str, endpoints: Sequence[WebhookConfig], *, clock: Clock, entropy: Entropy
) -> WebhookAnswer:
    """Post one signed ``test`` event, now, whatever events the endpoint asked for. Nothing is written or retried.

    A 410 is only shown: it does not disable the endpoint. ``clock`` is the machine's own. Raises RequestError
    ``not_found`` for another URL.
    """
    if url not in {endpoint.url for endpoint in endpoints}:
        raise RequestError("not_found")
    sender = HttpWebhookSender(endpoints, clock=clock)
    try:
        body = webhook_body(TEST_EVENT, at=clock.now(), data={})
        return await sender.post(url, webhook_id=new_webhook_id(entropy), payload=body)
    finally:
        await sender.close()
