"""A callback ends in one answer or in a closed connection, is counted once, and leaves nothing in flight."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from payd.errors import StorageUnavailable, VerificationError
from payd.http_headers import Headers
from payd.models.notification import OpenedNotification, Step
from payd.web.http_connection import Request
from payd.web.routes import ROUTES
from payd.web.services import InFlight, RejectedRows
from payd.web.wechat_callback_controller import WechatCallbackController


class Metrics:
    """Remembers what was counted."""

    def __init__(self) -> None:
        self.verdicts: list[str] = []
        self.answers: list[int] = []
        self.notifications = SimpleNamespace(add=lambda key: self.verdicts.append(key[0]))

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        self.answers.append(status)


class Connection:
    """Takes answers; breaks when it is told to."""

    def __init__(self, breaks: Exception | None = None) -> None:
        self.breaks = breaks
        self.statuses: list[int] = []
        self.finished = 0
        self.aborted = 0

    def answer(self, code: int, headers: Any, body: bytes) -> None:
        if self.breaks:
            raise self.breaks
        self.statuses.append(code)
        self.finished += 1

    def abort(self) -> None:
        self.aborted += 1


class Clock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


async def end_of(
    *,
    opens: BaseException | None = None,
    commits: BaseException | None = None,
    waits: asyncio.Event | None = None,
    connection: Connection | None = None,
) -> tuple[Connection, Metrics, InFlight]:
    """Send one callback that WeChat signed (about another product: it is only kept), with failures behind it."""

    async def open_notification(headers: Any, body: bytes, steps: list[Step]) -> OpenedNotification:
        if opens:
            raise opens
        return OpenedNotification(
            wechat_id="EV-1", event_type="X.Y", original_type="security", resource={}, request_id=None
        )

    async def commit(change: Any) -> None:
        if waits:
            await waits.wait()
        if commits:
            raise commits

    metrics, in_flight, clock = Metrics(), InFlight(), Clock()
    services: Any = SimpleNamespace(
        wechat=SimpleNamespace(open_notification=open_notification),
        storage=SimpleNamespace(commit=commit),
        metrics=metrics,
        in_flight=in_flight,
        clock=clock,
        rejected=RejectedRows(clock),
        entropy=SimpleNamespace(token_hex=lambda count: "ab" * count),
    )
    connection = connection or Connection()
    route = next(route for route in ROUTES if route.operation_id == "wechat_notify")
    request = Request("POST", route.path, "", "1.1", Headers(), [], b"", keep_alive=True)
    WechatCallbackController(services, connection, request, route).start()  # type: ignore[arg-type]
    assert in_flight.count == 1
    async with asyncio.timeout(5):
        await in_flight.idle.wait()
        await asyncio.sleep(0)  # what stands behind the count
    return connection, metrics, in_flight


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The errors that are logged, by their event."""
    said: list[str] = []
    monkeypatch.setattr("payd.web.handler.log", SimpleNamespace(error=lambda event, **members: said.append(event)))
    return said


FORGED = VerificationError("signature", "the signature does not verify")
ENDINGS = {
    "kept": ({}, 204),
    "forged": ({"opens": FORGED}, 401),
    "forged, and the disk is full": ({"opens": FORGED, "commits": StorageUnavailable("full")}, 401),
    "forged, and a mistake of ours": ({"opens": FORGED, "commits": RuntimeError("a mistake")}, 500),
    "the disk is full": ({"commits": StorageUnavailable("full")}, 503),
    "a mistake of ours while opening": ({"opens": RuntimeError("a mistake")}, 500),
    "a mistake of ours while keeping": ({"commits": RuntimeError("a mistake")}, 500),
}


@pytest.mark.parametrize("name", ENDINGS)
async def test_a_callback_has_one_answer(name: str) -> None:
    """Whatever fails behind it: one status, one count, nothing in flight, the connection lives."""
    failures, status = ENDINGS[name]

    connection, metrics, in_flight = await end_of(**failures)  # type: ignore[arg-type]

    assert connection.statuses == metrics.answers == [status]
    assert (connection.finished, connection.aborted, in_flight.count) == (1, 0, 0)


@pytest.mark.parametrize(
    "failures",
    [
        {"commits": asyncio.CancelledError()},
        {"connection": Connection(ValueError("not to be said"))},
        {"connection": Connection(ValueError("not to be said")), "opens": FORGED},
    ],
    ids=["cancelled", "unwritable", "unwritable refusal"],
)
async def test_a_callback_that_cannot_be_answered_is_hung_up_on(failures: dict[str, Any], events: list[str]) -> None:
    """WeChat sends it again; nobody waits for an answer that never comes, and a drain does not either."""
    connection, _, in_flight = await end_of(**failures)

    assert connection.statuses == []
    assert (connection.finished, connection.aborted, in_flight.count) == (0, 1, 0)
    assert events[-1] == "hung_up"


async def test_at_the_deadline_wechat_is_told_to_send_again_and_the_commit_goes_on(monkeypatch: Any) -> None:
    """One answer, one count; what lands later is said in the log and to nobody else."""
    monkeypatch.setattr("payd.limits.NOTIFY_DEADLINE_SECONDS", 0.01)
    late: list[tuple[str, Any]] = []
    monkeypatch.setattr(
        "payd.web.wechat_callback_controller.log",
        SimpleNamespace(warning=lambda event, **members: late.append((event, members["result"]))),
    )
    disk = asyncio.Event()
    connection = Connection()
    ending = asyncio.ensure_future(end_of(waits=disk, connection=connection))
    async with asyncio.timeout(5):
        while not connection.statuses:  # noqa: ASYNC110 - the connection tells nobody
            await asyncio.sleep(0)
    disk.set()

    _, metrics, in_flight = await ending

    assert connection.statuses == metrics.answers == [503]
    assert metrics.verdicts == ["storage_unavailable"]
    assert late == [("callback_concluded_late", "event_unknown")]
    assert (connection.finished, connection.aborted, in_flight.count) == (1, 0, 0)


async def test_a_verdict_is_told_though_its_row_is_late(monkeypatch: Any) -> None:
    """A forgery stays one when the disk stands still: not a trouble of the database, and counted once."""
    monkeypatch.setattr("payd.limits.NOTIFY_DEADLINE_SECONDS", 0.01)

    connection, metrics, in_flight = await end_of(opens=FORGED, waits=asyncio.Event())

    assert connection.statuses == metrics.answers == [401]
    assert metrics.verdicts == ["signature_invalid"]
    assert (connection.finished, connection.aborted, in_flight.count) == (1, 0, 0)


async def test_trouble_behind_the_answer_makes_no_second_one(monkeypatch: Any) -> None:
    """What comes after 204 is in its client's hands belongs to its next request."""

    def breaks(*_about: Any, **_more: Any) -> None:
        raise TypeError("cannot be logged")

    monkeypatch.setattr("payd.web.handler.answered", breaks)

    connection, _, in_flight = await end_of()

    assert connection.statuses == [204]
    assert (connection.finished, connection.aborted, in_flight.count) == (1, 0, 0)
