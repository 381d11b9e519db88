"""How the dashboard was asked to run: options first, then a profile, then defaults. All complaints at once.

The API key comes from a file or the environment, never from an argument (arguments are in every process
list) and is never printed: its type has no text of its own.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

KEY_VARIABLE = "PAYD_DASHBOARD_KEY"
DEFAULT_URL = "http://127.0.0.1:8080"
THEMES = ("payd-dark", "payd-light", "payd-cb", "payd-mono")
LANGUAGES = ("en", "zh")
INTERVALS = (1.0, 2.0, 5.0, 10.0, 30.0)
_INTERVAL_RANGE = (0.5, 3600.0)
_KEY_BYTES = 4096


class SettingsError(Exception):
    """The settings cannot be used; `complaints` names each problem. Exit code 78."""

    def __init__(self, *complaints: str) -> None:
        super().__init__("; ".join(complaints))
        self.complaints = complaints


class ApiKey:
    """An API key that does not print itself."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def header(self) -> dict[str, str]:
        """The request header that carries the key."""
        return {"X-Api-Key": self._text}

    def hidden_in(self, text: str) -> str:
        """`text` without the key, should the other side have echoed it."""
        return text.replace(self._text, "••••••••")

    def __repr__(self) -> str:
        return "ApiKey(••••••••)"


@dataclass(frozen=True, slots=True)
class Settings:
    """The dashboard's settings. Each field is also a key of a profile in the configuration file."""

    url: str = DEFAULT_URL
    key_file: str | None = None
    ca_file: str | None = None
    interval: float = 2.0
    readonly: bool = False
    theme: str = THEMES[0]
    lang: str = LANGUAGES[0]
    label: str = ""


PROFILE_KEYS = tuple(field.name for field in fields(Settings))
_KINDS: dict[str, tuple[type, ...]] = {
    "url": (str,), "key_file": (str,), "ca_file": (str,), "interval": (int, float), "readonly": (bool,),
    "theme": (str,), "lang": (str,), "label": (str,),
}  # fmt: skip


def language_of(environment: Mapping[str, str]) -> str:
    """`zh` when the first set locale variable speaks Chinese, else `en`."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if environment.get(name):
            return "zh" if environment[name].lower().startswith("zh") else "en"
    return "en"


def profile_path(environment: Mapping[str, str]) -> Path:
    """Where profiles live: `$XDG_CONFIG_HOME/payd/dashboard.toml`, by default below `~/.config`."""
    root = environment.get("XDG_CONFIG_HOME") or str(Path(environment.get("HOME", "~")).expanduser() / ".config")
    return Path(root) / "payd" / "dashboard.toml"


def read_profile(path: Path, name: str) -> dict[str, Any]:
    """The settings of `[profiles.<name>]`. Raises SettingsError naming everything that is wrong with it."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as exc:
        raise SettingsError(f"{path}: no such file, so there is no profile {name!r}") from exc
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise SettingsError(f"{path}: {exc}") from exc
    profiles = content.get("profiles")
    if not isinstance(profiles, dict) or not isinstance(profiles.get(name), dict):
        known = ", ".join(sorted(profiles)) if isinstance(profiles, dict) else "none"
        raise SettingsError(f"{path}: no profile {name!r} (known: {known})")
    profile: dict[str, Any] = profiles[name]
    complaints = [f"{path}: profiles.{name}.{key}: unknown key" for key in profile if key not in PROFILE_KEYS]
    for key in PROFILE_KEYS:
        if key not in profile:
            continue
        wrong_bool = isinstance(profile[key], bool) != (bool in _KINDS[key])
        if wrong_bool or not isinstance(profile[key], _KINDS[key]):
            complaints.append(f"{path}: profiles.{name}.{key}: must be {_KINDS[key][-1].__name__}")
    if complaints:
        raise SettingsError(*complaints)
    for key in ("key_file", "ca_file"):
        if key in profile:
            profile[key] = str(path.parent / Path(profile[key]).expanduser())
    return profile


def settle(options: Mapping[str, Any], environment: Mapping[str, str], profile: str | None) -> Settings:
    """Options over profile over defaults, checked. Raises SettingsError with all complaints."""
    chosen: dict[str, Any] = {"lang": language_of(environment)}
    if profile is not None:
        chosen |= read_profile(profile_path(environment), profile)
    chosen |= {key: value for key, value in options.items() if value is not None and key in PROFILE_KEYS}
    settings = replace(Settings(), **chosen)
    complaints = _complaints(settings)
    if complaints:
        raise SettingsError(*complaints)
    return replace(settings, url=settings.url.rstrip("/"))


def _complaints(settings: Settings) -> list[str]:
    found: list[str] = []
    try:
        parts = urlsplit(settings.url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, usable = urlsplit(""), False
    if not usable:
        found.append("url: must be http://host[:port] or https://host[:port]")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        found.append("url: must carry neither a name, a password, a query nor a fragment")
    if not _INTERVAL_RANGE[0] <= settings.interval <= _INTERVAL_RANGE[1]:
        found.append("interval: must be between 0.5 and 3600 seconds")
    if settings.theme not in THEMES:
        found.append(f"theme: must be one of {', '.join(THEMES)}")
    if settings.lang not in LANGUAGES:
        found.append(f"lang: must be one of {', '.join(LANGUAGES)}")
    if settings.ca_file is not None and not Path(settings.ca_file).is_file():
        found.append(f"ca_file: {settings.ca_file}: no such file")
    return found


def read_key(key_file: str | None, environment: Mapping[str, str]) -> tuple[ApiKey | None, str | None]:
    """The API key (file before environment) and a warning about it. Raises SettingsError on a bad file."""
    if key_file is None:
        text = environment.get(KEY_VARIABLE, "").strip()
        return (_checked(text, KEY_VARIABLE) if text else None), None
    path = Path(key_file)
    try:
        with path.open("rb") as file:
            raw = file.read(_KEY_BYTES)
            mode = os.fstat(file.fileno()).st_mode
        text = raw.decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "is no plain text"
        raise SettingsError(f"key_file: {path}: {reason}") from exc
    warning = f"{path} can be read by others: chmod 600 it" if mode & 0o077 else None
    return _checked(text, str(path)), warning


def _checked(text: str, source: str) -> ApiKey:
    if not text or not text.isprintable() or not text.isascii() or " " in text:
        raise SettingsError(f"key_file: {source}: must hold one API key on one line")
    return ApiKey(text)
