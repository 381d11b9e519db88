"""A merchant's request ends in one answer too, whatever fails behind it; who asked what is found by the route table."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from payd.errors import RequestError, StorageUnavailable
from payd.http_headers import Headers
from payd.models.ids import REQUEST_ID
from payd.web.application import CONTROLLERS, Router
from payd.web.base_controller import BaseController
from payd.web.http_connection import Request
from payd.web.idempotency_key import read_idempotency_key
from payd.web.routes import BY_OPERATION
from payd.web.services import InFlight


class Connection:
    """Keeps the one answer."""

    peer = SimpleNamespace(remote_ip="127.0.0.1", protocol="http")

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], Any]] = []
        self.aborted = 0

    def answer(self, code: int, headers: Any, body: bytes) -> None:
        self.answers.append((code, dict(headers), json.loads(body)))

    def abort(self) -> None:
        self.aborted += 1


def request(*fields: tuple[bytes, bytes]) -> Request:
    headers = Headers()
    for name, value in fields:
        headers.add(name.decode(), value.decode())
    return Request("GET", "/healthz", "", "1.1", headers, list(fields), b"", keep_alive=True)


async def answered(trouble: BaseException | None, *, draining: bool = False) -> tuple[Connection, list[Any], InFlight]:
    """Run an operation that fails so, or says nothing."""

    class Operation(BaseController):
        async def healthz(self) -> None:
            if trouble:
                raise trouble

    counted: list[Any] = []
    in_flight = InFlight()
    in_flight.draining = draining
    services: Any = SimpleNamespace(
        in_flight=in_flight,
        metrics=SimpleNamespace(answered=lambda *about: counted.append(about[:3])),
        entropy=SimpleNamespace(token_hex=lambda count: "ab" * count),
    )
    connection = Connection()
    Operation(services, connection, request(), BY_OPERATION["healthz"]).start()  # type: ignore[arg-type]
    await in_flight.idle.wait()
    return connection, counted, in_flight


@pytest.mark.parametrize(
    ("trouble", "status", "code"),
    [
        (ValueError("a mistake of ours"), 500, "internal_error"),
        (KeyError("no_such_code"), 500, "internal_error"),
        (StorageUnavailable("full"), 503, "storage_unavailable"),
        (RequestError("order_not_found", out_trade_no="X"), 404, "order_not_found"),
        (RequestError("no_such_code"), 500, "internal_error"),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_what_fails_behind_a_request_is_one_problem_document(trouble: Exception, status: int, code: str) -> None:
    """Never a traceback, never two answers, counted once, and nothing stays in flight."""
    connection, counted, in_flight = await answered(trouble)

    [(told, headers, document)] = connection.answers
    assert (told, document["status"], document["code"]) == (status, status, code)
    assert headers["Content-Type"] == "application/problem+json"
    assert REQUEST_ID.fullmatch(headers["X-Request-Id"])
    assert "mistake" not in json.dumps(document)
    assert counted == [("/healthz", "GET", status)]
    assert (connection.aborted, in_flight.count) == (0, 0)


async def test_an_operation_that_says_nothing_is_hung_up_on() -> None:
    """Its client would wait for ever."""
    connection, _, in_flight = await answered(None)

    assert (connection.answers, connection.aborted, in_flight.count) == ([], 1, 0)


async def test_the_log_names_the_key_that_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its id: a key that is right, also when it may not do this; not one that is wrong."""
    told: list[Any] = []
    monkeypatch.setattr("payd.web.handler.answered", lambda *about, **members: told.append(members["key_id"]))

    def check(headers: Any, remote_ip: str, scope: str) -> Any:
        refusals = {"denied": RequestError("scope_denied", key_id="1f2e3d4c", scope=scope),
                    "wrong": RequestError("invalid_api_key")}  # fmt: skip
        if headers.get("X-Api-Key") in refusals:
            raise refusals[headers.get("X-Api-Key")]
        return SimpleNamespace(key_id="1f2e3d4c")

    class Operation(BaseController):
        async def list_orders(self) -> None:
            self.answer_json({})

    services: Any = SimpleNamespace(
        in_flight=InFlight(),
        auth=SimpleNamespace(check=check),
        metrics=SimpleNamespace(key_requests=SimpleNamespace(add=lambda key: None)),
        entropy=SimpleNamespace(token_hex=lambda count: "ab" * count),
    )
    for key in (b"right", b"denied", b"wrong"):
        asked = request((b"X-Api-Key", key))
        Operation(services, Connection(), asked, BY_OPERATION["list_orders"]).start()  # type: ignore[arg-type]
        await services.in_flight.idle.wait()

    assert told == ["1f2e3d4c", "1f2e3d4c", None]


def test_each_line_of_a_header_is_seen() -> None:
    """Two keys are not one with a comma in it."""
    two = request((b"Idempotency-Key", b"a"), (b"idempotency-key", b" a "), (b"Other", b"b"))

    assert two.lines_of("Idempotency-Key") == ["a", "a"]
    assert two.lines_of("Nothing") == []
    with pytest.raises(RequestError, match="invalid_request"):
        read_idempotency_key(two.lines_of("Idempotency-Key"))


@pytest.mark.parametrize("operation", BY_OPERATION)
def test_every_route_leads_to_its_operation(operation: str) -> None:
    """By exact paths, or by templates whose names stop at a slash."""
    route = BY_OPERATION[operation]
    path = route.path.replace("{out_trade_no}", "shop-1").replace("{id}", "d.1")

    methods, arguments = Router().find(path)

    found, controller = (methods or {})[route.method]
    assert found is route
    assert controller in CONTROLLERS
    assert operation in vars(controller)
    assert arguments == {name: {"out_trade_no": "shop-1", "id": "d.1"}[name] for name in route.path_names}


@pytest.mark.parametrize(
    "path",
    ["/", "", "/pay", "/pay/create/", "//pay/create", "/pay/orders/a/b/events", "/pay/orders//events",
     "/pay/metrics/authxprom", "/PAY/create", "/pay/orders/" + "x" * 129 + "/events"],
)  # fmt: skip
def test_no_path_is_guessed(path: str) -> None:
    """What is not in the table is unknown."""
    assert Router().find(path) == (None, {})
