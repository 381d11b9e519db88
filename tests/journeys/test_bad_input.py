"""Bad input on every route: every complaint at once, problem+json, nothing stored, nothing sent to WeChat."""

from __future__ import annotations

import socket

import pytest

from tests.journeys.house import http_call

BAD_CREATES = [
    ({"description": "", "amount": {"total": 0}}, {"description", "amount.total"}),
    ({"amount": {"total": "1"}}, {"description", "amount.total"}),
    ({"description": "x", "amount": {"total": 1.0}}, {"amount.total"}),
    ({"description": "x", "amount": {"total": True}}, {"amount.total"}),
    ({"description": "x", "amount": {"total": 10**30}}, {"amount.total"}),
    ({"description": "x", "amount": {"total": 1, "currency": "USD"}}, {"amount.currency"}),
    ({"description": "x" * 128, "amount": {"total": 1}}, {"description"}),
    ({"description": "茶" * 43, "amount": {"total": 1}}, {"description"}),
    ({"description": "tea \U0001f375", "amount": {"total": 1}}, {"description"}),
    ({"description": "x", "amount": {"total": 1}, "out_trade_no": "a b"}, {"out_trade_no"}),
    ({"description": "x", "amount": {"total": 1}, "trade_type": "JSAPI"}, {"payer.openid"}),
    (
        {"description": "x", "amount": {"total": 1}, "trade_type": "H5"},
        {"scene_info.h5_info.type", "scene_info.payer_client_ip"},
    ),
    ({"description": "x", "amount": {"total": 1}, "expire_seconds": 59}, {"expire_seconds"}),
    ({"description": "x", "amount": {"total": 1}, "surprise": 1, "metadata": {"k": 1}}, {"surprise", "metadata.k"}),
]


def counts(house):
    return house.calls(), len(house.call("GET", "/pay/orders?limit=100").json["orders"])


@pytest.mark.parametrize(
    ("body", "fields"),
    BAD_CREATES,
    ids=lambda value: ",".join(sorted(value)) if isinstance(value, set) else str(value)[:40],
)
def test_a_bad_create_is_told_everything_and_moves_nothing(house, body, fields):
    """All complaints with their dotted path; no order, no call to WeChat."""
    before = counts(house)

    refused = house.call("POST", "/pay/create", body)

    assert (refused.status, refused.json["code"]) == (400, "invalid_request")
    assert refused.headers["content-type"].startswith("application/problem+json")
    assert {e["field"] for e in refused.json["errors"]} == fields
    assert counts(house) == before


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b'{"description":"x","description":"y","amount":{"total":1}}', b'{"a":NaN}', b"\xff\xfe", b"[" * 5000],
    ids=["empty", "cut", "duplicate", "nan", "latin", "deep"],
)
def test_what_is_no_json_is_refused(house, raw):
    """invalid_json, and nothing moved."""
    before = counts(house)

    refused = house.call("POST", "/pay/create", raw)

    assert (refused.status, refused.json["code"]) == (400, "invalid_json")
    assert counts(house) == before


