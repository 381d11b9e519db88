"""``payd doctor``: what can be known only online, each finding with its cause and its cure.

Asks WeChat (or the simulator) for an order that cannot exist and for the security echo: both prove signing and
verification and neither moves money. Asks the own daemon, when it runs, whether it answers, and a notify_url on this
machine whether it leads there. Opens no database.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import socket
import ssl
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from payd import limits
from payd.checkup import CALLBACK_PATH, has_real_money
from payd.config import Config, is_loopback
from payd.errors import ConfigError
from payd.findings import Finding, Level, note, of_complaints, ok, problem
from payd.models.evidence import PaymentEvidence
from payd.models.wechat import Refused, Unclear
from payd.ports import Clock, Entropy
from payd.wechat import ClientSettings, WechatPayClient, open_wechat_pay

#: WeChat refuses requests, and payd callbacks, that are five minutes off; an ordinary clock is within a second.
SKEW_SECONDS_MAX: Final = 30
SELF_TIMEOUT_SECONDS: Final = 5
RANDOM_BYTES: Final = 8
#: What a proxy answers while nothing runs behind it.
PROXY_ALONE: Final = (502, 503, 504)

_SAME_DOWNLOAD: Final = (
    "take mch_id, merchant_serial_no and private_key_path from one and the same certificate download "
    "(openssl x509 -in apiclient_cert.pem -noout -serial)"
)
_PLATFORM_KEY: Final = (
    "download pub_key.pem again and set public_key_id as the merchant console shows it; in certificate mode delete "
    "platform_cert_path so that payd downloads it"
)
_NETWORK: Final = "look at DNS, firewall and proxy between this machine and wechat_pay.api_base"

#: What WeChat's answer to the query means: its code, else the status, else the reason -> (cause, cure).
DIAGNOSES: Final[Mapping[str, tuple[str, str]]] = {
    "SIGN_ERROR": ("WeChat does not accept our signature", _SAME_DOWNLOAD),
    "401": ("WeChat does not accept our signature or does not know the certificate serial", _SAME_DOWNLOAD),
    "NO_AUTH": ("this merchant may not use the API", "enable the product in the merchant console"),
    "MCH_NOT_EXISTS": ("WeChat knows no such merchant", "correct wechat_pay.mch_id"),
    "PARAM_ERROR": ("WeChat does not accept mch_id or serial", "correct wechat_pay.mch_id and merchant_serial_no"),
    "timeout": ("no answer in time", _NETWORK),
    "connection": ("no connection", _NETWORK),
    "unsigned": (
        "the answer carries no signature of WeChat's",
        "see whether a proxy answers in WeChat's place, and whether wechat_pay.api_base is right",
    ),
    "signature": ("the signature of the answer does not verify with the configured platform key", _PLATFORM_KEY),
    "key_refresh": ("the answer is signed under a platform key that payd does not have", _PLATFORM_KEY),
    "rate_limited": ("WeChat's rate limit is reached", "wait a minute and run payd doctor again"),
    "malformed": ("what answered does not speak WeChat Pay API v3", "see whether wechat_pay.api_base is right"),
    "status": ("WeChat is in trouble itself", "wait, and run payd doctor again"),
}


async def examine(config: Config, settings: ClientSettings, *, clock: Clock, entropy: Entropy) -> list[Finding]:
    """Do every online check. ``clock`` is the machine's own, never a simulator's. Raises KeyMaterialError."""
    wechat = open_wechat_pay(settings, clock=clock, entropy=entropy)
    try:
        findings = await examine_wechat(wechat, settings, entropy=entropy)
    finally:
        await wechat.close_client()
    findings += await examine_notify_url(config)
    findings += await examine_webhook_names(config)
    findings += await examine_redis(config, clock=clock, entropy=entropy)
    return findings + await examine_daemon(config)


# -- WeChat -------------------------------------------------------------------------------------------------------


async def examine_wechat(wechat: WechatPayClient, settings: ClientSettings, *, entropy: Entropy) -> list[Finding]:
    """Prove the round trip: reach, sign, verify, keys, clock, encryption."""
    await wechat.refresh_keys()
    heard = await wechat.query_payment(f"doctor{entropy.token_hex(RANDOM_BYTES)}")
    findings = _clock(wechat.clock_skew_seconds())
    if isinstance(heard, PaymentEvidence):
        findings.append(ok("round trip", f"{settings.api_base} accepts our signature and we verify its own"))
        findings += _keys(wechat, settings)
        findings.append(await _echo(wechat))
        return findings
    cause, cure = _diagnosis(heard)
    return [*findings, problem("round trip", f"{settings.api_base}: {cause} ({_words(heard)})", cure)]


def _diagnosis(heard: Refused | Unclear) -> tuple[str, str]:
    reason = heard.reason if isinstance(heard, Unclear) else "PARAM_ERROR"
    status = "status" if (heard.status or 0) >= 500 else str(heard.status)
    for word in (heard.code or "", status, reason):
        if word in DIAGNOSES:
            return DIAGNOSES[word]
    return "WeChat gave no clear answer", "look the code up in WeChat's documentation"


def _words(heard: Refused | Unclear) -> str:
    reason = heard.reason if isinstance(heard, Unclear) else None
    said = (reason, heard.status, heard.code, heard.message, heard.request_id and f"Request-ID {heard.request_id}")
    return " ".join(str(word) for word in said if word)


def _clock(skew: float | None) -> list[Finding]:
    if skew is None:
        return []
    if abs(skew) > SKEW_SECONDS_MAX:
        cause = f"this machine is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} WeChat"
        return [problem("clock", f"{cause}; at 300 s payments stop", "switch time synchronisation (NTP) on")]
    return [ok("clock", f"{abs(skew):.0f} s from WeChat's")]


def _keys(wechat: WechatPayClient, settings: ClientSettings) -> list[Finding]:
    status = wechat.key_status()
    if not status.loaded:
        return [problem("platform keys", "none is loaded; callbacks cannot be verified", _PLATFORM_KEY)]
    end = "" if status.not_after is None else f", until {status.not_after:%Y-%m-%d}"
    findings = [ok("platform keys", f"{', '.join(status.serials)}{end}")]
    wanted = settings.platform_serial_no
    if wanted is not None and wanted.upper() not in {serial.upper() for serial in status.serials}:
        cause = f"WeChat does not use certificate {wanted} (any more)"
        findings.append(note("wechat_pay.serial_no", cause, f"set it to {status.serials[-1]}"))
    return findings


async def _echo(wechat: WechatPayClient) -> Finding:
    report = await wechat.echo()
    if report.ok:
        return ok("encryption", report.detail)
    if "refused: 404" in report.detail or " 404 " in report.detail:
        return note("encryption", "this gateway has no security echo; signing and verification were proved without")
    cure = "private_key_path and the platform key must be those of this merchant; " + _SAME_DOWNLOAD
    return problem("encryption", f"the security echo failed: {report.detail}", cure)


# -- names and addresses ------------------------------------------------------------------------------------------


async def addresses_of(host: str, port: int) -> list[str]:
    """Look a name up; empty when it has no address."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def examine_notify_url(config: Config) -> list[Finding]:
    """See whether WeChat could call the address: https, a name that resolves to public addresses, no query.

    What a simulator on this machine calls may be on this machine too, and is then asked whether payd is there.
    """
    url = config.wechat_pay.notify_url
    if url is None:
        return [] if config.livemode else [ok("notify_url", "mode sandbox: the simulator calls this machine")]
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) and not has_real_money(config):
        return [await _examine_door(config, url)]
    findings = []
    if parts.scheme != "https":
        findings.append(problem("notify_url", f"{url} is not https", "put a proxy with a certificate before payd"))
    found = await addresses_of(host, parts.port or 443)
    if not found:
        findings.append(problem("notify_url", f"{host} has no address in the DNS", "correct the name or its DNS entry"))
    private = [address for address in found if not ipaddress.ip_address(address.partition("%")[0]).is_global]
    if private:
        cause = f"{host} is {', '.join(private)} here, which WeChat cannot reach"
        findings.append(problem("notify_url", cause, "name a public host (fine if only this machine sees it so)"))
    return findings or [ok("notify_url", f"{url} resolves to {', '.join(found)}")]


