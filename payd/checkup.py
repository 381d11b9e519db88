"""``payd check``: everything that can be known without the network, all of it at once.

Configuration, key material, API keys, webhook secrets, TLS files, the database file. What endangers real money is a
problem when payd speaks to WeChat itself, and a note when it speaks to a simulator on this machine.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import ssl
import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr as Secret

from payd.config import Config, WebhookConfig, effective, inspect_config, is_loopback
from payd.errors import Complaint, ConfigError, StorageError
from payd.findings import Finding, has_problem, note, of_complaints, ok, problem
from payd.storage.sqlite.connection import open_reader, opening
from payd.storage.sqlite.schema import KNOWN, applied_migrations, stored_mode
from payd.web.api_keys import OWN_KEY, PREFIX, entry_digest, is_damaged, key_digest, key_id
from payd.wechat import inspect_keys
from payd.wechat.key_files import OPEN_TO_OTHERS, KeyFileProblem, load_certificate
from payd.wechat.settings import API_V3_KEY_BYTES, ClientSettings

#: An API key of fewer characters, or of fewer different ones, can be guessed.
KEY_CHARS_MIN: Final = 20
KEY_VARIETY_MIN: Final = 8
#: The key in the repository's config.json: everybody knows it.
PUBLISHED_KEYS: Final = ("payd_sandbox_demo_key_not_a_secret",)
#: Standard Webhooks 1.0.0, "Secret": 24 to 64 random bytes.
SECRET_BYTES: Final = range(24, 65)
SECRET_VARIETY_MIN: Final = 10
#: A certificate that ends sooner than this is worth a word.
EXPIRY_DAYS: Final = 30
CALLBACK_PATH: Final = "/pay/notify/wechat"
FRESH_KEY: Final = "make one with payd key new"


@dataclass(frozen=True, slots=True)
class Checkup:
    """What came out. ``config`` is None when too little of it can be read; ``shown`` masks every secret."""

    config: Config | None
    findings: list[Finding]
    shown: dict[str, Any] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Tell whether payd can be started with this."""
        return not has_problem(self.findings)


def check_offline(path: Path, environ: Mapping[str, str], *, now: datetime) -> Checkup:
    """Check everything; opens files, never the network, and changes nothing."""
    try:
        config, complaints = inspect_config(path, environ)
    except ConfigError as error:
        return Checkup(None, of_complaints(error.complaints))
    findings = of_complaints(complaints) or [ok("configuration", f"{path}, mode {config.mode if config else '?'}")]
    if config is None:
        return Checkup(None, findings)
    if config.livemode:
        findings += check_keys(config, {complaint.field for complaint in complaints}, now=now)
    findings += [
        *check_config_file(path, config),
        *check_api_keys(config),
        *check_webhooks(config),
        *check_notify_url(config),
        *check_tls(config),
        *check_redis(config),
        *check_database(config),
    ]
    return Checkup(config, findings, effective(config))


def has_real_money(config: Config) -> bool:
    """Tell whether payd speaks to WeChat itself, and not to a simulator on this machine."""
    return config.livemode and not is_loopback(urlsplit(config.wechat_pay.api_base).hostname or "")


# -- key material -------------------------------------------------------------------------------------------------


def check_keys(config: Config, known: Collection[str], *, now: datetime) -> list[Finding]:
    """Load every key and certificate and compare them. ``known`` are the keys of the configuration already blamed."""
    blamed = set(known)
    if "wechat_pay.api_v3_key" in blamed:
        blamed.add("wechat_pay.api_v3_key_path")  # one of the two is said: it is the same key
    complaints: list[Complaint] = []
    settings = None
    try:
        settings = ClientSettings.from_config(config)
    except ConfigError as error:
        complaints += [complaint for complaint in error.complaints if complaint.field not in blamed]
        blamed |= {complaint.field for complaint in error.complaints}
        settings = _with_stand_ins(config)
    keyring = None
    if settings is not None:
        keyring, found = inspect_keys(settings, now=now)
        complaints += [complaint for complaint in found if complaint.field not in blamed]
    if complaints or blamed or keyring is None or settings is None:
        return of_complaints(complaints)
    trust = keyring.trust.status()
    said = ", ".join(trust.serials) or "platform certificates are downloaded at the start"
    findings = [ok("keys", f"merchant {settings.mchid}, serial {keyring.merchant.serial}; WeChat: {said}")]
    return findings + _expiring(settings, trust.not_after, now)