def test_the_content_type_must_be_json(house):
    """415 for a form."""
    refused = house.call("POST", "/pay/create", b"a=1", Content_Type="application/x-www-form-urlencoded")

    assert (refused.status, refused.json["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("size", [262_145, 1_000_000, 5_000_000])
def test_a_body_over_the_limit_is_refused(house, size):
    """413, also for bodies nobody wants to read."""
    refused = house.call("POST", "/pay/create", b"x" * size)

    assert (refused.status, refused.json["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("path", ["/pay/query", "/pay/refund/query"])
def test_a_question_without_an_id_is_refused(house, path):
    """400 with the parameter's name."""
    assert house.call("GET", path).status == 400


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "cursor=x", "status=NEW", "colour=red", "limit=1&limit=2",
              "created_from=yesterday"],
)  # fmt: skip
def test_a_list_with_a_bad_parameter_is_refused(house, query):
    """Unknown, repeated or ill-formed parameters: 400."""
    refused = house.call("GET", f"/pay/orders?{query}")

    assert (refused.status, refused.json["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/pay/create", 405, "method_not_allowed"),
        ("DELETE", "/pay/query", 405, "method_not_allowed"),
        ("GET", "/nowhere", 404, "not_found"),
        ("POST", "/pay/create/", 404, "not_found"),
        ("GET", "/pay/query?out_trade_no=NOBODY0001", 404, "order_not_found"),
        ("GET", "/pay/refund/query?out_refund_no=NOBODY", 404, "refund_not_found"),
        ("GET", "/pay/orders/NOBODY0001/events", 404, "order_not_found"),
        ("POST", "/pay/deliveries/dlv_nobody/resend", 404, "not_found"),
    ],
)
def test_each_wrong_turn_has_its_code(house, method, path, status, code):
    """Paths, methods and numbers that do not exist."""
    refused = house.call(method, path)

    assert (refused.status, refused.json["code"]) == (status, code)
    assert refused.json["request_id"] == refused.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/pay/query?out_trade_no=X00001", "/pay/orders", "/pay/metrics/auth"])
def test_without_a_key_every_door_is_closed(house, path):
    """401, and the problem document speaks the caller's language."""
    refused = http_call(house.port, "GET", path, headers={"Accept-Language": "zh-CN,zh;q=0.9"})

    assert (refused.status, refused.json["code"]) == (401, "missing_api_key")
    assert any("\u4e00" <= char <= "\u9fff" for char in refused.json["title"])


def test_the_callers_request_id_is_echoed(house):
    """If it is a safe one; else payd makes its own."""
    kept = house.call("GET", "/healthz", X_Request_Id="shop-42.a")
    replaced = house.call("GET", "/healthz", X_Request_Id="a b;c")

    assert kept.headers["x-request-id"] == "shop-42.a"
    assert replaced.headers["x-request-id"] != "a b;c"


def test_two_ids_of_one_query_must_name_the_same_order(house):
    """Else 404."""
    number = house.paid()
    transaction = house.shown(number)["transaction_id"]
    other = house.create().json["out_trade_no"]

    both = house.call("GET", f"/pay/query?out_trade_no={number}&transaction_id={transaction}")
    mixed = house.call("GET", f"/pay/query?out_trade_no={other}&transaction_id={transaction}")

    assert (both.status, mixed.status) == (200, 404)


def test_a_drained_list_has_no_next_page(house):
    """Cursor paging walks every order once, newest first."""
    made = [house.create().json["out_trade_no"] for _ in range(5)]
    seen, cursor = [], None
    while True:
        page = house.call("GET", "/pay/orders?limit=2" + (f"&cursor={cursor}" if cursor else "")).json
        seen += [order["out_trade_no"] for order in page["orders"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen[:5] == made[::-1]
    assert len(seen) == len(set(seen))


def test_a_client_that_leaves_inside_a_large_body_is_not_waited_for(make_house, tmp_path):
    """What never came whole is no request: nothing is in flight, and a drain ends at once."""
    house = make_house(tmp_path).start()
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", house.port)) as client:
            client.sendall(b"POST /pay/create HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\nabc")

    assert house.metric("payd_http_requests_in_flight") == 1

    assert house.stop() == 0
    assert "drain_gave_up" not in (tmp_path / "payd.log").read_text()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/pay/orders"])
def test_head_answers_as_get_does_without_the_body(house, path):
    """Monitors and `curl -I` ask so; the key is asked for all the same."""
    asked, got = house.call("HEAD", path), house.call("GET", path)
    without_key = http_call(house.port, "HEAD", path)

    assert (asked.status, asked.headers["content-type"]) == (got.status, got.headers["content-type"])
    assert asked.raw == b""
    assert int(asked.headers["content-length"]) > 0
    assert without_key.status == (401 if path.startswith("/pay/") else 200)
    assert house.call("HEAD", "/pay/create").status == 405