async def _examine_door(config: Config, url: str) -> Finding:
    """Ask a notify_url on this machine whether payd is there. Ports are not compared: a proxy may stand in front."""
    own = config.server.own_url() + CALLBACK_PATH
    client = SimpleAsyncHTTPClient(force_instance=True)
    try:
        there, here = await _fetch(client, url), await _fetch(client, own)
    finally:
        client.close()
    return _led_to(url, there, own, here)


def _led_to(url: str, there: HTTPResponse | None, own: str, here: HTTPResponse | None) -> Finding:
    if _is_door(there):
        return ok("notify_url", f"{url} leads to payd, on this machine like the simulator")
    no_door = "" if there is None else f"what answers at {url} is not payd's door for callbacks ({there.code})"
    said = no_door or f"nobody answers at {url}"
    if _is_door(here):
        cause = f"{said}; payd listens at {own}, and only the reconciler will see payments"
        return problem("notify_url", cause, f"set wechat_pay.notify_url to {own}, or lead a proxy there")
    if there is None or there.code in PROXY_ALONE:
        return note("notify_url", f"{said}, nor does payd run", f"start it with payd serve; it will listen at {own}")
    return problem("notify_url", said, f"stop it, or set wechat_pay.notify_url to where payd will listen, {own}")


async def examine_webhook_names(config: Config) -> list[Finding]:
    """See whether the merchant's endpoints have addresses; ``payd webhook test URL`` posts to one."""
    findings = []
    for position, hook in enumerate(config.webhooks):
        parts = urlsplit(hook.url)
        if not await addresses_of(parts.hostname or "", parts.port or 443):
            cause = f"{parts.hostname} has no address in the DNS"
            findings.append(problem(f"webhooks.{position}.url", cause, "correct the name or its DNS entry"))
    return findings


