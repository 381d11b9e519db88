"""Builds one callback: plaintext, encryption, envelope, signature — and every way to get it wrong on purpose.

A ``Tampering`` with nothing set gives exactly what WeChat sends (section 8.1). Each of its members breaks one
thing, so that a receiver's checks can be tried one by one.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import orjson

from payd.sandbox import witness
from payd.sandbox.clock import rfc3339
from payd.sandbox.errors import ControlRefused
from payd.sandbox.payload_cipher import random_text, seal
from payd.sandbox.platform_keys import PlatformKey
from payd.sandbox.records import Notification

#: original_type -> associated_data (section 4.1)
ASSOCIATED_DATA = {"transaction": "transaction", "refund": "refund", "security": "security"}


@dataclass(frozen=True, slots=True)
class Tampering:
    """What to get wrong in one send. The names are those of the control API.

    ``tamper`` maps dotted names of the plaintext to new values (null removes the member) before it is
    encrypted and truly signed: a verified callback that contradicts the merchant's books.
    """

    duplicate: int = 1
    probe: bool = False
    wrong_signature: bool = False
    wrong_serial: bool = False
    unsigned: bool = False
    stale_seconds: int = 0
    tamper: Mapping[str, Any] = field(default_factory=dict)
    event_type: str | None = None
    original_type: str | None = None
    associated_data: str | None = None
    wrong_api_v3_key: bool = False
    corrupt_body: bool = False
    raw_body: str | None = None
    drop_headers: tuple[str, ...] = ()

    @classmethod
    def parse(cls, wanted: Mapping[str, Any]) -> Tampering:
        """Read the switches of a control call. Raises ControlRefused, naming the first bad one."""
        values: dict[str, Any] = {}
        known = {item.name: getattr(_NOTHING, item.name) for item in fields(cls)}
        for name, value in wanted.items():
            if name not in known:
                raise ControlRefused("PARAM_ERROR", f"no switch {name!r}; there are {', '.join(known)}", status=400)
            values[name] = _parsed(name, known[name], value)
        return cls(**values)

    @property
    def forged(self) -> bool:
        """True when an honest receiver must not accept this send."""
        return any(
            (
                self.probe,
                self.wrong_signature,
                self.wrong_serial,
                self.unsigned,
                self.wrong_api_v3_key,
                self.corrupt_body,
                self.raw_body is not None,
                abs(self.stale_seconds) > witness.WINDOW_SECONDS,
                self.drop_headers,
            )
        )


def _parsed(name: str, present: Any, value: Any) -> Any:
    if isinstance(present, bool):
        good = isinstance(value, bool)
    elif isinstance(present, int):
        good = isinstance(value, int) and not isinstance(value, bool) and (name != "duplicate" or 1 <= value <= 20)
    elif isinstance(present, dict):
        good = isinstance(value, dict)
    elif isinstance(present, tuple):
        good = isinstance(value, list) and all(isinstance(item, str) for item in value)
        value = tuple(value) if good else value
    else:
        good = isinstance(value, str)
    if not good:
        raise ControlRefused("PARAM_ERROR", f"{name}: a value like {present!r} is wanted", status=400)
    return value


_NOTHING = Tampering()


def build(
    notification: Notification,
    tampering: Tampering,
    *,
    key: PlatformKey,
    api_v3_key: str,
    wall_now: float,
) -> tuple[dict[str, str], bytes]:
    """Headers and body of one send; nonce, timestamp and signature are new each time (section 8.5)."""
    body = _body(notification, tampering, api_v3_key)
    headers = dict(
        witness.signature_headers(key, body, timestamp=int(wall_now) - tampering.stale_seconds, nonce=random_text(32))
    )
    if tampering.probe:
        headers["Wechatpay-Signature"] = witness.probe_signature()
    if tampering.wrong_signature:
        headers["Wechatpay-Signature"] = witness.foreign_signature()
    if tampering.wrong_serial:
        headers["Wechatpay-Serial"] = secrets.token_hex(20).upper()
    if tampering.corrupt_body:
        body = body.replace(b'"summary"', b'"summarY"', 1)
    dropped = {name.lower() for name in tampering.drop_headers}
    if tampering.unsigned:
        dropped |= {name.lower() for name in headers}
    kept = {name: value for name, value in headers.items() if name.lower() not in dropped}
    return kept | {"Content-Type": "application/json", "User-Agent": "Mozilla/4.0", "Accept": "*/*"}, body


def _body(notification: Notification, tampering: Tampering, api_v3_key: str) -> bytes:
    if tampering.raw_body is not None:
        return tampering.raw_body.encode()
    plaintext = copy.deepcopy(notification.plaintext)
    for path, value in tampering.tamper.items():
        _replace(plaintext, path.split("."), value)
    original_type = tampering.original_type or notification.original_type
    associated_data = tampering.associated_data
    if associated_data is None:
        associated_data = ASSOCIATED_DATA.get(notification.original_type, notification.original_type)
    secret = random_text(32) if tampering.wrong_api_v3_key else api_v3_key
    sealed = seal(orjson.dumps(plaintext), api_v3_key=secret.encode(), associated_data=associated_data)
    return orjson.dumps(
        {
            "id": notification.id,
            "create_time": rfc3339(notification.created_at),
            "resource_type": "encrypt-resource",
            "event_type": tampering.event_type or notification.event_type,
            "summary": notification.summary,
            "resource": {"original_type": original_type, **sealed},
        }
    )


def _replace(target: dict[str, Any], path: list[str], value: Any) -> None:
    """Set or, with None, remove the member at ``path``; objects on the way are made."""
    *parents, last = path
    for name in parents:
        inner = target.get(name)
        if not isinstance(inner, dict):
            inner = target[name] = {}
        target = inner
    if value is None:
        target.pop(last, None)
    else:
        target[last] = value
