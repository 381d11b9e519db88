"""Talks to a running simulator's control API, for the command line."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from payd.sandbox.errors import ControlRefused, SandboxError

TIMEOUT_SECONDS = 120  # moving the clock over a day of retries takes its time
DEFAULT_PORT = 8081
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class SimulatorUnreachable(SandboxError):
    """Nobody listens, or what listens is no simulator."""


class ControlClient:
    """One simulator by its ``url``; never goes through a proxy and never to another machine."""

    def __init__(self, url: str) -> None:
        if urlsplit(url).hostname not in _LOOPBACK or urlsplit(url).scheme != "http":
            raise SandboxError(f"{url} is not a simulator: it must be http:// on a loopback address")
        self._url = url.rstrip("/")
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One control call. Raises ControlRefused for a 4xx, SimulatorUnreachable for everything else."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked in __init__
            f"{self._url}/_sandbox/{path}", data=data, method=method, headers={"Content-Type": "application/json"}
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                return _object(response.read(), self._url)
        except urllib.error.HTTPError as exc:
            with exc:
                answer = _object(exc.read(), self._url)
            raise ControlRefused(str(answer.get("code")), str(answer.get("message")), status=exc.code) from exc
        except OSError as exc:
            reason = getattr(exc, "reason", exc)
            raise SimulatorUnreachable(f"no simulator answers at {self._url}: {reason}") from exc


def _object(raw: bytes, url: str) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError as exc:
        raise SimulatorUnreachable(f"what answers at {url} is not the simulator") from exc
    if not isinstance(value, dict):
        raise SimulatorUnreachable(f"what answers at {url} is not the simulator")
    return value


def simulator_url(url: str | None, config: Path) -> str:
    """Where the simulator is: ``url``, else the configuration's loopback ``api_base``, else ``sandbox.port``.

    Raises SandboxError when the configuration cannot be read. Without a configuration file the default
    port is meant.
    """
    if url is not None:
        return url
    try:
        settings = json.loads(config.read_bytes())
    except FileNotFoundError:
        return f"http://127.0.0.1:{DEFAULT_PORT}"
    except (OSError, ValueError) as exc:
        raise SandboxError(f"{config}: {exc}") from exc
    if not isinstance(settings, dict):
        raise SandboxError(f"{config} is not a JSON object")
    base = _section(settings, "wechat_pay").get("api_base")
    if isinstance(base, str) and urlsplit(base).hostname in _LOOPBACK:
        return base
    return f"http://127.0.0.1:{_section(settings, 'sandbox').get('port', DEFAULT_PORT)}"


def _section(settings: dict[str, Any], name: str) -> dict[str, Any]:
    section = settings.get(name)
    return section if isinstance(section, dict) else {}
