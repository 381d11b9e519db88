"""The simulator's directory: the throw-away merchant, his keys, and a ready configuration for payd.

The directory is the merchant: it is made once, never overwritten, and used again by every later start.
What only WeChat would hold (platform keys, root key) lies in its folder ``wechat/``.
"""

from __future__ import annotations

import json
import os
import secrets
import string
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from payd.sandbox import throwaway_keys
from payd.sandbox.errors import DirectoryRefused

MARKER = "merchant.json"
_WARNING = "Throw-away keys of the payd sandbox. They open nothing; never use them with the real WeChat Pay."
_SECRET_SUFFIXES = (".pem", ".p12", ".pfx", ".key", ".crt", ".cer")
_PEM_FILES = {
    "merchant_key": "apiclient_key.pem",
    "merchant_cert": "apiclient_cert.pem",
    "public_key": "pub_key.pem",
    "platform_cert": "platform_cert.pem",
    "root_cert": "root_ca.pem",
    "platform_private": "wechat/platform_key.pem",
    "public_private": "wechat/pub_key_private.pem",
    "root_private": "wechat/root_ca_key.pem",
}
_API_V3_KEY_FILE = "api_v3_key.txt"


@dataclass(frozen=True, slots=True)
class Merchant:
    """What a merchant holds: everything an SDK needs to talk to the simulator."""

    mchid: str
    appid: str
    merchant_serial_no: str
    private_key_path: Path
    merchant_cert_path: Path
    api_v3_key: str
    public_key_id: str
    public_key_path: Path
    platform_serial_no: str
    platform_cert_path: Path


@dataclass(frozen=True, slots=True)
class Vault:
    """What WeChat holds of one merchant: private platform keys and the merchant's public key."""

    merchant_certificate: x509.Certificate
    merchant_public_key: rsa.RSAPublicKey
    platform_key: rsa.RSAPrivateKey
    platform_certificate: x509.Certificate
    public_key_key: rsa.RSAPrivateKey
    root: x509.Certificate
    root_key: rsa.RSAPrivateKey
    appids: frozenset[str]


def prepare_directory(directory: Path, *, port: int = 8081, host: str = "127.0.0.1") -> Merchant:
    """Make ``directory`` a simulated merchant's, or read the one that is there.

    Takes about a second when keys must be made (call it before serving). ``port`` and ``host`` only go
    into the ``config.json`` of a new directory. Raises DirectoryRefused when the directory holds key files
    without our marker, a certificate that our throw-away root did not issue, or only part of what we wrote.
    """
    directory = Path(directory).absolute()
    if not (directory / MARKER).exists():
        _refuse_foreign_files(directory)
        _write_new(directory, host=host, port=port)
    return load_merchant(directory)


def load_merchant(directory: Path) -> Merchant:
    """The merchant of a prepared directory. Raises DirectoryRefused as ``prepare_directory`` does."""
    facts = _read_marker(directory)
    open_vault(directory)
    return Merchant(
        mchid=facts["mchid"],
        appid=facts["appid"],
        merchant_serial_no=facts["merchant_serial_no"],
        private_key_path=directory / _PEM_FILES["merchant_key"],
        merchant_cert_path=directory / _PEM_FILES["merchant_cert"],
        api_v3_key=_read(directory / _API_V3_KEY_FILE).decode().strip(),
        public_key_id=facts["public_key_id"],
        public_key_path=directory / _PEM_FILES["public_key"],
        platform_serial_no=facts["platform_serial_no"],
        platform_cert_path=directory / _PEM_FILES["platform_cert"],
    )


def open_vault(directory: Path) -> Vault:
    """Load and check every key of the directory: ours, complete, and belonging together."""
    facts = _read_marker(directory)
    try:
        certificates = {
            name: x509.load_pem_x509_certificate(_read(directory / _PEM_FILES[name]))
            for name in ("merchant_cert", "platform_cert", "root_cert")
        }
        keys = {
            name: throwaway_keys.load_private(_read(directory / _PEM_FILES[name]))
            for name in ("merchant_key", "platform_private", "public_private", "root_private")
        }
    except ValueError as exc:
        raise DirectoryRefused(f"{directory}: a key or certificate cannot be read ({exc})") from exc
    root = certificates["root_cert"]
    for name in ("merchant_cert", "platform_cert", "root_cert"):
        if not throwaway_keys.is_throwaway(certificates[name], root):
            raise DirectoryRefused(
                f"{directory / _PEM_FILES[name]} was not issued by the sandbox's throw-away root: "
                "this may be a real merchant's certificate. Give the sandbox an empty directory."
            )
    _same_key(directory, "merchant_cert", certificates["merchant_cert"], keys["merchant_key"])
    _same_key(directory, "platform_cert", certificates["platform_cert"], keys["platform_private"])
    return Vault(
        merchant_certificate=certificates["merchant_cert"],
        merchant_public_key=keys["merchant_key"].public_key(),
        platform_key=keys["platform_private"],
        platform_certificate=certificates["platform_cert"],
        public_key_key=keys["public_private"],
        root=root,
        root_key=keys["root_private"],
        appids=frozenset([facts["appid"], *facts.get("more_appids", [])]),
    )


