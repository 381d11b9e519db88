"""config.json and the environment -> one frozen `Config`. All complaints at once, each with the path of its key.

A complaint says what must stand there and what was given, with the nearest known word where it looks like a slip. What
is given to a secret, or looks like one in a wrong place, is never repeated.

Order: file, then ``PAYD_<SECTION>__<KEY>`` (top-level keys ``PAYD_<KEY>``) read as JSON, else as text; then
``PAY_API_KEY`` / ``PAY_API_KEYS`` add API keys. Relative paths start at the config file's folder. Secrets are `Secret`:
they cannot be printed. Nothing here opens a key file; that is ``wechat/keyring.py``'s and ``payd check``'s work.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
)
from pydantic import SecretStr as Secret
from pydantic.fields import FieldInfo

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
#: Characters of a given value that a complaint repeats.
SHOWN_CHARS_MAX: Final = 60
#: A name of so many characters is no misspelt setting (the longest has 29) and may be a key in a wrong place.
NAME_CHARS_MAX: Final = 32
#: How what payd makes, and WeChat's APIv3 key, look like: not repeated wherever they stand.
LIKE_A_SECRET: Final = re.compile(r"payd_|whsec_|sha256:|-----BEGIN|[0-9A-Za-z]{32}\Z", re.ASCII)
MASK: Final = "********"


class SettingsError(ConfigError):
    """What stands in a configuration file, or in the environment over it, cannot be used. ``path`` is the file."""

    def __init__(self, path: Path, complaints: Sequence[Complaint]) -> None:
        super().__init__(complaints)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}: {super().__str__()}"


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
    return _known("scope", value, SCOPES)


def _check_event(value: str) -> str:
    return value if value == "*" else _known("event", value, WEBHOOK_EVENTS)


def _known(what: str, value: str, known: tuple[str, ...]) -> str:
    """Refuse a word that is not known. Only a slip is repeated: anything else may be a key in a wrong place."""
    if value in known:
        return value
    near = difflib.get_close_matches(value, known, n=1)
    if near:
        raise ValueError(f"unknown {what} {value!r}, did you mean {near[0]!r}?")
    raise ValueError(f"unknown {what}; allowed: {', '.join(known)}")


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
    if isinstance(value, str) and re.search(r"[\0\r\n]|-----BEGIN", value):
        raise ValueError("must be the path of a file, not what is in it")
    return Path(value) if isinstance(value, str) and value else value


FilePath = Annotated[Path, BeforeValidator(_resolved)]


class ServerConfig(_Section):
    """Where payd listens."""

    host: str = "127.0.0.1"
    port: Port = 8080
    tls_cert_path: FilePath | None = None
    tls_key_path: FilePath | None = None

    def url_at(self, host: str, port: int | None = None) -> str:
        """Write an address of payd's: its scheme, the host (IPv6 in brackets, RFC 3986, 3.2.2) and the port."""
        scheme = "https" if self.tls_cert_path else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port if port is None else port}"

    def own_url(self, port: int | None = None) -> str:
        """Say where this machine reaches payd; a socket on every IPv6 address takes no IPv4."""
        everywhere = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
        return self.url_at(everywhere.get(self.host, self.host), port)


class StorageConfig(_Section):
    """The books."""

    path: FilePath = Path("payd.db")


class WechatPayConfig(_Section):
    """The merchant's account at WeChat Pay. ``serial_no`` is the PLATFORM certificate's, see the README."""

    app_id: str | None = Field(default=None, min_length=1, max_length=32, description="1 to 32 characters")
    mch_id: str | None = Field(default=None, pattern=r"^[0-9]{6,32}$", description="6 to 32 digits")
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


def _check_webhook_url(value: str) -> str:
    _split_url(value)
    return value


def _check_webhook_secret(value: Secret) -> Secret:
    if not re.fullmatch(r"whsec_[A-Za-z0-9+/]{24,}={0,2}", value.get_secret_value()):
        raise ValueError("must be whsec_ followed by base64 of at least 24 bytes; make one with payd key new --webhook")
    return value


WebhookSecret = Annotated[Secret, AfterValidator(_check_webhook_secret)]


