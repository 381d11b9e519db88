"""Signing by Standard Webhooks 1.0.0: three headers, one signature per secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from pydantic import SecretStr as Secret
from standardwebhooks import Webhook


class Signer:
    """Signs for one endpoint with all of its secrets.

    While a secret is being replaced the header carries one ``v1`` signature per secret, separated by blanks, and the
    receiver accepts whichever it knows (Standard Webhooks 1.0.0, "Signature scheme").
    """

    def __init__(self, secrets: Sequence[Secret]) -> None:
        assert secrets, "an endpoint has at least one secret"
        self._webhooks = tuple(Webhook(secret.get_secret_value()) for secret in secrets)

    def headers(self, webhook_id: str, payload: bytes, *, at: datetime) -> Mapping[str, str]:
        """Make the headers of one attempt. ``at`` is the time of this attempt (aware), not of the event."""
        text = payload.decode()
        return {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(
                webhook.sign(webhook_id, at.astimezone(UTC), text) for webhook in self._webhooks
            ),
        }
