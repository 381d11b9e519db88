"""What the client needs to know, as plain values: made from the configuration, by the sandbox or by a test.

The two serials are different things. ``merchant_serial_no`` names the MERCHANT certificate and goes into
``Authorization``; ``platform_serial_no`` (``wechat_pay.serial_no`` in config.json) names WeChat's certificate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from payd.config import Config
from payd.errors import Complaint, ConfigError
from payd.wechat.key_files import KeyFileProblem, read_secret_file

API_V3_KEY_BYTES: Final = 32  # WeChat: AES-256, the ASCII text itself is the key


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """The merchant's account, keys and hosts. Paths are absolute or relative to the working folder.

    Public-key mode: ``public_key_id`` and ``public_key_path``. Certificate mode: ``platform_serial_no`` or
    ``platform_cert_path``, or no public key at all (then certificates are downloaded). Both may be set during a switch.
    ``key_cache_dir`` None: downloaded certificates live in memory only.
    """

    mchid: str
    appid: str
    private_key_path: Path
    api_v3_key: bytes = field(repr=False)
    notify_url: str
    merchant_serial_no: str | None = None
    merchant_cert_path: Path | None = None
    private_key_passphrase: str | None = field(default=None, repr=False)
    platform_serial_no: str | None = None
    platform_cert_path: Path | None = None
    public_key_id: str | None = None
    public_key_path: Path | None = None
    cert_refresh_interval_seconds: int = 43_200
    api_base: str = "https://api.mch.weixin.qq.com"
    api_base_backup: str | None = "https://api2.mch.weixin.qq.com"
    timeout_ms: int = 5_000
    key_cache_dir: Path | None = None

    @property
    def certificate_mode(self) -> bool:
        """Tell whether platform certificates are used and downloaded. False: pure public-key mode."""
        return self.public_key_id is None or self.platform_serial_no is not None or self.platform_cert_path is not None

    @staticmethod
    def from_config(config: Config) -> ClientSettings:
        """Read ``wechat_pay``, and the APIv3 key's file. Raises ConfigError with every complaint.

        Key files other than the APIv3 key are opened by `load_keyring`, not here.
        """
        section = config.wechat_pay
        complaints = [
            Complaint(f"wechat_pay.{name}", "is required to talk to WeChat")
            for name in ("app_id", "mch_id", "private_key_path", "notify_url")
            if getattr(section, name) is None
        ]
        if section.merchant_serial_no is None and section.merchant_cert_path is None:
            complaints.append(Complaint("wechat_pay.merchant_serial_no", "is required (or merchant_cert_path)"))
        api_v3_key = b""
        try:
            api_v3_key = _api_v3_key(config)
        except KeyFileProblem as problem:
            complaints.append(Complaint("wechat_pay.api_v3_key_path", str(problem)))
        if complaints:
            raise ConfigError(complaints)
        assert section.mch_id is not None
        assert section.app_id is not None
        assert section.private_key_path is not None
        assert section.notify_url is not None
        passphrase = section.private_key_passphrase
        return ClientSettings(
            mchid=section.mch_id,
            appid=section.app_id,
            private_key_path=section.private_key_path,
            api_v3_key=api_v3_key,
            notify_url=section.notify_url,
            merchant_serial_no=section.merchant_serial_no,
            merchant_cert_path=section.merchant_cert_path,
            private_key_passphrase=None if passphrase is None else passphrase.get_secret_value(),
            platform_serial_no=section.serial_no,
            platform_cert_path=section.platform_cert_path,
            public_key_id=section.public_key_id,
            public_key_path=section.public_key_path,
            cert_refresh_interval_seconds=section.cert_refresh_interval_seconds,
            api_base=section.api_base,
            api_base_backup=section.api_base_backup,
            timeout_ms=section.timeout_ms,
            key_cache_dir=config.storage.path.parent / "platform-certificates",
        )


def _api_v3_key(config: Config) -> bytes:
    section = config.wechat_pay
    if section.api_v3_key is not None:
        key = section.api_v3_key.get_secret_value().encode()
    elif section.api_v3_key_path is not None:
        key = read_secret_file(section.api_v3_key_path).strip()  # editors end files with a line feed
    else:
        raise KeyFileProblem("is required (or api_v3_key)")
    if len(key) != API_V3_KEY_BYTES:
        raise KeyFileProblem(
            f"the APIv3 key set in the merchant console is exactly {API_V3_KEY_BYTES} bytes; this has {len(key)}"
        )
    return key