class WebhookConfig(_Section):
    """One of the merchant's own endpoints. Several secrets while one is being replaced.

    Whether ``url`` may be used is `load_config`'s question, because ``allow_private_addresses`` decides it.
    """

    url: Annotated[str, AfterValidator(_check_webhook_url)]
    secrets: Annotated[tuple[WebhookSecret, ...], BeforeValidator(_tuple)] = Field(min_length=1)
    events: Annotated[tuple[Annotated[str, AfterValidator(_check_event)], ...], BeforeValidator(_tuple)] = ("*",)
    allow_private_addresses: bool = False


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

#: Two homes in ``wechat_pay`` of one value: were both said, one would silently not count. The merchant's serial and
#: its certificate are no such pair: they are compared.
ONE_OF_TWO: Final[tuple[tuple[str, str], ...]] = (("api_v3_key", "api_v3_key_path"),)
SAID_TWICE: Final = "is set more than once in one object; keep one of them"


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Read, override, validate. Raises ConfigError with every complaint (SettingsError where the file can be read)."""
    config, complaints = inspect_config(path, environ)
    if config is None or complaints:
        raise SettingsError(path, complaints)
    return config


def inspect_config(path: Path, environ: Mapping[str, str]) -> tuple[Config | None, list[Complaint]]:
    """Load like `load_config`, but leave out what is wrong and go on, so that a check can say everything at once.

    The config is None when too little is left. Raises ConfigError: there is no file, or it is no JSON object.
    """
    data, complaints = _read(path)
    sources, found = _override(data, environ)
    complaints += found
    _add_api_keys(data, environ, sources)
    both = _both_of_two(data, sources)
    config, found = _validated(data)
    complaints += [_with_source(complaint, sources) for complaint in (*found, *both)]
    return config and _anchor(config, path.resolve().parent), complaints


def _validated(data: dict[str, Any]) -> tuple[Config | None, list[Complaint]]:
    """Validate, leave out what is wrong (in place) and look at the rest for what no single key shows."""
    complaints = [*_unmet_needs(data), *_webhook_addresses(data)]
    config: Config | None
    try:
        config = Config.model_validate(data)
    except ValidationError as exc:
        errors = [error for error in exc.errors(include_url=False) if not _is_echo(error)]
        complaints = [*map(_complaint, errors), *complaints]
        for error in errors:
            _leave_out(data, error["loc"])
        config = _of_the_rest(data)
    known = [complaint.field for complaint in complaints]
    if config is not None:
        complaints += [complaint for complaint in _cross_check(config) if not _is_blamed(complaint.field, known)]
    return config if "mode" in data else None, complaints


def _is_echo(error: Any) -> bool:
    """Tell whether a list is called too short only because none of its members is right."""
    return error["type"] == "too_short" and bool(error["input"])


def _of_the_rest(data: dict[str, Any]) -> Config | None:
    try:
        return Config.model_validate({"mode": "sandbox"} | data)  # also when the mode is wrong: the rest is looked at
    except ValidationError:
        return None


def _is_blamed(field: str, known: Iterable[str]) -> bool:
    """Tell whether a key, something in it, or what it is in has been complained about already."""
    return any(f"{other}.".startswith(f"{field}.") or f"{field}.".startswith(f"{other}.") for other in known)


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


def _read(path: Path) -> tuple[dict[str, Any], list[Complaint]]:
    """Read the file; what it says twice is complained about, and the last word stands until somebody mends it."""
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise ConfigError(
            [Complaint("", f"cannot read {path}: {exc.strerror}; name the file with --config FILE")]
        ) from exc
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        hint = "names and texts stand in double quotes, nothing follows the last comma, and there are no comments"
        raise ConfigError([Complaint("", f"{path} is not JSON: {exc}; {hint}")]) from None
    if not isinstance(data, dict):
        raise ConfigError([Complaint("", f"{path} must hold one JSON object")])
    return data, [Complaint(_dotted(place), SAID_TWICE) for place in _said_twice(raw.decode())]


class _Members(list[tuple[str, Any]]):
    """An object of JSON as it is written: its members in their order, also those of one name."""


def _said_twice(text: str) -> list[tuple[int | str, ...]]:
    """List the places of names that stand more than once in their object. The text is JSON, by a stricter reader.

    Readers of JSON disagree on which of them counts: "sandbox" may have been meant where "live" is taken.
    """
    try:
        whole = json.loads(text, object_pairs_hook=_Members, parse_int=str)
    except RecursionError:
        return []  # no setting is so deep: its validation complains
    found: list[tuple[int | str, ...]] = []
    todo: list[tuple[tuple[int | str, ...], Any]] = [((), whole)]
    for place, value in todo:
        if isinstance(value, _Members):
            counts = Counter(name for name, _ in value)
            found += [(*place, name) for name, count in counts.items() if count > 1]
            todo += [((*place, name), member) for name, member in value]
        elif isinstance(value, list):
            todo += [((*place, position), member) for position, member in enumerate(value)]
    return list(dict.fromkeys(found))


def _override(data: dict[str, Any], environ: Mapping[str, str]) -> tuple[dict[str, str], list[Complaint]]:
    """Apply PAYD_* variables in place; return which key came from which. Unknown names and repeats are complaints."""
    sources: dict[str, str] = {}
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
        target = data if len(parts) == 1 else data.setdefault(parts[0], {})
        if not isinstance(target, dict):
            continue  # the file has something else in the section's place; that will be the complaint
        key = ".".join(parts)
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            value = text
        else:
            twice = (Complaint(_dotted([*parts, *place]), SAID_TWICE) for place in _said_twice(text))
            complaints += [_with_source(complaint, {key: name}) for complaint in twice]
        target[parts[-1]] = _as_text_where_text(parts, value, text)
        sources[key] = name
    return sources, complaints


def _with_source(complaint: Complaint, sources: Mapping[str, str]) -> Complaint:
    """Name the environment variable that a value came from; where none is named it stands in the file."""
    for key, name in sources.items():
        if f"{complaint.field}.".startswith(f"{key}."):
            cause, mark, cure = complaint.issue.partition("; ")
            return Complaint(complaint.field, f"{cause} (from {name}){mark}{cure}")
    return complaint


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


def _add_api_keys(data: dict[str, Any], environ: Mapping[str, str], sources: dict[str, str]) -> None:
    extra = [environ.get("PAY_API_KEY", ""), *environ.get("PAY_API_KEYS", "").split(",")]
    extra = [key.strip() for key in extra if key.strip()]
    if not extra:
        return
    pay = data.setdefault("pay", {})
    if isinstance(pay, dict) and isinstance(pay.setdefault("api_keys", []), list):
        keys = pay["api_keys"] = [
            *pay["api_keys"],
            *(key for key in dict.fromkeys(extra) if key not in pay["api_keys"]),
        ]
        named = " or ".join(name for name in ("PAY_API_KEY", "PAY_API_KEYS") if environ.get(name))
        sources |= {f"pay.api_keys.{place}": named for place, key in enumerate(keys) if key in extra}


# -- saying what is wrong -----------------------------------------------------------------------------------------


def _complaint(error: Any) -> Complaint:
    location = error["loc"]
    if error["type"] == "extra_forbidden":
        return Complaint(_dotted(location), "unknown key" + _suggestion([str(part) for part in location]))
    if error["type"] == "missing":
        hint = "; 'sandbox' for the simulator, 'live' for WeChat itself" if location == ("mode",) else ""
        return Complaint(_dotted(location), f"is required{hint}")
    field = _field_at(location)
    cause, mark, cure = _wanted(error, field).partition("; ")
    return Complaint(_dotted(location), cause + _given(error, field) + mark + cure)


def _dotted(location: Sequence[int | str]) -> str:
    """Write the path of a key. The names in ``pay.api_key_scopes`` are API keys, and so may be what is far too long."""
    parts = [str(part) for part in location]
    if parts[:2] == ["pay", "api_key_scopes"]:
        parts[2:3] = map(_masked_key, parts[2:3])
    return ".".join(MASK if len(part) >= NAME_CHARS_MAX and not KEY_HASH.fullmatch(part) else part for part in parts)


def _field_at(location: Sequence[int | str]) -> FieldInfo | None:
    """Find the setting at, or around, a place; None: a whole section, an endpoint, or nothing known."""
    names = [part for part in location if isinstance(part, str)]
    model: type[BaseModel] | None = Config
    if names[0] in Config.model_fields and (len(names) > 1 or _section(names[0])):
        model = WebhookConfig if names[0] == "webhooks" else _section(names[0])
        names = names[1:]
    return model.model_fields.get(names[0]) if model and names else None


def _wanted(error: Any, field: FieldInfo | None) -> str:
    """Say what must stand there."""
    kind = str(error["type"])
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind == "literal_error":
        return f"must be {error['ctx']['expected']}"
    if kind.startswith(("int_", "greater_than", "less_than")):
        limits = field.metadata if field else []
        bounds = [getattr(limit, name) for name in ("ge", "le") for limit in limits if hasattr(limit, name)]
        return "must be a whole number" + (f" from {bounds[0]} to {bounds[1]}" if len(bounds) == 2 else "")
    if field and field.description and kind.startswith("string_") and kind != "string_type":
        return f"must be {field.description}"
    return WANTED.get(kind, str(error["msg"]))


#: Pydantic's kind of mistake -> what must stand there instead.
WANTED: Final[Mapping[str, str]] = {
    "bool_type": "must be true or false",
    "string_type": "must be a text in double quotes",
    "is_instance_of": "must be a path in double quotes",
    "tuple_type": "must be a list [...]",
    "dict_type": "must be an object {...}",
    "model_type": "must be an object {...}",
    "too_short": "must hold at least one",
}


def _given(error: Any, field: FieldInfo | None) -> str:
    """Say what stands there, and what was probably meant."""
    value, kind = error["input"], str(error["type"])
    if kind == "too_short" or (kind == "value_error" and str(error["ctx"]["error"]).startswith("unknown ")):
        return ""
    is_open = (
        field is not None and "SecretStr" not in str(field.annotation) and error["loc"][1:2] != ("api_key_scopes",)
    )
    if kind in ("tuple_type", "dict_type", "model_type") or not is_open:
        return "" if kind == "value_error" else f", {_kind_of(value)} was given"
    shown = _shown(value)
    said = "" if kind == "value_error" and shown == _kind_of(value) else f", {shown} was given"
    if kind == "int_type" and isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        return f"{said}: write it without the quotes"
    if kind == "literal_error" and isinstance(value, str):
        allowed = re.findall(r"'([^']+)'", error["ctx"]["expected"])
        near = difflib.get_close_matches(value.strip().lower(), allowed, n=1)
        return f"{said}, did you mean {near[0]!r}?" if near else said
    return said


def _kind_of(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    for kinds, word in ((str, "a text"), (dict, "an object"), ((list, tuple), "a list")):
        if isinstance(value, kinds):
            return word
    return "a number"


def _shown(value: object) -> str:
    """Repeat a value that is no secret. What looks like one all the same, or may hold one in a URL, is left out."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return _kind_of(value)
    if not isinstance(value, str):
        return str(value)[:SHOWN_CHARS_MAX]
    if LIKE_A_SECRET.match(value.strip()) or "@" in value:
        return _kind_of(value)
    whole, mark, _ = value.partition("?")
    text = f"{whole[:SHOWN_CHARS_MAX]}{'...' if mark or len(whole) > SHOWN_CHARS_MAX else ''}".replace("; ", ";")
    return json.dumps(text, ensure_ascii=False)