def _read_marker(directory: Path) -> dict[str, Any]:
    try:
        facts = json.loads(_read(directory / MARKER))
        if not isinstance(facts, dict) or facts.get("made_by") != "payd sandbox":
            raise ValueError("not written by the sandbox")
    except ValueError as exc:
        raise DirectoryRefused(f"{directory / MARKER}: {exc}") from exc
    return facts


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise DirectoryRefused(
            f"{path}: {exc.strerror}. The directory is incomplete; delete it and start again."
        ) from exc


def _same_key(directory: Path, name: str, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> None:
    if certificate.public_key() != key.public_key():
        raise DirectoryRefused(f"{directory / _PEM_FILES[name]} does not belong to its private key")


def _refuse_foreign_files(directory: Path) -> None:
    """Refuse a directory whose files could be a real merchant's; other files are left alone."""
    if directory.exists() and not directory.is_dir():
        raise DirectoryRefused(f"{directory} is not a directory")
    if not directory.exists():
        return
    for entry in sorted(directory.iterdir()):
        looks_secret = entry.suffix.lower() in _SECRET_SUFFIXES or entry.name == _API_V3_KEY_FILE
        if looks_secret or entry.name == "wechat":
            raise DirectoryRefused(
                f"{entry} exists but {MARKER} does not: these may be a real merchant's files. "
                "Give the sandbox an empty directory of its own."
            )


def _write_new(directory: Path, *, host: str, port: int) -> None:
    mchid = "19" + "".join(secrets.choice(string.digits) for _ in range(8))
    appid = "wx" + secrets.token_hex(8)
    root_key, merchant_key, platform_key, public_key_key = (throwaway_keys.new_key() for _ in range(4))
    root = throwaway_keys.new_root(root_key)
    merchant_cert = throwaway_keys.issue(mchid, "payd sandbox merchant", merchant_key, root, root_key)
    platform_cert = throwaway_keys.issue(
        throwaway_keys.PLATFORM_COMMON_NAME, "payd sandbox platform", platform_key, root, root_key
    )
    facts = {
        "made_by": "payd sandbox",
        "warning": _WARNING,
        "mchid": mchid,
        "appid": appid,
        "more_appids": [],
        "merchant_serial_no": throwaway_keys.serial_text(merchant_cert),
        "platform_serial_no": throwaway_keys.serial_text(platform_cert),
        "public_key_id": f"PUB_KEY_ID_01{mchid}{time.strftime('%Y%m%d')}{secrets.randbelow(10**12):012d}",
    }
    contents = {
        MARKER: _json(facts),
        _PEM_FILES["merchant_key"]: throwaway_keys.private_pem(merchant_key),
        _PEM_FILES["merchant_cert"]: merchant_cert.public_bytes(serialization.Encoding.PEM),
        _PEM_FILES["public_key"]: throwaway_keys.public_pem(public_key_key),
        _PEM_FILES["platform_cert"]: platform_cert.public_bytes(serialization.Encoding.PEM),
        _PEM_FILES["root_cert"]: root.public_bytes(serialization.Encoding.PEM),
        _PEM_FILES["platform_private"]: throwaway_keys.private_pem(platform_key),
        _PEM_FILES["public_private"]: throwaway_keys.private_pem(public_key_key),
        _PEM_FILES["root_private"]: throwaway_keys.private_pem(root_key),
        _API_V3_KEY_FILE: _api_v3_key().encode(),
    }
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    (directory / "wechat").mkdir(mode=0o700)
    for name, content in contents.items():
        _write(directory / name, content)
    if not (directory / "config.json").exists():
        _write(directory / "config.json", _json(_payd_config(facts, host=host, port=port)))


def _api_v3_key() -> str:
    """32 ASCII letters and digits (section 0)."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32))


def _payd_config(facts: dict[str, Any], *, host: str, port: int) -> dict[str, Any]:
    """A configuration with which ``payd serve`` talks to this simulator as if it were WeChat."""
    return {
        "mode": "live",
        "server": {"host": "127.0.0.1", "port": 8080},
        "storage": {"path": "payd.db"},
        "wechat_pay": {
            "app_id": facts["appid"],
            "mch_id": facts["mchid"],
            "merchant_serial_no": facts["merchant_serial_no"],
            "private_key_path": _PEM_FILES["merchant_key"],
            "api_v3_key_path": _API_V3_KEY_FILE,
            "public_key_id": facts["public_key_id"],
            "public_key_path": _PEM_FILES["public_key"],
            "notify_url": "http://127.0.0.1:8080/pay/notify/wechat",
            "api_base": f"http://{'[' + host + ']' if ':' in host else host}:{port}",
            "api_base_backup": None,
        },
        "pay": {"api_keys": [secrets.token_urlsafe(32)]},
    }


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _write(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read; an existing one is an error."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        raise DirectoryRefused(f"{path}: {exc.strerror}") from exc
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