def _with_stand_ins(config: Config) -> ClientSettings | None:
    """Put harmless values where some are missing, so that the other files can be looked at. None: no use."""
    section = config.wechat_pay
    if section.mch_id is None or section.private_key_path is None:
        return None
    stand_ins: dict[str, Any] = {"api_v3_key": Secret("0" * API_V3_KEY_BYTES)}
    if section.app_id is None:
        stand_ins["app_id"] = "-"
    if section.notify_url is None:
        stand_ins["notify_url"] = "https://localhost/"
    if section.merchant_serial_no is None and section.merchant_cert_path is None:
        stand_ins["merchant_serial_no"] = "0" * 40
    return ClientSettings.from_config(config.model_copy(update={"wechat_pay": section.model_copy(update=stand_ins)}))


def _expiring(settings: ClientSettings, platform_end: datetime | None, now: datetime) -> list[Finding]:
    ends = [("wechat_pay.platform_cert_path", platform_end, "take the new platform certificate, or the public key")]
    if settings.merchant_cert_path is not None:
        with contextlib.suppress(KeyFileProblem):
            end = load_certificate(settings.merchant_cert_path, "").not_valid_after_utc
            ends.append(("wechat_pay.merchant_cert_path", end, "renew the API certificate in the merchant console"))
    return [
        note(key, f"the certificate ends on {end:%Y-%m-%d}", cure)
        for key, end, cure in ends
        if end is not None and end - now < timedelta(days=EXPIRY_DAYS)
    ]


# -- API keys and webhook secrets ---------------------------------------------------------------------------------


def key_weakness(entry: str) -> str | None:
    """Say why an entry of ``pay.api_keys`` is no good key, None when nothing speaks against it."""
    if entry_digest(entry) in {key_digest(key) for key in PUBLISHED_KEYS}:
        return "is the key published with payd"
    if entry.startswith("sha256:") or OWN_KEY.fullmatch(entry):
        return "begins like a key of payd's and is none: cut or mistyped" if is_damaged(entry) else None
    if entry.startswith(PREFIX):
        return "begins like a key of payd's and is none: cut or mistyped"
    if len(entry) < KEY_CHARS_MIN:
        return f"has {len(entry)} characters and can be guessed"
    if len(set(entry)) < KEY_VARIETY_MIN:
        return "repeats the same few characters and can be guessed"
    return None


def check_api_keys(config: Config) -> list[Finding]:
    """Look for keys that can be guessed, and for scopes given to nobody."""
    entries = [key.get_secret_value() for key in config.pay.api_keys]
    if not entries:
        return [note("pay.api_keys", "there is no API key: every request is answered 503", FRESH_KEY)]
    worse = problem if has_real_money(config) else note
    findings = []
    for position, entry in enumerate(entries):
        weakness = key_weakness(entry)
        if weakness and (config.livemode or entry not in PUBLISHED_KEYS):
            findings.append(worse(f"pay.api_keys.{position}", weakness, FRESH_KEY))
    digests = {entry_digest(entry) for entry in entries}
    for name, scopes in config.pay.api_key_scopes.items():
        digest = entry_digest(name)
        if digest not in digests:  # misspelt: the key that was meant has the default scopes
            cause = f"the key {key_id(digest)} ({', '.join(scopes) or 'no scopes'}) is not among pay.api_keys"
            findings.append(worse("pay.api_key_scopes", cause, f"known: {_key_ids(digests)}; {KEY_ID_MEANING}"))
    return findings or [ok("pay.api_keys", f"{len(entries)} configured")]


KEY_ID_MEANING: Final = (
    "a key is named by the first eight digits of its SHA-256, and has the default scopes when it has no entry"
)


def _key_ids(digests: Iterable[bytes]) -> str:
    return ", ".join(sorted(key_id(digest) for digest in digests))


def secret_weakness(secret: str) -> str | None:
    """Say why a webhook secret is no good, None when nothing speaks against it."""
    try:
        raw = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        return "is not base64 behind whsec_"
    if len(raw) not in SECRET_BYTES:
        return f"has {len(raw)} bytes; Standard Webhooks wants {SECRET_BYTES.start} to {SECRET_BYTES.stop - 1}"
    if len(set(raw)) < SECRET_VARIETY_MIN:
        return "repeats the same few bytes and can be guessed"
    return None


def check_webhooks(config: Config) -> list[Finding]:
    """Look for weak or shared secrets, and for what only tests should do."""
    worse = problem if has_real_money(config) else note
    findings: list[Finding] = []
    seen: dict[str, str] = {}
    for position, hook in enumerate(config.webhooks):
        findings += _check_endpoint(f"webhooks.{position}", hook, worse, seen)
    if not findings and config.webhooks:
        return [ok("webhooks", f"{len(config.webhooks)} endpoints")]
    return findings


