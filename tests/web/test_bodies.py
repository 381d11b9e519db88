"""Request bodies: what is taken, and every complaint about what is not (contract 1.1-1.4, 1.7)."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payd import limits
from payd.errors import RequestError
from payd.web.bodies import (
    CloseBody,
    CreateBody,
    RefundBody,
    ResolveBody,
    canonical_body,
    create_command,
    parse_body,
    refund_command,
)

JSON = "application/json"
CREATE = {"description": "Tea", "amount": {"total": 100}}
REFUND = {"out_trade_no": "shop-0001", "amount": {"refund": 1}}
SCENE = {"payer_client_ip": "14.23.150.211", "h5_info": {"type": "Wap"}}
GOODS = {"merchant_goods_id": "g1", "quantity": 1, "unit_price": 100}
BACK = {"merchant_goods_id": "g1", "unit_price": 100, "refund_amount": 100, "refund_quantity": 1}


def parse(data, model=CreateBody):
    return parse_body(json.dumps(data).encode(), JSON, model)


def complaints(data, model=CreateBody):
    with pytest.raises(RequestError) as caught:
        parse(data, model)
    assert caught.value.code == "invalid_request"
    return {complaint.field: complaint.issue for complaint in caught.value.complaints}


def changed(base, path, value):
    """Copy ``base`` with the dotted member replaced."""
    data = copy.deepcopy(base)
    *parents, last = path.split(".")
    place = data
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = value
    return data


# -- the media type -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [JSON, "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"', f"{JSON};"],
)
def test_json_in_utf8_is_taken(content_type):
    """The media type may carry charset=utf-8, in any case."""
    assert parse_body(json.dumps(CREATE).encode(), content_type, CreateBody).amount.total == 100


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=gbk", "application/jsonx",
     "application/json; boundary=x", "multipart/form-data; boundary=x", "text/json", "application/problem+json"],
)  # fmt: skip
def test_any_other_media_type_is_415(content_type):
    """A form, a browser's text/plain or another character set is refused before the body is read."""
    with pytest.raises(RequestError) as caught:
        parse_body(b"\xff", content_type, CreateBody)

    assert caught.value.code == "unsupported_media_type"


# -- the text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'{"a":1,"a":1}', b'{"a": NaN}', b'{"description": "\\ud800"}'])
def test_what_is_not_strict_json_is_invalid_json(raw):
    """The reader's reason is a parameter of the problem."""
    with pytest.raises(RequestError) as caught:
        parse_body(raw, JSON, CreateBody)

    assert caught.value.code == "invalid_json"
    assert caught.value.params["reason"]


@pytest.mark.parametrize("raw", [b"[]", b"1", b'"text"', b"null", b"true", b"[{}]"])
def test_a_body_that_is_no_object_is_an_invalid_request(raw):
    """JSON, but not one object."""
    with pytest.raises(RequestError) as caught:
        parse_body(raw, JSON, CreateBody)

    assert caught.value.code == "invalid_request"
    assert [(c.field, c.issue) for c in caught.value.complaints] == [("", "the body must be one JSON object")]


# -- create -------------------------------------------------------------------------------------------------------

INTEGER = "must be an integer"
TOTAL_MAX = "must be at most 100000000"
OUT_TRADE_NO = "must match [0-9A-Za-z_-]{6,32}"
CONTROL = "must not contain control characters"
FOUR_BYTES = "must not contain characters of four bytes such as emoji: WeChat Pay refuses them"

