"""Asking a running daemon to do something to its books, for the command line. The other end is `operator_socket`.

``POST /<operation>`` with a JSON object of arguments answers ``{"result": ...}``, or ``{"error": {"kind", "message",
"complaints"}}`` with the status of `KINDS`. Standard library only: a command that finds a daemon needs nothing else.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from payd.errors import Complaint, ConfigError, RequestError, StorageUnavailable

#: Bytes of a path that ``sockaddr_un`` takes everywhere (macOS 104, Linux 108, with the closing zero).
PATH_BYTES_MAX: Final = 103
#: Seconds a command waits for the daemon: a bill's download and a run over a full batch take minutes at worst.
ANSWER_SECONDS_MAX: Final = 900

#: Kind of error on the wire -> status.
KINDS: Final[Mapping[str, int]] = {"request": 400, "config": 409, "temporary": 503, "internal": 500}


class DaemonFailed(Exception):
    """The daemon met a mistake of its own while it worked for us; its log says more."""


def socket_path(database: Path) -> Path:
    """Say where the socket of a database is: ``<database>.sock``, or in the temporary folder when that is too long."""
    database = database.resolve()
    beside = database.with_name(f"{database.name}.sock")
    if len(os.fsencode(beside)) <= PATH_BYTES_MAX:
        return beside
    name = hashlib.sha256(os.fsencode(database)).hexdigest()[:24]
    return Path(tempfile.gettempdir()) / f"payd-{name}.sock"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS_MAX)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_SECONDS_MAX)
        self.sock.connect(str(self._path))


def ask_daemon(database: Path, name: str, arguments: Mapping[str, str]) -> dict[str, Any] | None:
    """Have the daemon carry out an operation; None when no daemon listens beside ``database``. Blocks.

    Raises what the operation raised: RequestError, ConfigError, StorageUnavailable; DaemonFailed for a mistake of the
    daemon's. A connection that breaks after the question was sent is StorageUnavailable: nobody knows what was done.
    """
    path = socket_path(database)
    if not _is_ours(path, database):
        return None
    connection = _UnixConnection(path)
    try:
        try:
            connection.connect()
        except (ConnectionRefusedError, FileNotFoundError):
            return None  # left behind by a daemon that died
        except PermissionError as exc:
            raise StorageUnavailable(f"{path} belongs to another user; run this command as the daemon's user") from exc
        body = json.dumps(dict(arguments))
        connection.request("POST", f"/{name}", body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise StorageUnavailable("the daemon went away while it worked on this; look before you repeat it") from exc
    finally:
        connection.close()
    return _result(answer)


def _is_ours(path: Path, database: Path) -> bool:
    """Tell whether there is a socket that the database's owner, or we, made. Another's would be a trap: it is ignored.

    The temporary folder is open to everybody on the machine.
    """
    try:
        found = path.lstat()
        owner = database.stat().st_uid
    except OSError:
        return False
    return stat.S_ISSOCK(found.st_mode) and found.st_uid in (owner, os.geteuid())


def _result(answer: Any) -> dict[str, Any]:
    if isinstance(answer, dict) and isinstance(answer.get("result"), dict):
        result: dict[str, Any] = answer["result"]
        return result
    error = answer["error"]
    complaints = [Complaint(item["field"], item["issue"]) for item in error["complaints"]]
    match error["kind"]:
        case "request":
            raise RequestError(error["message"], complaints=complaints)
        case "config":
            raise ConfigError(complaints)
        case "temporary":
            raise StorageUnavailable(error["message"])
    raise DaemonFailed(f"the daemon failed with {error['message']}; its log says more")
