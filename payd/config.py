"""config.json and the environment -> one frozen `Config`. All complaints at once, each with the path of its key.

Order: file, then ``PAYD_<SECTION>__<KEY>`` (top-level keys ``PAYD_<KEY>``) read as JSON, else as text; then
``PAY_API_KEY`` / ``PAY_API_KEYS`` add API keys. Relative paths start at the config file's folder. Secrets are `Secret`:
they cannot be printed. Nothing here opens a key file; that is ``wechat/keyring.py``'s and ``payd check``'s work.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic import SecretStr as Secret

from payd.errors import Complaint, ConfigError

SCOPES: Final = (
    "order_create",
    "order_query",
    "order_close",
    "refund",
    "refund_query",
    "discrepancy_resolve",
    "webhook_resend",
)
WEBHOOK_EVENTS: Final = (
    "order.paid",
    "order.failed",
    "order.closed",
    "order.late_payment",
    "refund.succeeded",
    "refund.failed",
    "refund.abnormal",
)
KEY_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only be this machine."""
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split_url(value: str) -> tuple[str, str]:
    parts = urlsplit(value)
    try:
        _ = parts.port
    except ValueError as exc:
        raise ValueError("the port of this URL is no number between 0 and 65535") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an absolute URL that begins with http:// or https://")
    if parts.username or parts.password:
        raise ValueError("must not carry a user name or password")
    return parts.scheme, parts.hostname


def _check_api_base(value: str) -> str:
    scheme, host = _split_url(value)
    if scheme == "http" and not is_loopback(host):
        raise ValueError("plain http is allowed only for loopback hosts; use https://")
    if urlsplit(value).path not in ("", "/") or urlsplit(value).query:
        raise ValueError("must be scheme and host only, without a path or query")
    return value.rstrip("/")


def _check_notify_url(value: str) -> str:
    scheme, host = _split_url(value)
    if urlsplit(value).query or urlsplit(value).fragment:
        raise ValueError("WeChat allows no query string in notify_url")
    if scheme == "http" and not is_loopback(host):
        raise ValueError("must be https:// (WeChat calls it over the internet)")
    if len(value.encode()) > 255:
        raise ValueError("is longer than WeChat's 255 bytes")
    return value


def _check_clock(value: str) -> str:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", value):
        raise ValueError("must be a time of day such as 10:30")
    return value


def _check_scope(value: str) -> str:
    if value not in SCOPES:
        near = difflib.get_close_matches(value, SCOPES, n=1)
        raise ValueError(f"unknown scope {value!r}{f', did you mean {near[0]!r}?' if near else ''}")
    return value


def _check_api_key(value: str) -> str:
    if value.startswith("sha256:") and not KEY_HASH.fullmatch(value):
        raise ValueError("a hash entry is sha256: followed by 64 lower-case hex digits")
    if not value.startswith("sha256:") and not re.fullmatch(r"[\x21-\x7e]{1,200}", value):
        raise ValueError("an API key has 1 to 200 printable ASCII characters without blanks")
    return value


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


ApiBase = Annotated[str, AfterValidator(_check_api_base)]
Scope = Annotated[str, AfterValidator(_check_scope)]
Port = Annotated[int, Field(ge=0, le=65535)]
Scopes = Annotated[tuple[Scope, ...], BeforeValidator(_tuple)]


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


def _resolved(value: object) -> object:
    return Path(value) if isinstance(value, str) and value else value


FilePath = Annotated[Path, BeforeValidator(_resolved)]


class ServerConfig(_Section):
    """Where payd listens."""

    host: str = "127.0.0.1"
    port: Port = 8080
    tls_cert_path: FilePath | None = None
    tls_key_path: FilePath | None = None

    @model_validator(mode="after")
    def _tls_pair(self) -> ServerConfig:
        if (self.tls_cert_path is None) != (self.tls_key_path is None):
            raise ValueError("tls_cert_path and tls_key_path go together")
        return self


