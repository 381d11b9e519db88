"""GET /v3/certificates: the platform certificates, encrypted with the APIv3 key (section 3.1)."""

from __future__ import annotations

from payd.sandbox.clock import rfc3339
from payd.sandbox.exchange import Answer, Call
from payd.sandbox.payload_cipher import seal
from payd.sandbox.platform_keys import PlatformKey
from payd.sandbox.refusals import refusal
from payd.sandbox.world import World


class CertificateApi:
    """Lists what ``PlatformKeys`` publishes; merchants without certificates get a 404."""

    def __init__(self, world: World) -> None:
        self._world = world

    def list(self, call: Call) -> Answer:
        """One entry, or two and more during a rotation; oldest first."""
        published = self._world.keys.published()
        if not published or call.query.get("algorithm_type") == "SM2":
            raise refusal("no_certificate")
        return Answer.of({"data": [self._entry(key) for key in published]})

    def _entry(self, key: PlatformKey) -> dict[str, object]:
        assert key.certificate is not None
        api_v3_key = self._world.merchant.api_v3_key.encode()
        return {
            "serial_no": key.serial,
            "effective_time": rfc3339(key.certificate.not_valid_before_utc.timestamp()),
            "expire_time": rfc3339(key.certificate.not_valid_after_utc.timestamp()),
            "encrypt_certificate": seal(key.pem, api_v3_key=api_v3_key, associated_data="certificate"),
        }