def _suggestion(location: list[str]) -> str:
    name = location[-1].lower().replace("-", "_")
    inner = name.split(".")
    if len(inner) == 2 and len(location) == 1 and inner[0] in Config.model_fields and _has_key(*inner):
        return f'; write it as {{"{inner[0]}": {{"{inner[1]}": ...}}}}'
    model: type[BaseModel] | None = Config
    if len(location) > 1:
        model = WebhookConfig if location[0] == "webhooks" else _section(location[0])
    known = list(model.model_fields) if model else []
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f", did you mean {'.'.join([*location[:-1], near[0]])!r}?"
    everywhere: dict[str, str] = {}
    for section in Config.model_fields:
        for key in getattr(_section(section), "model_fields", ()):
            everywhere.setdefault(key, f"{section}.{key}")  # of two places the first: server.port, not sandbox.port
    near = difflib.get_close_matches(name, everywhere, n=1, cutoff=0.6)
    return f", did you mean {everywhere[near[0]]!r}?" if near else f"; known here: {', '.join(known)}"


def _cross_check(config: Config) -> list[Complaint]:
    """Find what no single key shows."""
    complaints = [
        Complaint(f"pay.api_keys.{position}", issue)
        for position, key in enumerate(config.pay.api_keys)
        if (issue := _issue(_check_api_key, key.get_secret_value()))
    ]
    complaints += _half_pairs(config)
    wechat = config.wechat_pay
    if wechat.public_key_id is not None and not wechat.public_key_id.startswith("PUB_KEY_ID_"):
        issue = f"must begin with PUB_KEY_ID_, as the console shows it, {_shown(wechat.public_key_id)} was given"
        complaints.append(Complaint("wechat_pay.public_key_id", issue))
    if wechat.merchant_serial_no is not None:
        complaints += _check_serial(wechat.merchant_serial_no)
    key = wechat.api_v3_key
    if key is not None and (length := len(key.get_secret_value().encode())) != 32:
        issue = f"must be exactly 32 bytes, as set in the merchant console, and this has {length}"
        complaints.append(Complaint("wechat_pay.api_v3_key", issue))
    if config.livemode and not config.pay.api_keys and not is_loopback(config.server.host):
        complaints.append(Complaint("pay.api_keys", "must not be empty when payd listens beyond this machine"))
    return complaints