CREATE_REFUSED = [
    ("description", None, "is required"),
    ("description", "", "must not be empty"),
    ("description", 1, "must be a string"),
    ("description", ["Tea"], "must be a string"),
    ("description", "x" * 128, "is 128 bytes long in UTF-8, more than the 127 that are allowed"),
    ("description", "茶" * 43, "is 129 bytes long in UTF-8, more than the 127 that are allowed"),
    ("description", "tea 🍵", FOUR_BYTES),
    ("description", "two\nlines", CONTROL),
    ("description", "nul\x00", CONTROL),
    ("description", "del\x7f", CONTROL),
    ("description", "next\x85", CONTROL),
    ("amount", None, "is required"),
    ("amount", 100, "must be an object"),
    ("amount", [], "must be an object"),
    ("amount.total", None, "is required"),
    ("amount.total", 0, "must be at least 1"),
    ("amount.total", -1, "must be at least 1"),
    ("amount.total", 100_000_001, TOTAL_MAX),
    ("amount.total", 10**30, TOTAL_MAX),
    ("amount.total", 1.0, INTEGER),
    ("amount.total", 1e2, INTEGER),
    ("amount.total", "100", INTEGER),
    ("amount.total", True, INTEGER),
    ("amount.total", {}, INTEGER),
    ("amount.currency", "USD", "must be one of CNY"),
    ("amount.currency", "cny", "must be one of CNY"),
    ("amount.currency", 156, "must be one of CNY"),
    ("amount.payer_total", 1, "unknown member, did you mean total?"),
    ("trade_type", "native", "must be one of NATIVE, JSAPI, APP, H5"),
    ("trade_type", "", "must be one of NATIVE, JSAPI, APP, H5"),
    ("trade_type", 1, "must be one of NATIVE, JSAPI, APP, H5"),
    ("trade_type", [], "must be one of NATIVE, JSAPI, APP, H5"),
    ("out_trade_no", "short", OUT_TRADE_NO),
    ("out_trade_no", "x" * 33, OUT_TRADE_NO),
    ("out_trade_no", "with blank", OUT_TRADE_NO),
    ("out_trade_no", "newline\n", OUT_TRADE_NO),
    ("out_trade_no", "shop|0001", OUT_TRADE_NO),
    ("out_trade_no", "１２３４５６", OUT_TRADE_NO),
    ("out_trade_no", 123456, "must be a string"),
    ("expire_seconds", 59, "must be at least 60"),
    ("expire_seconds", 604_801, "must be at most 604800"),
    ("expire_seconds", 7200.0, INTEGER),
    ("expire_seconds", "7200", INTEGER),
    ("attach", "x" * 129, "is 129 bytes long in UTF-8, more than the 128 that are allowed"),
    ("attach", "", "must not be empty"),
    ("attach", "😀", FOUR_BYTES),
    ("goods_tag", "x" * 33, "is 33 bytes long in UTF-8, more than the 32 that are allowed"),
    ("support_fapiao", "true", "must be true or false"),
    ("support_fapiao", 1, "must be true or false"),
    ("settle_info", True, "must be an object"),
    ("settle_info.profit_sharing", 1, "must be true or false"),
    ("settle_info.subsidy", 1, "unknown member"),
    ("detail.cost_price", -1, "must be at least 0"),
    ("detail.cost_price", 1.5, INTEGER),
    ("detail.invoice_id", "x" * 33, "is 33 bytes long in UTF-8, more than the 32 that are allowed"),
    ("detail.goods_detail", [], "must have at least 1 entries"),
    ("detail.goods_detail", {}, "must be an array"),
    ("detail.goodsdetail", [], "unknown member, did you mean goods_detail?"),
    ("scene_info", "shop", "must be an object"),
    ("scene_info.payer_client_ip", "localhost", "must be an IPv4 or IPv6 address"),
    ("scene_info.payer_client_ip", "fe80::1%eth0", "must be an IPv4 or IPv6 address"),
    ("metadata", [], "must be an object"),
    ("metadata", {f"k{i}": "v" for i in range(21)}, "must have at most 20 entries"),
    ("metadata.cart", 7, "must be a string"),
    ("metadata.cart", None, "must be a string"),
    ("metadata.cart", "x" * 501, "is 501 characters long, more than the 500 that are allowed"),
    ("mchid", "1900000001", "unknown member"),
    ("descripton", "Tea", "unknown member, did you mean description?"),
    ("metadata2", None, "unknown member, did you mean metadata?"),
    ("payer", {"openid": "o1"}, "belongs to trade_type JSAPI and must be left out for NATIVE"),
    ("payer", {}, "belongs to trade_type JSAPI and must be left out for NATIVE"),
]


@pytest.mark.parametrize("field, value, expected", CREATE_REFUSED, ids=lambda v: str(v)[:20].encode().hex()[:12])
def test_each_rule_of_create_names_its_member(field, value, expected):
    """One broken rule: the complaint stands at the dotted name of the member."""
    assert complaints(changed(CREATE, field, value))[field] == expected


def test_all_complaints_come_at_once():
    """A person mends everything in one go: types, bounds, unknown members and rules about two members together."""
    data = {
        "amount": {"total": "1", "currency": "USD", "extra": 1},
        "trade_type": "H5",
        "payer": {"openid": "x" * 200},
        "detail": {"goods_detail": [GOODS, {"quantity": 0, "unit_price": True}]},
        "metadata": {"": "v"},
        "unknown": None,
    }

    assert complaints(data) == {
        "description": "is required",
        "amount.total": INTEGER,
        "amount.currency": "must be one of CNY",
        "amount.extra": "unknown member",
        "payer.openid": "is 200 bytes long in UTF-8, more than the 128 that are allowed",
        "detail.goods_detail.1.merchant_goods_id": "is required",
        "detail.goods_detail.1.quantity": "must be at least 1",
        "detail.goods_detail.1.unit_price": INTEGER,
        "metadata.": "must not be empty",
        "unknown": "unknown member",
        "payer": "belongs to trade_type JSAPI and must be left out for H5",
        "scene_info.payer_client_ip": "is required for trade_type H5",
        "scene_info.h5_info.type": "is required for trade_type H5",
    }


