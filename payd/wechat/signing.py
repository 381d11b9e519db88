"""Signatures that payd makes: the Authorization header and the parameters handed to the payer's client.

The text is made of the exact bytes that go on the wire; a request is serialised once and never again.
Source: WeChat Pay v3, "construct the request signature" and the page of each client product.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

from payd.ports import Clock, Entropy
from payd.wechat.keyring import MerchantKey
from payd.wechat.signatures import Signatures

AUTHORIZATION_SCHEME: Final = "WECHATPAY2-SHA256-RSA2048"
NONCE_BYTES: Final = 16  # 32 hex digits: inside [0-9A-Za-z]{32}, what every SDK sends


def request_text(*, method: str, target: str, timestamp: str, nonce: str, body: bytes) -> bytes:
    """Lay out what a request signs: five lines, each ended by one line feed, also the last.

    ``target`` is path and query byte for byte as sent; ``body`` is empty for a request without one.
    """
    return f"{method}\n{target}\n{timestamp}\n{nonce}\n".encode("ascii") + body + b"\n"


def authorization(*, mchid: str, serial_no: str, timestamp: str, nonce: str, signature: str) -> str:
    """Write the Authorization header: scheme, one blank, five pairs. ``serial_no`` is the MERCHANT certificate's."""
    return (
        f'{AUTHORIZATION_SCHEME} mchid="{mchid}",nonce_str="{nonce}",signature="{signature}",'
        f'timestamp="{timestamp}",serial_no="{serial_no}"'
    )


class RequestSigner:
    """Signs with the merchant's key. Fresh timestamp and nonce at every call; a repeat is signed anew."""

    def __init__(self, key: MerchantKey, *, clock: Clock, entropy: Entropy, signatures: Signatures) -> None:
        self._key = key
        self._clock = clock
        self._entropy = entropy
        self._signatures = signatures

    async def authorize(self, *, method: str, target: str, body: bytes) -> str:
        """Make the Authorization header of one request. RSA is done off the loop: it takes 230 us and more."""
        timestamp, nonce = self._stamp()
        text = request_text(method=method, target=target, timestamp=timestamp, nonce=nonce, body=body)
        signature = await self._signatures.sign(text)
        return authorization(
            mchid=self._key.mchid,
            serial_no=self._key.serial,
            timestamp=timestamp,
            nonce=nonce,
            signature=base64.b64encode(signature).decode("ascii"),
        )

    def jsapi_parameters(self, appid: str, prepay_id: str) -> Mapping[str, str]:
        """Sign for ``wx.requestPayment`` and ``getBrandWCPayRequest``: the fourth line begins with ``prepay_id=``."""
        timestamp, nonce = self._stamp()
        package = f"prepay_id={prepay_id}"
        return {
            "appId": appid,
            "timeStamp": timestamp,
            "nonceStr": nonce,
            "package": package,
            "signType": "RSA",
            "paySign": self._sign_lines(appid, timestamp, nonce, package),
        }

    def app_parameters(self, appid: str, prepay_id: str) -> Mapping[str, str]:
        """Sign for the APP SDK: the fourth line is the bare prepay id."""
        timestamp, nonce = self._stamp()
        return {
            "appId": appid,
            "partnerId": self._key.mchid,
            "prepayId": prepay_id,
            "packageValue": "Sign=WXPay",
            "nonceStr": nonce,
            "timeStamp": timestamp,
            "sign": self._sign_lines(appid, timestamp, nonce, prepay_id),
        }

    def _sign_lines(self, *lines: str) -> str:
        text = "".join(f"{line}\n" for line in lines).encode()
        return base64.b64encode(self._key.sign(text)).decode("ascii")

    def _stamp(self) -> tuple[str, str]:
        return str(int(self._clock.now().timestamp())), self._entropy.token_hex(NONCE_BYTES)