def _half_pairs(config: Config) -> list[Complaint]:
    """Find pairs of which one half is missing; blame the missing one."""
    complaints = []
    for section, one, other in (
        ("server", "tls_cert_path", "tls_key_path"),
        ("wechat_pay", "public_key_id", "public_key_path"),
    ):
        values = getattr(config, section)
        for missing, there in ((one, other), (other, one)):
            if getattr(values, missing) is None and getattr(values, there) is not None:
                complaints.append(Complaint(f"{section}.{missing}", f"is required: {one} and {other} go together"))
    return complaints


def _webhook_addresses(data: Mapping[str, Any]) -> list[Complaint]:
    """Look at the addresses of all endpoints, from plain values: also when other keys are already wrong."""
    hooks = data.get("webhooks")
    if not isinstance(hooks, list):
        return []
    complaints, seen = [], set()
    for place, hook in enumerate(hooks):
        url = hook.get("url") if isinstance(hook, dict) else None
        if not isinstance(url, str) or _issue(_check_webhook_url, url):
            continue  # said by its own validation
        if issue := "is listed twice" if url in seen else _address_issue(url, hook):
            complaints.append(Complaint(f"webhooks.{place}.url", issue))
        seen.add(url)
    return complaints


def _address_issue(url: str, hook: Mapping[str, Any]) -> str | None:
    scheme, host = _split_url(url)
    if hook.get("allow_private_addresses") is True:
        return None
    if _is_private_literal(host):
        return f"{host} is a private or loopback address; set allow_private_addresses to allow it"
    if scheme != "https":
        return f"must be https:// unless allow_private_addresses is set, {_shown(url)} was given"
    return None