@pytest.mark.parametrize(
    "data, expected",
    [
        ({"trade_type": "JSAPI"}, {"payer.openid": "is required for trade_type JSAPI"}),
        ({"trade_type": "JSAPI", "payer": None}, {"payer.openid": "is required for trade_type JSAPI"}),
        ({"trade_type": "JSAPI", "payer": {}}, {"payer.openid": "is required"}),
        ({"trade_type": "JSAPI", "payer": {"openid": None}}, {"payer.openid": "is required"}),
        ({"trade_type": "JSAPI", "payer": {"openid": "o", "name": "x"}}, {"payer.name": "unknown member"}),
        ({"trade_type": "APP", "payer": {"openid": "o"}},
         {"payer": "belongs to trade_type JSAPI and must be left out for APP"}),
        ({"trade_type": "H5", "scene_info": {"payer_client_ip": "::1"}},
         {"scene_info.h5_info.type": "is required for trade_type H5"}),
        ({"trade_type": "H5", "scene_info": {"h5_info": {"type": "Wap"}}},
         {"scene_info.payer_client_ip": "is required"}),
        ({"trade_type": "H5", "scene_info": {"payer_client_ip": "::1", "h5_info": {}}},
         {"scene_info.h5_info.type": "is required"}),
        ({"trade_type": "H5", "scene_info": {"payer_client_ip": "::1", "h5_info": {"type": "wap"}}},
         {"scene_info.h5_info.type": "must be one of Wap, iOS, Android"}),
        ({"scene_info": SCENE}, {"scene_info.h5_info": "belongs to trade_type H5 and must be left out for NATIVE"}),
        ({"scene_info": {"payer_client_ip": "::1", "store_info": {"name": "x"}}},
         {"scene_info.store_info.id": "is required"}),
    ],
)  # fmt: skip
def test_members_belong_to_their_trade_type(data, expected):
    """openid is JSAPI's, h5_info is H5's: required there, refused elsewhere."""
    assert complaints(CREATE | data) == expected


def test_a_detail_beyond_6144_bytes_is_refused():
    """WeChat counts the compact text of the whole detail."""
    goods = [GOODS | {"goods_name": "茶" * 80} for _ in range(20)]

    found = complaints(CREATE | {"detail": {"goods_detail": goods}})

    assert list(found) == ["detail"]
    assert found["detail"].endswith("bytes long as compact JSON, more than the 6144 that are allowed")


def test_defaults_are_filled_in():
    """NATIVE, CNY, two hours; everything else is absent."""
    command = create_command(parse(CREATE))

    assert (command.trade_type, command.currency, command.expire_seconds) == ("NATIVE", "CNY", 7200)
    assert command.out_trade_no is command.openid is command.metadata is command.detail is None
    assert command.content == {
        "description": "Tea", "amount": {"total": 100, "currency": "CNY"}, "trade_type": "NATIVE",
        "expire_seconds": 7200,
    }  # fmt: skip


def test_null_on_an_optional_member_means_absent():
    """A body full of nulls is the same request as one without them, at every depth."""
    optional = [name for name, field in CreateBody.model_fields.items() if not field.is_required()]
    nulls = CREATE | dict.fromkeys(optional) | {"amount": {"total": 100, "currency": None}}

    assert parse(CREATE) == parse(nulls)
    assert canonical_body(parse(CREATE)) == canonical_body(parse(nulls))


def test_content_is_the_whole_request_but_its_number():
    """Every member counts for "the same request" except out_trade_no."""
    data = {
        "description": "Tea", "amount": {"total": 100, "currency": "CNY"}, "trade_type": "H5", "expire_seconds": 60,
        "scene_info": SCENE | {"device_id": "d1", "store_info": {"id": "s1", "name": "店", "area_code": "440305",
                                                                  "address": "x"}},
        "attach": "a", "goods_tag": "g", "support_fapiao": False, "settle_info": {"profit_sharing": True},
        "detail": {"cost_price": 0, "invoice_id": "i", "goods_detail": [GOODS | {"goods_name": "茶"}]},
        "metadata": {"cart": "77", "emoji": "😀\n"},
    }  # fmt: skip

    command = create_command(parse(data | {"out_trade_no": "shop-0001"}))

    assert command.out_trade_no == "shop-0001"
    assert data == command.content
    assert command.scene_info == data["scene_info"]
    assert command.detail == data["detail"]
    assert command.metadata == data["metadata"]


