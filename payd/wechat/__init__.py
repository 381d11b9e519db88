"""The only code that knows WeChat Pay's wire: headers, paths, field spellings, keys and error codes.

Reading order: settings, key_files, keyring, signing_child, signatures, signing, verification, resource_cipher,
requests, error_codes, answers, evidence, http_answer, curl_driver, transport, hosts, pacing, certificates, calls,
notifications, bills, wechat_pay_client.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from payd.ports import Clock, Entropy
from payd.wechat.calls import OnCall
from payd.wechat.certificates import CertificateCache
from payd.wechat.keyring import inspect_keys, load_keyring
from payd.wechat.settings import ClientSettings
from payd.wechat.wechat_pay_client import WechatPayClient

__all__ = ["ClientSettings", "WechatPayClient", "inspect_keys", "open_wechat_pay"]


def open_wechat_pay(
    settings: ClientSettings, *, clock: Clock, entropy: Entropy, on_call: OnCall | None = None
) -> WechatPayClient:
    """Load and check the keys and build the client. Opens no connection: call `refresh_keys` before serving.

    ``on_call(operation, outcome, seconds)`` is told of every call. Raises KeyMaterialError with every complaint.
    """
    keyring = load_keyring(settings, now=clock.now())
    cache = None
    if settings.key_cache_dir is not None:
        # The name keeps one merchant's, and one simulator's, certificates from being trusted for another.
        place = urlsplit(settings.api_base)
        cache = CertificateCache(settings.key_cache_dir, f"{settings.mchid}-{place.hostname}-{place.port or 443}")
    return WechatPayClient(settings, keyring, cache=cache, clock=clock, entropy=entropy, on_call=on_call)