def _check_serial(serial: str) -> list[Complaint]:
    where = "wechat_pay.merchant_serial_no"
    if serial.startswith("PUB_KEY_ID_"):
        return [Complaint(where, "is a WeChat Pay public key id; here belongs the serial of YOUR merchant certificate "
                                 "(openssl x509 -in apiclient_cert.pem -noout -serial)")]  # fmt: skip
    if not re.fullmatch(r"[0-9A-Fa-f]{8,40}", serial):
        issue = (
            f"must be the certificate's serial in hex, as openssl x509 -serial prints it, {_shown(serial)} was given"
        )
        return [Complaint(where, issue)]
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


def _both_of_two(data: Mapping[str, Any], sources: Mapping[str, str]) -> list[Complaint]:
    """Find values that are said twice, from plain values. What came from the environment is blamed: it is out of sight.

    Call it before what is wrong is left out of ``data``.
    """
    wechat = data.get("wechat_pay")
    if not isinstance(wechat, dict):
        return []
    complaints = []
    for one, other in ONE_OF_TWO:
        if wechat.get(one) is not None and wechat.get(other) is not None:
            blamed, rival = (one, other) if f"wechat_pay.{one}" in sources else (other, one)
            issue = f"must not be set together with {rival}; keep one of them"
            complaints.append(Complaint(f"wechat_pay.{blamed}", issue))
    return complaints


def _issue(check: Callable[[str], str], value: str) -> str | None:
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
            return MASK
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
    return key if KEY_HASH.fullmatch(key) else MASK