@pytest.mark.parametrize("total", [limits.TOTAL_FEN_MIN, limits.TOTAL_FEN_MAX])
@pytest.mark.parametrize("description", ["x", "茶" * 42, "x" * 127, "a\u00a0b", "\uffee"])
def test_the_bounds_themselves_are_allowed(total, description):
    """The smallest and the largest are inside."""
    command = create_command(parse({"description": description, "amount": {"total": total}}))

    assert (total, description) == (command.total_fen, command.description)


def test_the_order_of_members_does_not_matter_to_the_fingerprint():
    """Equal requests have equal canonical bytes, different ones different bytes."""
    one = parse({"description": "Tea", "amount": {"total": 100, "currency": "CNY"}, "trade_type": "NATIVE"})
    two = parse({"amount": {"currency": "CNY", "total": 100}, "description": "Tea", "expire_seconds": 7200})

    assert canonical_body(one) == canonical_body(two)
    assert canonical_body(one) != canonical_body(parse(changed(CREATE, "amount.total", 101)))
    assert canonical_body(one) != canonical_body(parse(CREATE | {"metadata": {}}))


# -- close, refund, resolve ---------------------------------------------------------------------------------------


def test_close_takes_a_number_and_nothing_else():
    """A number of any shape is looked up; another member is refused."""
    assert parse({"out_trade_no": "x"}, CloseBody).out_trade_no == "x"
    assert complaints({}, CloseBody) == {"out_trade_no": "is required"}
    assert complaints({"out_trade_no": 1, "reason": "x"}, CloseBody) == {
        "out_trade_no": "must be a string",
        "reason": "unknown member",
    }


REFUND_REFUSED = [
    ("amount", None, {"amount": "is required"}),
    ("amount.refund", 0, {"amount.refund": "must be at least 1"}),
    ("amount.refund", 1.0, {"amount.refund": INTEGER}),
    ("amount.refund", False, {"amount.refund": INTEGER}),
    ("amount.refund", 10**19, {"amount.refund": f"must be at most {2**63 - 1}"}),
    ("amount.total", 100, {"amount.total": "unknown member"}),
    ("out_refund_no", "", {"out_refund_no": "must not be empty"}),
    ("out_refund_no", "x" * 65, {"out_refund_no": "must match [0-9A-Za-z_-]{1,64}"}),
    ("out_refund_no", "a@b", {"out_refund_no": "must match [0-9A-Za-z_-]{1,64}"}),
    ("reason", "茶" * 27, {"reason": "is 81 bytes long in UTF-8, more than the 80 that are allowed"}),
    ("reason", "😀", {"reason": FOUR_BYTES}),
    ("reason", "a\tb", {"reason": CONTROL}),
    ("funds_account", "BASIC", {"funds_account": "must be one of AVAILABLE, UNSETTLED"}),
    ("goods_detail", [], {"goods_detail": "must have at least 1 entries"}),
    ("goods_detail", [BACK] * 116, {"goods_detail": "must have at most 115 entries"}),
    ("goods_detail", [BACK, None], {"goods_detail.1": "must be an object"}),
    ("goods_detail", [BACK | {"refund_quantity": 0}], {"goods_detail.0.refund_quantity": "must be at least 1"}),
    ("goods_detail", [BACK | {"quantity": 1}],
     {"goods_detail.0.quantity": "unknown member, did you mean refund_quantity?"}),
    ("out_trade_no", None, {"out_trade_no": "out_trade_no or transaction_id is required"}),
    ("transaction_id", "4200", {"out_trade_no": "give either out_trade_no or transaction_id, not both"}),
    ("notify_url", "https://x", {"notify_url": "unknown member"}),
]  # fmt: skip


@pytest.mark.parametrize("field, value, expected", REFUND_REFUSED)
def test_each_rule_of_refund_names_its_member(field, value, expected):
    """One broken rule, one complaint at its dotted name."""
    assert complaints(changed(REFUND, field, value), RefundBody) == expected