def _check_endpoint(where: str, hook: WebhookConfig, worse: Any, seen: dict[str, str]) -> list[Finding]:
    findings = []
    for number, secret in enumerate(hook.secrets):
        place, text = f"{where}.secrets.{number}", secret.get_secret_value()
        weakness = secret_weakness(text)
        if weakness:
            findings.append(worse(place, weakness, "make one with payd key new --webhook"))
        if seen.setdefault(text, hook.url) != hook.url:
            findings.append(note(place, f"is also the secret of {seen[text]}", "give each endpoint its own"))
    if worse is problem and hook.allow_private_addresses:
        cause = "allow_private_addresses lets this endpoint reach your own network"
        findings.append(note(f"{where}.allow_private_addresses", cause, "leave it off unless the receiver is inside"))
    return findings


# -- the rest -----------------------------------------------------------------------------------------------------


def check_notify_url(config: Config) -> list[Finding]:
    """Look at the address WeChat shall call."""
    url = config.wechat_pay.notify_url
    if url is None:
        return []
    parts = urlsplit(url)
    findings = []
    if has_real_money(config) and is_loopback(parts.hostname or ""):
        cause = f"{url} is on this machine; WeChat cannot call it and only the reconciler will see payments"
        findings.append(problem("wechat_pay.notify_url", cause, "name the public https:// address of your proxy"))
    if parts.path != CALLBACK_PATH:
        cause = f"the path is {parts.path or '/'} and payd answers at {CALLBACK_PATH}"
        findings.append(note("wechat_pay.notify_url", cause, "right only if your proxy rewrites it"))
    return findings


def check_config_file(path: Path, config: Config) -> list[Finding]:
    """Look whether others can read secrets that stand in the file."""
    if not config.livemode or not path.is_file() or not _is_open(path):
        return []
    return [note("configuration", f"{path} can be read by others and may hold secrets", f"run: chmod 600 {path}")]


def check_tls(config: Config) -> list[Finding]:
    """Load payd's own server certificate."""
    server = config.server
    if server.tls_cert_path is None or server.tls_key_path is None:
        return []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password OpenSSL would ask the terminal for one.
        context.load_cert_chain(server.tls_cert_path, server.tls_key_path, password=lambda: "")
    except (OSError, ssl.SSLError) as exc:
        cause = f"{server.tls_cert_path} and its key cannot be used: {exc}"
        return [problem("server.tls_cert_path", cause, "name a PEM certificate chain and its unencrypted key")]
    findings = [ok("server.tls_cert_path", str(server.tls_cert_path))]
    if _is_open(server.tls_key_path):
        cause = f"{server.tls_key_path} can be opened by others"
        findings.append(problem("server.tls_key_path", cause, f"run: chmod 600 {server.tls_key_path}"))
    return findings


def check_redis(config: Config) -> list[Finding]:
    """Look whether the package is there that the setting needs."""
    if not config.use_redis_idempotency or find_spec("redis") is not None:
        return []
    return [problem("use_redis_idempotency", "the redis package is not installed", "pip install 'payd[redis]'")]


def check_database(config: Config) -> list[Finding]:
    """Look at the database file: who may open it, whether it is ours, which mode's money it holds."""
    path = config.storage.path
    if not path.exists():
        return [_check_folder(path.parent) or ok("storage.path", f"{path} will be made at the first start")]
    findings = []
    for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        if file.exists() and _is_open(file):
            mode = stat.S_IMODE(file.stat().st_mode)
            cause = f"{file} can be opened by others (mode {mode:04o})"
            findings.append(problem("storage.path", cause, f"run: chmod 600 {file}"))
    if not os.access(path, os.R_OK | os.W_OK):
        findings.append(problem("storage.path", f"{path} cannot be written by this user", "run payd as its owner"))
        return findings
    return findings + (_check_content(path, config.mode) or ([] if findings else [ok("storage.path", str(path))]))


def _check_folder(folder: Path) -> Finding | None:
    if not folder.is_dir():
        return problem("storage.path", f"the folder {folder} does not exist", f"run: mkdir -m 700 {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        return problem("storage.path", f"this user cannot write into {folder}", "run payd as its owner")
    return None


def _check_content(path: Path, mode: str) -> list[Finding]:
    try:
        with opening(path), contextlib.closing(open_reader(path)) as connection:
            applied = applied_migrations(connection, path)
            stored = stored_mode(connection) if applied else None
    except ConfigError as error:
        return of_complaints(error.complaints)
    except StorageError as error:
        return [problem("storage.path", str(error))]
    if stored not in (None, mode):
        cause = f"{path} holds {stored} money and the configuration says mode {mode}"
        return [problem("storage.path", cause, f"name another file, or set mode to {stored}")]
    if applied and applied != KNOWN:
        return [note("storage.path", f"{path} has an older schema; payd copies and migrates it at the next start")]
    return []


def _is_open(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & OPEN_TO_OTHERS)