# -- the lock in front of the database ----------------------------------------------------------------------------


async def examine_redis(config: Config, *, clock: Clock, entropy: Entropy) -> list[Finding]:
    """Take and give back a lock of no request, as payd would. That the package is missing, ``payd check`` says."""
    if not config.use_redis_idempotency or find_spec("redis") is None:
        return []
    from payd.idempotency.redis_lock import RedisLock

    try:
        lock = RedisLock(
            config.redis.url.get_secret_value(),
            timeout_ms=config.redis.timeout_ms,
            lease_seconds=limits.IDEMPOTENCY_LEASE_SECONDS,
            clock=clock,
            on_state=lambda up: None,
        )
    except ConfigError as error:
        return of_complaints(error.complaints)
    nobody = f"doctor-{entropy.token_hex(RANDOM_BYTES)}"
    try:
        held = await lock.acquire(nobody, nobody)
        await lock.release(nobody, nobody)
    finally:
        await lock.close()
    if held:
        return [ok("redis.url", "the lock in front of the database can be taken and given back")]
    cause = f"Redis does not answer as it should within {config.redis.timeout_ms} ms; payd goes on without it"
    return [problem("redis.url", cause, "see that Redis runs, takes writes and this password, or switch the lock off")]


# -- the own daemon -----------------------------------------------------------------------------------------------


async def examine_daemon(config: Config) -> list[Finding]:
    """See whether payd runs at the configured address and its callback door is there. Nothing is posted to it."""
    base = config.server.own_url()
    client = SimpleAsyncHTTPClient(force_instance=True)
    try:
        ready = await _fetch(client, f"{base}/readyz")
        if ready is None:
            return [note("daemon", f"nobody listens at {base}", "start it with payd serve")]
        door = await _fetch(client, base + CALLBACK_PATH)
        counts = await _fetch(client, f"{base}/metrics")
    finally:
        client.close()
    findings = _daemon(config, base, ready, door)
    if findings[0].level is Level.OK and counts is not None:
        findings += _api_v3_key(counts.body.decode("utf-8", "replace"))
    return findings


async def _fetch(client: SimpleAsyncHTTPClient, url: str) -> HTTPResponse | None:
    """GET; None when there is no answer. The certificate is payd's own and named for the public host: not checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    request = HTTPRequest(
        url, follow_redirects=False, connect_timeout=SELF_TIMEOUT_SECONDS, request_timeout=SELF_TIMEOUT_SECONDS,
        ssl_options=context,
    )  # fmt: skip
    try:
        return await client.fetch(request, raise_error=False)
    except (OSError, HTTPClientError):
        return None


def _mode(ready: HTTPResponse) -> str | None:
    """Read which mode the daemon says it is in."""
    try:
        said = json.loads(ready.body)
    except ValueError:
        return None
    return said.get("mode") if isinstance(said, dict) else None


def _api_v3_key(counts: str) -> list[Finding]:
    """See whether callbacks were opened: only they use the APIv3 key, no call to WeChat proves it."""
    said = re.findall(r'^payd_notifications_total\{result="(\w+)"\} (\S+)$', counts, re.M)
    number = {result: int(float(count)) for result, count in said}
    failed, opened = number.get("decrypt_failed", 0), number.get("applied", 0) + number.get("repeat", 0)
    if failed:
        cause = f"{failed} callbacks of WeChat's could not be opened since payd's start"
        cure = "set the APIv3 key of the merchant console (account centre, API security) in wechat_pay.api_v3_key"
        return [problem("api_v3_key", cause, cure)]
    if opened:
        return [ok("api_v3_key", "callbacks of WeChat's are opened with it")]
    return [note("api_v3_key", "not proven yet: no call uses it", "the first callback shows whether it is right")]


def _is_door(answer: HTTPResponse | None) -> bool:
    """Tell whether payd takes callbacks there: its 405 to a GET proves it without a row in the inspector."""
    return answer is not None and answer.code == 405 and "X-Request-Id" in answer.headers


def _daemon(config: Config, base: str, ready: HTTPResponse, door: HTTPResponse | None) -> list[Finding]:
    if not _is_door(door):
        return [problem("daemon", f"what listens at {base} is not payd", "stop it, or change server.port")]
    mode = _mode(ready)
    if mode != config.mode:
        cause = f"what listens at {base} is another payd (mode {mode}), this configuration is mode {config.mode}"
        return [problem("daemon", cause, "stop it, or change server.port")]
    if ready.code != 200:
        return [problem("daemon", f"payd at {base} answers but is not ready ({ready.code})", "read its log")]
    return [ok("daemon", f"payd at {base} is ready and answers WeChat's callbacks")]