class StorageConfig(_Section):
    """The books."""

    path: FilePath = Path("payd.db")


class WechatPayConfig(_Section):
    """The merchant's account at WeChat Pay. ``serial_no`` is the PLATFORM certificate's, see the README."""

    app_id: str | None = Field(default=None, min_length=1, max_length=32)
    mch_id: str | None = Field(default=None, pattern=r"^[0-9]{6,32}$")
    merchant_serial_no: str | None = None
    merchant_cert_path: FilePath | None = None
    private_key_path: FilePath | None = None
    private_key_passphrase: Secret | None = None
    api_v3_key: Secret | None = None
    api_v3_key_path: FilePath | None = None
    serial_no: str | None = None
    platform_cert_path: FilePath | None = None
    public_key_id: str | None = None
    public_key_path: FilePath | None = None
    cert_refresh_interval_seconds: int = Field(default=43_200, ge=60, le=86_400)
    notify_url: Annotated[str, AfterValidator(_check_notify_url)] | None = None
    api_base: ApiBase = "https://api.mch.weixin.qq.com"
    api_base_backup: ApiBase | None = "https://api2.mch.weixin.qq.com"
    timeout_ms: int = Field(default=5_000, ge=100, le=60_000)


class PayConfig(_Section):
    """Who may call payd."""

    api_keys: Annotated[tuple[Secret, ...], BeforeValidator(_tuple)] = ()
    api_key_scopes: dict[str, Scopes] = Field(default_factory=dict)
    api_key_default_scopes: Scopes = SCOPES


class RedisConfig(_Section):
    """The optional lock in front of the database."""

    url: Secret = Secret("redis://127.0.0.1:6379/0")
    timeout_ms: int = Field(default=200, ge=10, le=2_000)


class WebhookConfig(_Section):
    """One of the merchant's own endpoints. Several secrets while one is being replaced."""

    url: str
    secrets: Annotated[tuple[Secret, ...], BeforeValidator(_tuple)] = Field(min_length=1)
    events: Annotated[tuple[str, ...], BeforeValidator(_tuple)] = ("*",)
    allow_private_addresses: bool = False

    @model_validator(mode="after")
    def _check(self) -> WebhookConfig:
        scheme, host = _split_url(self.url)
        if self.allow_private_addresses:
            pass
        elif _is_private_literal(host):
            raise ValueError(f"url: {host} is a private or loopback address; set allow_private_addresses to allow it")
        elif scheme != "https":
            raise ValueError("url: must be https:// unless allow_private_addresses is set")
        for secret in self.secrets:
            if not re.fullmatch(r"whsec_[A-Za-z0-9+/]{24,}={0,2}", secret.get_secret_value()):
                raise ValueError(
                    "secrets: each is whsec_ followed by base64 of at least 24 bytes (payd key new makes one)"
                )
        for event in self.events:
            if event != "*" and event not in WEBHOOK_EVENTS:
                near = difflib.get_close_matches(event, WEBHOOK_EVENTS, n=1)
                raise ValueError(f"events: unknown event {event!r}{f', did you mean {near[0]!r}?' if near else ''}")
        return self


def _is_private_literal(host: str) -> bool:
    """Tell whether a host is written as a non-global address, in any of the forms a resolver accepts."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    text = host.strip("[]")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        try:  # decimal, hex, octal and short forms: what inet_aton(3) accepts
            import socket

            address = ipaddress.ip_address(socket.inet_aton(text))
        except (OSError, ValueError):
            return False
    mapped = getattr(address, "ipv4_mapped", None)
    return not (mapped or address).is_global


class SandboxConfig(_Section):
    """The simulator inside, in mode sandbox."""

    port: Port = 8081
    dir: FilePath = Path("sandbox")


class BillsConfig(_Section):
    """Yesterday's bills. ``fetch_at`` is Beijing time."""

    enabled: bool = True
    fetch_at: Annotated[str, AfterValidator(_check_clock)] = "10:30"


