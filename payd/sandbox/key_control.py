"""Changes the key mode and rotates the platform certificate, and keeps both in the book."""

from __future__ import annotations

import asyncio
from typing import Any

from cryptography import x509

from payd.sandbox import throwaway_keys
from payd.sandbox.clock import rfc3339
from payd.sandbox.errors import ControlRefused
from payd.sandbox.platform_keys import MODES, ROTATIONS, PlatformKey
from payd.sandbox.world import World


class KeyControl:
    """The control side of ``PlatformKeys``."""

    def __init__(self, world: World) -> None:
        self._world = world

    def restore(self) -> None:
        """Bring back mode and certificates of an earlier run from the book."""
        keys, meta = self._world.keys, self._world.book.meta
        keys.mode = meta.get("key_mode", keys.mode)
        for row in meta.get("platform_certificates", []):
            certificate = x509.load_pem_x509_certificate(row["certificate"].encode())
            private = throwaway_keys.load_private(row["private_key"].encode())
            keys.publish(PlatformKey(throwaway_keys.serial_text(certificate), private, certificate))
        for key in keys.certificates:
            if key.serial == meta.get("current_certificate"):
                keys.current = key
        if meta.get("retired"):
            keys.retire()

    async def change(self, *, mode: str | None, rotate: str | bool | None) -> None:
        """Set the mode, then rotate. ``rotate`` true publishes a successor and lets it sign at once."""
        keys = self._world.keys
        if mode is not None and mode not in MODES:
            raise ControlRefused("PARAM_ERROR", f"mode must be one of {', '.join(MODES)}", status=400)
        if not (rotate is None or isinstance(rotate, bool) or rotate in ROTATIONS):
            raise ControlRefused("PARAM_ERROR", f"rotate must be true or one of {', '.join(ROTATIONS)}", status=400)
        if rotate == "switch":
            keys.switch()  # the only step that may be refused, hence first
        keys.mode = mode or keys.mode
        if rotate is True or rotate == "publish":
            # A new RSA key takes up to 0.3 s, so it is made beside the loop.
            keys.publish(await asyncio.get_running_loop().run_in_executor(None, keys.make_successor))
        if rotate is True:
            keys.switch()
        if rotate == "retire":
            keys.retire()
        self._keep()

    def _keep(self) -> None:
        keys = self._world.keys
        first = throwaway_keys.serial_text(self._world.vault.platform_certificate)
        self._world.book.set_meta(
            key_mode=keys.mode,
            current_certificate=keys.current.serial,
            retired=keys.certificates[0].serial != first,
            platform_certificates=[
                {"certificate": key.pem.decode(), "private_key": throwaway_keys.private_pem(key.private_key).decode()}
                for key in keys.certificates
                if key.serial != first
            ],
        )
        self._world.commit()

    def view(self) -> dict[str, Any]:
        """Mode, serials and PEM of what a merchant may know; never a private key."""
        keys = self._world.keys
        return {
            "mode": keys.mode,
            "public_key_id": keys.public.serial,
            "signing_certificate": keys.current.serial,
            "certificates": [
                {
                    "serial_no": key.serial,
                    "effective_time": rfc3339(key.certificate.not_valid_before_utc.timestamp()),
                    "expire_time": rfc3339(key.certificate.not_valid_after_utc.timestamp()),
                    "pem": key.pem.decode(),
                }
                for key in keys.certificates
                if key.certificate is not None
            ],
        }
