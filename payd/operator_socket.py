"""The door for the command line: a unix socket beside the database, open to the daemon's own user alone.

The daemon holds the only right to write to the books. A command that writes asks it here (`operator_client`); the
file's mode (0600) is the whole authentication, so nothing but the operations of `operations` is offered, and nothing
listens on a network.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.iostream import StreamClosedError

from payd import limits
from payd.errors import Complaint, ConfigError, KeyMaterialError, PaydError, RequestError
from payd.logs import get_logger
from payd.operations import perform
from payd.operator_client import KINDS

if TYPE_CHECKING:
    from payd.daemon import Parts

log = get_logger("payd.operator")

#: A note of 500 characters and a URL fit many times over.
REQUEST_BYTES_MAX: Final = 65_536
#: Commands that may wait to be let in.
BACKLOG: Final = 16


@asynccontextmanager
async def operator_socket(parts: Parts, path: Path) -> AsyncIterator[None]:
    """Listen while the block runs; at its end let what is under way finish. The caller holds the books' write lock.

    That lock is what makes removing a socket left by a dead daemon safe. When the place cannot be used the daemon
    serves all the same, and says so in its log: only the command line has to wait for it to stop.
    """
    door = _Door(parts)
    server = HTTPServer(door.enter, max_body_size=REQUEST_BYTES_MAX, max_header_size=limits.HEADER_BYTES_MAX)
    try:
        sock = _bind(path)
    except OSError as exc:
        log.error("operator_socket_unusable", path=str(path), error=str(exc))
        yield
        return
    server.add_socket(sock)
    try:
        yield
    finally:
        server.stop()
        path.unlink(missing_ok=True)
        await door.finish()
        await server.close_all_connections()


def _bind(path: Path) -> socket.socket:
    """Listen at ``path``, in the place of a socket that was left there. Raises OSError; then nothing stays open.

    Tornado's ``bind_unix_socket`` does the same and leaks its socket when the place is taken.
    """
    if path.is_socket():
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(str(path))
        path.chmod(0o600)  # before listen: until then nobody can connect
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


class _Door:
    """Answers one request after the other on each connection; knows what is under way."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._under_way: set[asyncio.Task[None]] = set()

    def enter(self, request: HTTPServerRequest) -> None:
        task = asyncio.ensure_future(self._answer(request))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def finish(self) -> None:
        """Wait for what is under way, at most as long as a drain takes; then cut it off."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=limits.DRAIN_SECONDS)
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _answer(self, request: HTTPServerRequest) -> None:
        status, body = await self._work(request)
        connection = request.connection
        assert connection is not None, "a request comes over a connection"
        payload = json.dumps(body).encode()
        headers = HTTPHeaders({"Content-Type": "application/json", "Content-Length": str(len(payload))})
        start = ResponseStartLine("HTTP/1.1", status, http.client.responses.get(status, "Unknown"))
        try:
            await connection.write_headers(start, headers, payload)
            connection.finish()
        except StreamClosedError:
            return  # whoever asked has gone; what was asked is done

    async def _work(self, request: HTTPServerRequest) -> tuple[int, dict[str, Any]]:
        try:
            arguments = json.loads(request.body or b"{}")
        except ValueError:
            arguments = None
        if request.method != "POST" or not isinstance(arguments, dict):
            return _failure("request", "POST a JSON object", ())
        try:
            return 200, {"result": await perform(self._parts, request.path.removeprefix("/"), arguments)}
        except RequestError as error:
            return _failure("request", error.code, error.complaints)
        except ConfigError as error:
            return _failure("config", str(error), error.complaints)
        except KeyMaterialError as error:
            return _failure("config", str(error), (Complaint("", str(error)),))
        except PaydError as error:
            return _failure("temporary", str(error), ())
        except asyncio.CancelledError:
            return _failure("temporary", "payd stops; try again", ())
        except Exception as error:  # a mistake of ours must reach the person who asked, and the log
            log.error("operation_failed", operation=request.path, error=repr(error))
            return _failure("internal", type(error).__name__, ())


def _failure(kind: str, message: str, complaints: tuple[Complaint, ...]) -> tuple[int, dict[str, Any]]:
    listed = [{"field": complaint.field, "issue": complaint.issue} for complaint in complaints]
    return KINDS[kind], {"error": {"kind": kind, "message": message, "complaints": listed}}