def test_a_refund_is_the_same_however_the_order_is_named():
    """content leaves out the ids of order and refund: amount, reason, account, goods and metadata count."""
    rest = {"amount": {"refund": 5}, "reason": "broken", "funds_account": "UNSETTLED", "goods_detail": [BACK],
            "metadata": {"a": "b"}}  # fmt: skip

    by_number = refund_command(parse({"out_trade_no": "shop-0001", "out_refund_no": "r1"} | rest, RefundBody))
    by_transaction = refund_command(parse({"transaction_id": "4200001"} | rest, RefundBody))

    assert rest == by_number.content == by_transaction.content
    assert (by_number.out_trade_no, by_number.transaction_id) == ("shop-0001", None)
    assert (by_transaction.out_trade_no, by_transaction.transaction_id) == (None, "4200001")
    assert by_number.goods_detail == (BACK,)
    assert by_number.refund_fen == 5


@pytest.mark.parametrize(
    "note, expected",
    [
        (None, "is required"),
        ("", "must not be blank"),
        (" \n\t", "must not be blank"),
        ("x" * 501, "is 501 characters long, more than the 500 that are allowed"),
        ("bell\x07", CONTROL),
        (5, "must be a string"),
    ],
)
def test_a_note_says_something(note, expected):
    """A discrepancy is closed with a reason in words."""
    assert complaints({"note": note}, ResolveBody) == {"note": expected}


def test_a_note_may_have_lines_and_any_language():
    """A note is for people."""
    assert parse({"note": "退款\n😀" + "x" * 490}, ResolveBody).note.startswith("退款\n")


# -- fuzz ---------------------------------------------------------------------------------------------------------

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just([]), st.just({}),
    st.sampled_from(["NATIVE", "JSAPI", "H5", "CNY", "shop-0001", "x" * 200, "😀", "\x00", 10**40, 1.0, "Wap", "::1"]),
)  # fmt: skip
NAMES = st.sampled_from([
    *CreateBody.model_fields, *RefundBody.model_fields, "total", "currency", "refund", "openid", "payer_client_ip",
    "h5_info", "type", "store_info", "id", "goods_detail", "merchant_goods_id", "quantity", "unit_price", "note",
])  # fmt: skip
OBJECTS = st.dictionaries(
    NAMES | st.text(max_size=4),
    st.recursive(ODD, lambda part: st.lists(part, max_size=3) | st.dictionaries(NAMES, part, max_size=4), max_leaves=9),
    max_size=8,
)
TEXTS = st.text(max_size=140)
NEARLY_GOOD = st.fixed_dictionaries(
    {"description": TEXTS, "amount": st.fixed_dictionaries({"total": st.integers(-1, 10**9)})},
    optional={
        "trade_type": st.sampled_from(["NATIVE", "JSAPI", "APP", "H5", None]),
        "payer": st.fixed_dictionaries({"openid": TEXTS}),
        "scene_info": st.fixed_dictionaries({}, optional={"payer_client_ip": st.just("1.1.1.1"), "device_id": TEXTS}),
        "attach": TEXTS | st.none(),
        "goods_tag": TEXTS,
        "expire_seconds": st.integers(0, 700_000) | st.none(),
        "metadata": st.dictionaries(TEXTS, TEXTS, max_size=22),
        "out_trade_no": st.text(alphabet="aZ0-_|", max_size=34),
    },
)


@given(st.binary(max_size=80) | OBJECTS.map(lambda data: json.dumps(data).encode()), st.sampled_from(
    [CreateBody, CloseBody, RefundBody, ResolveBody]))  # fmt: skip
def test_nothing_but_a_request_error_comes_out(raw, model):
    """Whatever bytes come in: a body, or a RequestError with complaints or a reason."""
    try:
        body = parse_body(raw, JSON, model)
    except RequestError as exc:
        refused = exc
    else:
        assert canonical_body(body)
        return

    assert refused.code in ("invalid_json", "invalid_request")
    assert refused.complaints or refused.params


@given(NEARLY_GOOD)
def test_whatever_is_accepted_fits_every_limit(data):
    """An accepted create can be sent to WeChat: lengths in bytes, characters, amounts, times."""
    try:
        command = create_command(parse(data))
    except RequestError:
        return

    texts = ((command.description, 127), (command.attach, 128), (command.goods_tag, 32), (command.openid, 128))
    for text, bytes_max in texts:
        assert text is None or 1 <= len(text.encode()) <= bytes_max
        assert text is None or all(" " <= char <= "\uffff" and not "\x7f" <= char <= "\x9f" for char in text)
    assert 1 <= command.total_fen <= 100_000_000
    assert 60 <= command.expire_seconds <= 604_800
    assert command.out_trade_no is None or 6 <= len(command.out_trade_no) <= 32
    assert len(command.metadata or {}) <= 20
    assert (command.trade_type == "JSAPI") == (command.openid is not None)
    assert json.loads(json.dumps(command.content)) == command.content
