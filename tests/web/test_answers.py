"""What the running daemon answers has exactly the members the document promises: none missing, none more."""

from __future__ import annotations

import json
import socket

import pytest

from payd.web import schemas
from payd.web.routes import BY_OPERATION
from tests.journeys.house import http_call

ASKED = [
    ("query_order", "/pay/query?out_trade_no=fuzz-paid"),
    ("query_refund", "/pay/refund/query?out_refund_no=fuzz-refund"),
    ("list_orders", "/pay/orders"),
    ("list_refunds", "/pay/refunds"),
    ("list_order_events", "/pay/orders/fuzz-paid/events"),
    ("reconcile_summary", "/pay/reconcile/summary"),
    ("list_discrepancies", "/pay/discrepancies"),
    ("list_notifications", "/pay/notifications"),
    ("list_deliveries", "/pay/deliveries"),
    ("auth_metrics", "/pay/metrics/auth"),
    ("healthz", "/healthz"),
    ("readyz", "/readyz"),
]
TEA = {"description": "Tea", "amount": {"total": 1}}
TOLD = [
    ("create_payment", "/pay/create", TEA),
    ("create_payment", "/pay/create",
     TEA | {"trade_type": "JSAPI", "payer": {"openid": "o1"}, "metadata": {"a": "b"}}),
    ("create_payment", "/pay/create",
     TEA | {"trade_type": "H5", "scene_info": {"payer_client_ip": "::1", "h5_info": {"type": "Wap"}}}),
    ("refund_payment", "/pay/refund",
     {"out_trade_no": "fuzz-paid", "amount": {"refund": 1}, "out_refund_no": "fuzz-refund"}),
]  # fmt: skip


def hold(operation_id, answer):
    """Validate an answer by its schema, strictly: an unknown member is as wrong as a missing one."""
    promised = BY_OPERATION[operation_id].success[answer.status]
    model = getattr(schemas, promised.schema)
    return model.model_validate_json(answer.raw, extra="forbid")


@pytest.mark.parametrize("operation_id, path", ASKED, ids=[name for name, _ in ASKED])
def test_what_is_shown_has_the_promised_members(operation_id, path, furnished):
    """Every list has at least one row in it, so that its rows are held too."""
    seen = hold(operation_id, furnished.call("GET", path))

    if operation_id.startswith("list_"):
        rows = next(value for value in vars(seen).values() if isinstance(value, list))
        assert rows


@pytest.mark.parametrize("operation_id, path, body", TOLD)
def test_what_is_done_is_answered_with_the_promised_members(operation_id, path, body, furnished):
    """Create in its trade types, and the repeat of a refund."""
    answer = furnished.call("POST", path, body)

    assert answer.status in (200, 201)
    assert hold(operation_id, answer)


def test_close_and_resolve_and_resend_answer_as_promised(furnished):
    """The three commands that change what is there."""
    number = furnished.create().json["out_trade_no"]
    found = furnished.call("GET", "/pay/discrepancies").json["discrepancies"][0]["id"]
    delivery = furnished.call("GET", "/pay/deliveries").json["deliveries"][0]["id"]

    closed = furnished.call("POST", "/pay/close", {"out_trade_no": number})
    resolved = furnished.call("POST", f"/pay/discrepancies/{found}/resolve", {"note": "looked at"})
    resent = furnished.call("POST", f"/pay/deliveries/{delivery}/resend")

    assert (closed.status, resolved.status, resent.status) == (200, 200, 202)
    assert hold("close_order", closed).status.value == "CLOSED"
    assert hold("resolve_discrepancy", resolved).note == "looked at"
    assert hold("resend_delivery", resent).id == delivery


@pytest.mark.parametrize(
    "headers, body",
    [
        ({}, b"{}"),
        ({"Content-Type": "multipart/form-data"}, b"--"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"%zz=&&&"),
        ({"Content-Type": "application/json"}, b"\xff"),
    ],
)
def test_a_stranger_at_the_callback_is_told_so_in_wechats_shape(headers, body, furnished):
    """Whatever a stranger posts, the answer is FAIL with a 4xx: never 500, never a problem document."""
    answer = http_call(furnished.port, "POST", "/pay/notify/wechat", body, headers)

    assert answer.status in (400, 401)
    assert hold("wechat_notify", answer).code == "FAIL"


def test_a_refusal_has_the_members_of_a_problem(furnished):
    """In Chinese as in English, with all complaints."""
    for language in ("en", "zh"):
        answer = furnished.call("POST", "/pay/create", {"amount": {"total": 1.0}}, Accept_Language=language)

        problem = schemas.ProblemDocument.model_validate_json(answer.raw, extra="forbid")
        assert answer.status == problem.status == 400
        assert [error.field for error in problem.errors] == ["description", "amount.total"]
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert answer.headers["x-request-id"] == problem.request_id


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "PUT"])
@pytest.mark.parametrize("path, status", [("/nope", 404), ("/pay/create", 405)])
def test_a_rare_method_is_answered_like_any_other(method, path, status, furnished):
    """An unknown path is 404 whoever asks how; a known one is 405 and says what is allowed."""
    answer = furnished.call(method, path)

    assert (answer.status, answer.json["status"]) == (status, status)
    assert answer.json["detail"] != answer.json["title"]
    assert ("Allow" in answer.headers or "allow" in answer.headers) == (status == 405)


def test_what_is_no_request_is_refused_in_the_callers_language_under_the_callers_id(furnished):
    """The head could be read: its X-Request-Id and Accept-Language count, though it lacks its Host."""
    with socket.create_connection(("127.0.0.1", furnished.port), timeout=10) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nX-Request-Id: mine\r\nAccept-Language: zh\r\n\r\n")
        head, _, body = sock.makefile("rb").read().partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nX-Request-Id: mine\r\n" in head + b"\r\n"
    assert (json.loads(body)["request_id"], json.loads(body)["title"].isascii()) == ("mine", False)