class LogConfig(_Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Config(_Section):
    """Every setting, validated. Built by `load_config`."""

    mode: Literal["sandbox", "live"]
    server: ServerConfig = ServerConfig()
    storage: StorageConfig = StorageConfig()
    wechat_pay: WechatPayConfig = WechatPayConfig()
    pay: PayConfig = PayConfig()
    use_redis_idempotency: bool = False
    idempotency_ttl_seconds: int = Field(default=604_800, ge=60, le=31_536_000)
    redis: RedisConfig = RedisConfig()
    reconcile_enabled: bool = True
    reconcile_interval_seconds: int = Field(default=5, ge=1, le=3_600)
    reconcile_batch_size: int = Field(default=50, ge=1, le=1_000)
    late_payment_policy: Literal["hold", "refund"] = "hold"
    webhooks: Annotated[tuple[WebhookConfig, ...], BeforeValidator(_tuple)] = ()
    sandbox: SandboxConfig = SandboxConfig()
    bills: BillsConfig = BillsConfig()
    log: LogConfig = LogConfig()

    @property
    def livemode(self) -> bool:
        """Tell whether the money is real."""
        return self.mode == "live"


#: What live mode cannot do without: the keys of ``wechat_pay`` that must be said, any one of each group.
LIVE_NEEDS: Final[tuple[tuple[str, ...], ...]] = (
    ("app_id",),
    ("mch_id",),
    ("merchant_serial_no", "merchant_cert_path"),
    ("private_key_path",),
    ("api_v3_key", "api_v3_key_path"),
    ("notify_url",),
)


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Read, override, validate. Raises ConfigError with every complaint."""
    data = _read(path)
    complaints = _override(data, environ)
    _add_api_keys(data, environ)
    try:
        config = Config.model_validate(data)
    except ValidationError as exc:
        raise ConfigError(complaints + _complaints(exc) + _unmet_needs(data)) from None
    complaints += _cross_check(config)
    if complaints:
        raise ConfigError(complaints)
    return _anchor(config, path.resolve().parent)


def inspect_config(path: Path, environ: Mapping[str, str]) -> tuple[Config | None, list[Complaint]]:
    """Load like `load_config`, but leave out what is wrong and go on, so that a check can say everything at once.

    The config is None when too little is left. Raises ConfigError: there is no file, or it is no JSON object.
    """
    data = _read(path)
    complaints = _override(data, environ)
    _add_api_keys(data, environ)
    try:
        config = Config.model_validate(data)
    except ValidationError as exc:
        complaints += _complaints(exc) + _unmet_needs(data)
        for error in exc.errors(include_url=False, include_input=False, include_context=False):
            _leave_out(data, error["loc"])
        try:
            config = Config.model_validate(data)
        except ValidationError:
            return None, complaints
    known = {complaint.field for complaint in complaints}
    complaints += [complaint for complaint in _cross_check(config) if complaint.field not in known]
    return _anchor(config, path.resolve().parent), complaints


def _leave_out(data: dict[str, Any], location: tuple[int | str, ...]) -> None:
    """Delete the value at a place; of a list the whole list, because its other places would shift."""
    target: Any = data
    for part in location[:-1]:
        inner = target.get(part)
        if not isinstance(inner, dict):
            target.pop(part, None)
            return
        target = inner
    if location:
        target.pop(location[-1], None)


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise ConfigError([Complaint("", f"cannot read {path}: {exc.strerror}")]) from exc
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise ConfigError([Complaint("", f"{path} is not JSON: {exc}")]) from exc
    if not isinstance(data, dict):
        raise ConfigError([Complaint("", f"{path} must hold one JSON object")])
    return data


def _override(data: dict[str, Any], environ: Mapping[str, str]) -> list[Complaint]:
    """Apply PAYD_* variables in place. Unknown names are complaints that name the variable."""
    complaints: list[Complaint] = []
    for name, text in sorted(environ.items()):
        if not name.startswith("PAYD_") or name.startswith("PAYD_DASHBOARD") or name == "PAYD_DEBUG":
            continue
        parts = name.removeprefix("PAYD_").lower().split("__")
        field = Config.model_fields.get(parts[0])
        if field is None or len(parts) > 2 or (len(parts) == 2 and not _has_key(parts[0], parts[1])):
            near = difflib.get_close_matches(name, _variables(), n=1)
            hint = f", did you mean {near[0]}?" if near else ""
            complaints.append(Complaint(name, f"no setting has this environment variable{hint}"))
            continue
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            value = text
        target = data
        for part in parts[:-1]:
            section = target.setdefault(part, {})
            if not isinstance(section, dict):
                section = target[part] = {}
            target = section
        target[parts[-1]] = _as_text_where_text(parts, value, text)
    return complaints


def _section(name: str) -> type[BaseModel] | None:
    annotation = Config.model_fields[name].annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _has_key(section: str, key: str) -> bool:
    model = _section(section)
    return model is not None and key in model.model_fields


def _as_text_where_text(parts: list[str], value: object, text: str) -> object:
    """Keep the text where the setting is a text: mch_id 1900000001 and an all-digit key are no numbers."""
    model: type[BaseModel] | None = Config if len(parts) == 1 else _section(parts[0])
    assert model is not None, "the name was checked before"
    wants = str(model.model_fields[parts[-1]].annotation)
    if isinstance(value, (int, float)) and "int" not in wants.split("[")[0] and "bool" not in wants:
        return text
    return value


def _variables() -> list[str]:
    names = []
    for name in Config.model_fields:
        model = _section(name)
        names += [f"PAYD_{name}__{key}".upper() for key in model.model_fields] if model else [f"PAYD_{name}".upper()]
    return names


def _add_api_keys(data: dict[str, Any], environ: Mapping[str, str]) -> None:
    extra = [environ.get("PAY_API_KEY", ""), *environ.get("PAY_API_KEYS", "").split(",")]
    extra = [key.strip() for key in extra if key.strip()]
    if not extra:
        return
    pay = data.setdefault("pay", {})
    if isinstance(pay, dict) and isinstance(pay.setdefault("api_keys", []), list):
        pay["api_keys"] = list(dict.fromkeys([*pay["api_keys"], *extra]))


def _complaints(exc: ValidationError) -> list[Complaint]:
    return [_complaint(error) for error in exc.errors(include_url=False, include_input=False, include_context=False)]


def _complaint(error: Any) -> Complaint:
    location = [str(part) for part in error["loc"]]
    field = ".".join(location)
    if error["type"] == "extra_forbidden":
        return Complaint(field, "unknown key" + _suggestion(location))
    if error["type"] == "missing":
        hint = " ('sandbox' for the simulator, 'live' for WeChat itself)" if field == "mode" else ""
        return Complaint(field, f"is required{hint}")
    return Complaint(field, str(error["msg"]).removeprefix("Value error, "))


def _suggestion(location: list[str]) -> str:
    model: type[BaseModel] | None = Config
    if len(location) > 1:
        model = WebhookConfig if location[0] == "webhooks" else _section(location[0])
    known = list(model.model_fields) if model else []
    near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
    if near:
        return f", did you mean {'.'.join([*location[:-1], near[0]])!r}?"
    everywhere = {
        key: f"{name}.{key}" for name in Config.model_fields for key in getattr(_section(name), "model_fields", ())
    }
    near = difflib.get_close_matches(location[-1], everywhere, n=1, cutoff=0.6)
    return f", did you mean {everywhere[near[0]]!r}?" if near else ""


def _cross_check(config: Config) -> list[Complaint]:
    """Find what no single key shows."""
    complaints = [
        Complaint(f"pay.api_keys.{position}", issue)
        for position, key in enumerate(config.pay.api_keys)
        if (issue := _issue(_check_api_key, key.get_secret_value()))
    ]
    wechat = config.wechat_pay
    complaints += _unmet_needs({"mode": config.mode, "wechat_pay": wechat.model_dump()})
    if (wechat.public_key_id is None) != (wechat.public_key_path is None):
        complaints.append(Complaint("wechat_pay.public_key_id", "public_key_id and public_key_path go together"))
    if wechat.public_key_id is not None and not wechat.public_key_id.startswith("PUB_KEY_ID_"):
        complaints.append(Complaint("wechat_pay.public_key_id", "must begin with PUB_KEY_ID_, as the console shows it"))
    if wechat.merchant_serial_no is not None:
        complaints += _check_serial(wechat.merchant_serial_no)
    key = wechat.api_v3_key
    if key is not None and len(key.get_secret_value().encode()) != 32:
        complaints.append(
            Complaint("wechat_pay.api_v3_key", "must be exactly 32 bytes, as set in the merchant console")
        )
    if config.livemode and not config.pay.api_keys and not is_loopback(config.server.host):
        complaints.append(Complaint("pay.api_keys", "must not be empty when payd listens beyond this machine"))
    urls = [hook.url for hook in config.webhooks]
    complaints += [Complaint(f"webhooks.{i}.url", "is listed twice") for i, u in enumerate(urls) if u in urls[:i]]
    return complaints


def _check_serial(serial: str) -> list[Complaint]:
    where = "wechat_pay.merchant_serial_no"
    if serial.startswith("PUB_KEY_ID_"):
        return [Complaint(where, "is a WeChat Pay public key id; here belongs the serial of YOUR merchant certificate "
                                 "(openssl x509 -in apiclient_cert.pem -noout -serial)")]  # fmt: skip
    if not re.fullmatch(r"[0-9A-Fa-f]{8,40}", serial):
        return [Complaint(where, "must be the certificate's serial in hex, as openssl x509 -serial prints it")]
    return []


def _unmet_needs(data: Mapping[str, Any]) -> list[Complaint]:
    """List what live mode lacks, from plain values: also when other keys are already wrong."""
    wechat = data.get("wechat_pay") or {}
    if data.get("mode") != "live" or not isinstance(wechat, dict):
        return []
    return [
        Complaint(f"wechat_pay.{group[0]}", "is required in mode live" + "".join(f" (or {key})" for key in group[1:]))
        for group in LIVE_NEEDS
        if all(wechat.get(key) is None for key in group)
    ]


def _issue(check: Any, value: str) -> str | None:
    try:
        check(value)
    except ValueError as exc:
        return str(exc)
    return None


def _anchor(config: Config, folder: Path) -> Config:
    """Make every relative path start at the config file's folder."""
    updates: dict[str, Any] = {}
    for name in Config.model_fields:
        section = getattr(config, name)
        if isinstance(section, BaseModel):
            paths = {
                key: folder / value
                for key in type(section).model_fields
                if isinstance(value := getattr(section, key), Path)
            }
            if paths:
                updates[name] = section.model_copy(update=paths)
    return config.model_copy(update=updates)


def effective(config: Config) -> dict[str, Any]:
    """Show every setting as plain JSON values, secrets masked at a fixed width."""

    def plain(value: Any) -> Any:
        if isinstance(value, Secret):
            return "********"
        if isinstance(value, BaseModel):
            return {key: plain(getattr(value, key)) for key in type(value).model_fields}
        if isinstance(value, tuple | list):
            return [plain(item) for item in value]
        if isinstance(value, dict):
            return {_masked_key(key): plain(item) for key, item in value.items()}
        return str(value) if isinstance(value, Path) else value

    shown: dict[str, Any] = plain(config)
    return shown


def _masked_key(key: str) -> str:
    """Show a hash entry, hide a plain API key: the mapping of scopes has keys as its names."""
    return key if KEY_HASH.fullmatch(key) else "********"
