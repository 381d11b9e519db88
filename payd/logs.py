"""Logs: one JSON object a line on standard error (or a readable form), secrets scrubbed by name and by shape.

Rules, in this order: (1) nothing logs a body, a key or a signature on purpose; (2) members with a secret's name are
masked at a fixed width; (3) texts that look like a key, a PEM block or an Authorization header are masked wherever
they stand. A mask has a fixed width so that it does not tell the length.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, TextIO

import orjson
import structlog

MASK: Final = "********"
SECRET_NAMES: Final = re.compile(
    r"(api_?v?3?_?key|authorization|secret|passphrase|password|private_key|token|signature|openid|ciphertext)$", re.I
)
SECRET_SHAPES: Final = re.compile(
    r"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----|WECHATPAY2-SHA256-RSA2048 \S+|Bearer \S+|whsec_\S+|payd_\w{20,}",
    re.S,
)
LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


@cache
def _is_secret(name: str) -> bool:
    """Tell whether a member of this name holds a secret; the names are the program's own, so they are few."""
    return SECRET_NAMES.search(name) is not None


def scrub(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask secrets in one event (a structlog processor)."""
    for name, value in event.items():
        if isinstance(value, str):
            if _is_secret(name):
                event[name] = MASK
            elif len(value) > 15 and SECRET_SHAPES.search(value):
                event[name] = SECRET_SHAPES.sub(MASK, value)
        elif type(value) is dict:
            event[name] = scrub(_logger, _method, dict(value))
    return event


class _StdlibHandler(logging.Handler):
    """Carries Tornado's and asyncio's records into the same stream and form."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(record.name)
        known = record.levelname.lower() if record.levelname.lower() in LEVELS else "error"
        fields = {"error": repr(record.exc_info[1])} if record.exc_info and record.exc_info[1] else {}
        getattr(logger, known)("log", text=record.getMessage()[:2000], **fields)


class _OncePerTurn:
    """A stream that writes once per turn of the loop, however many lines were logged in it.

    Under load a system call for each line would cost more than all else about it. Outside a loop lines go out at once.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []

    def write(self, text: str) -> None:
        """Keep a line for the end of this turn."""
        self._lines.append(text)

    def flush(self) -> None:
        """Have the lines written: at the end of this turn, or now when no loop runs here."""
        if len(self._lines) > 1:
            return  # a write is on its way already
        try:
            asyncio.get_running_loop().call_soon(self._write_out)
        except RuntimeError:
            self._write_out()

    def _write_out(self) -> None:
        lines, self._lines = self._lines, []
        self._stream.write("".join(lines))
        self._stream.flush()


#: Raised by one whenever logging is set up anew: what a `PartLogger` remembers is then out of date.
_era = 0


class PartLogger:
    """Speaks in the name of one part of the program; follows `configure_logs` even when that comes later."""

    __slots__ = ("_bound", "_era", "_part")

    def __init__(self, part: str) -> None:
        self._part = part
        self._bound: Any = None
        self._era = -1

    def debug(self, event: str, **members: Any) -> None:
        """Say what helps to find a mistake."""
        self._speaker().debug(event, **members)

    def info(self, event: str, **members: Any) -> None:
        """Say what happened."""
        self._speaker().info(event, **members)

    def warning(self, event: str, **members: Any) -> None:
        """Say what a person should look at."""
        self._speaker().warning(event, **members)

    def error(self, event: str, **members: Any) -> None:
        """Say what failed."""
        self._speaker().error(event, **members)

    def _speaker(self) -> Any:
        if self._era != _era:
            self._bound, self._era = structlog.get_logger(part=self._part).bind(), _era
        return self._bound


def configure_logs(*, level: str, form: str, stream: TextIO | None = None, colours: bool = False) -> None:
    """Set logging up for the process, once, before anything logs. ``form`` is ``json`` or ``console``."""
    global _era
    out = stream if stream is not None else sys.stderr
    processors: list[Any]
    if form == "json":
        processors = [_json_line]
    else:
        processors = [
            _name_the_part,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            scrub,
            structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=24),
        ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=_OncePerTurn(out)),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    _era += 1
    root = logging.getLogger()
    root.handlers[:] = [_StdlibHandler()]
    root.setLevel(max(LEVELS[level], logging.WARNING))


def _json_line(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    """Do all that a line needs in one go (a structlog processor): every callback writes one."""
    event = scrub(logger, method, _name_the_part(logger, method, event))
    event["level"], event["timestamp"] = method, datetime.now(UTC)
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # half a surrogate pair, a number beyond 64 bits: a line is no reason to fail
        return orjson.dumps({"event": "unwritable", "level": method, "text": ascii(event)[:2000]}).decode()


def get_logger(name: str) -> PartLogger:
    """Get a logger; ``name`` says which part speaks."""
    return PartLogger(name)


def _name_the_part(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Call it ``logger`` in the line: structlog keeps that name of an argument for itself."""
    if "part" in event:
        event["logger"] = event.pop("part")
    return event
