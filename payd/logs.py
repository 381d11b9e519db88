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
from typing import Any, Final, Protocol, TextIO

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
        known = record.levelname.lower() if record.levelname.lower() in LEVELS else "error"
        fields = {"error": repr(record.exc_info[1])} if record.exc_info and record.exc_info[1] else {}
        _voice.say(known, record.name, "log", {"text": record.getMessage()[:2000], **fields})


class _OncePerTurn:
    """A stream that writes once per turn of the loop, however many lines were logged in it.

    Under load a system call for each line would cost more than all else about it. Outside a loop lines go out at once.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._texts: list[str] = []

    def write(self, text: str) -> None:
        """Keep a text for the end of this turn; it is written now when no loop runs here."""
        self._texts.append(text)
        if len(self._texts) > 1:
            return  # a write is on its way already
        try:
            asyncio.get_running_loop().call_soon(self._write_out)
        except RuntimeError:
            self._write_out()

    def flush(self) -> None:
        """Do nothing: what was written is on its way."""

    def _write_out(self) -> None:
        texts, self._texts = self._texts, []
        self._stream.write("".join(texts))
        self._stream.flush()


class Voice(Protocol):
    """Writes one event in one form."""

    def say(self, level: str, part: str, event: str, members: dict[str, Any]) -> None:
        """Write an event of a part of the program, if its level is wanted."""


class _JsonLines:
    """One JSON object a line. Written straight: every callback writes one, and structlog's layers cost more than it."""

    def __init__(self, stream: TextIO, least: int) -> None:
        self._stream = _OncePerTurn(stream)
        self._least = least

    def say(self, level: str, part: str, event: str, members: dict[str, Any]) -> None:
        """Write a line; members that cannot be JSON are written as text, and half a surrogate is no reason to fail."""
        if LEVELS[level] < self._least:
            return
        own = {"timestamp": datetime.now(UTC), "level": level, "logger": part, "event": event}
        line = own | members | own  # first in the line, and nobody else's
        scrub(None, level, line)
        try:
            text = orjson.dumps(line, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:
            text = orjson.dumps({"event": "unwritable", "level": level, "text": ascii(line)[:2000]}).decode()
        self._stream.write(text + "\n")


class _Readable:
    """structlog's form for people at a terminal."""

    def say(self, level: str, part: str, event: str, members: dict[str, Any]) -> None:
        """Write an event."""
        getattr(structlog.get_logger(), level)(event, part=part, **members)


#: How the process speaks now; until `configure_logs`, readably.
_voice: Voice = _Readable()


class PartLogger:
    """Speaks in the name of one part of the program; follows `configure_logs` even when that comes later."""

    __slots__ = ("_part",)

    def __init__(self, part: str) -> None:
        self._part = part

    def debug(self, event: str, **members: Any) -> None:
        """Say what helps to find a mistake."""
        _voice.say("debug", self._part, event, members)

    def info(self, event: str, **members: Any) -> None:
        """Say what happened."""
        _voice.say("info", self._part, event, members)

    def warning(self, event: str, **members: Any) -> None:
        """Say what a person should look at."""
        _voice.say("warning", self._part, event, members)

    def error(self, event: str, **members: Any) -> None:
        """Say what failed."""
        _voice.say("error", self._part, event, members)


def configure_logs(*, level: str, form: str, stream: TextIO | None = None, colours: bool = False) -> None:
    """Set logging up for the process, once, before anything logs. ``form`` is ``json`` or ``console``."""
    global _voice
    out = stream if stream is not None else sys.stderr
    if form == "json":
        _voice = _JsonLines(out, LEVELS[level])
    else:
        _voice = _Readable()
        structlog.configure(
            processors=[
                _name_the_part,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                scrub,
                structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=24),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
            logger_factory=structlog.WriteLoggerFactory(file=_OncePerTurn(out)),  # type: ignore[arg-type]
            cache_logger_on_first_use=False,
        )
    root = logging.getLogger()
    root.handlers[:] = [_StdlibHandler()]
    root.setLevel(max(LEVELS[level], logging.WARNING))


def get_logger(name: str) -> PartLogger:
    """Get a logger; ``name`` says which part speaks."""
    return PartLogger(name)


def _name_the_part(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Call it ``logger`` in the line: structlog keeps that name of an argument for itself."""
    event["logger"] = event.pop("part")
    return event
