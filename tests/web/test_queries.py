"""Query strings: strict, every complaint at once; cursors come back exactly as they were given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payd.errors import RequestError
from payd.models.discrepancy import DiscrepancyStatus
from payd.models.notification import NotificationResult
from payd.models.states import OrderState, RefundState
from payd.models.webhook import DeliveryStatus
from payd.ports import OrderFilter, Position, RefundFilter
from payd.web import queries

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
LISTS = [
    queries.list_orders,
    queries.list_refunds,
    queries.list_discrepancies,
    queries.list_notifications,
    queries.list_deliveries,
]
TIME = "must be an RFC 3339 time with an offset, such as 2026-11-23T13:05:09Z"


def complaints(function, raw):
    with pytest.raises(RequestError) as caught:
        function(raw)
    assert caught.value.code == "invalid_request"
    return [(complaint.field, complaint.issue) for complaint in caught.value.complaints]


@pytest.mark.parametrize("function", LISTS)
def test_a_list_has_twenty_rows_by_default_and_a_hundred_at_most(function):
    """limit is 1-100, default 20."""
    assert function("")[1] == queries.Page(20, None)
    assert function("limit=1")[1].limit == 1
    assert function("limit=100")[1].limit == 100


@pytest.mark.parametrize(
    "raw, issue",
    [
        ("limit=0", "must be at least 1"),
        ("limit=101", "must be at most 100"),
        ("limit=999999999", "must be at most 100"),
        ("limit=", "must be an integer"),
        ("limit=-1", "must be an integer"),
        ("limit=1.0", "must be an integer"),
        ("limit=+1", "must be an integer"),
        ("limit=%201", "must be an integer"),
        ("limit=1e1", "must be an integer"),
        ("limit=true", "must be an integer"),
        ("limit=%EF%BC%91", "must be an integer"),
        ("limit=" + "9" * 5000, "must be an integer"),
        ("limit", "must be an integer"),
    ],
)
@pytest.mark.parametrize("function", LISTS)
def test_any_other_limit_is_refused(function, raw, issue):
    """A limit is a plain decimal number within its bounds."""
    assert complaints(function, raw) == [("limit", issue)]


def test_the_filters_of_orders():
    """Times with any offset become UTC; states and trade types are the exact words."""
    raw = "status=PAID&trade_type=H5&created_from=2026-11-23T20:00:00%2B08:00&created_to=2026-11-23T12:00:00.5Z&limit=7"

    which, page = queries.list_orders(raw)

    assert which == OrderFilter(
        status=OrderState.PAID, trade_type="H5", created_from=NOON, created_to=NOON + timedelta(milliseconds=500)
    )
    assert which.created_from.utcoffset() == timedelta(0)
    assert page == queries.Page(7, None)


def test_the_filters_of_the_other_lists():
    """Each list has its own words."""
    assert queries.list_refunds("status=REFUNDING&out_trade_no=x")[0] == RefundFilter(
        status=RefundState.REFUNDING, out_trade_no="x"
    )
    assert queries.list_discrepancies("status=open")[0] is DiscrepancyStatus.OPEN
    assert queries.list_discrepancies("")[0] is None
    assert queries.list_notifications("result=probe")[0] is NotificationResult.PROBE
    assert queries.list_deliveries("status=dead")[0] is DeliveryStatus.DEAD


@pytest.mark.parametrize(
    "function, raw, field",
    [
        (queries.list_orders, "status=paid", "status"),
        (queries.list_orders, "status=", "status"),
        (queries.list_orders, "status=REFUNDING", "status"),
        (queries.list_orders, "trade_type=native", "trade_type"),
        (queries.list_refunds, "status=PAID", "status"),
        (queries.list_discrepancies, "status=OPEN", "status"),
        (queries.list_notifications, "result=ok", "result"),
        (queries.list_deliveries, "status=lost", "status"),
    ],
)
def test_words_are_exact(function, raw, field):
    """An unknown word is refused with the words there are."""
    [(complained, issue)] = complaints(function, raw)

    assert complained == field
    assert issue.startswith("must be one of ")


def test_all_complaints_about_a_query_come_at_once():
    """Repeated, unknown and ill-formed parameters together; an unknown one suggests the nearest."""
    found = dict(complaints(queries.list_orders, "limit=0&status=x&satus=PAID&created_to=now&limit=3&foo=%zz&bar"))

    assert found == {
        "limit": "must be at least 1",
        "status": "must be one of CREATED, PAYING, PAID, FAILED, CLOSED",
        "satus": "unknown query parameter, did you mean status?",
        "created_to": TIME,
        "foo": "is not valid percent-encoded UTF-8",
        "bar": "unknown query parameter",
    }
    assert ("limit", "is given more than once") in complaints(queries.list_orders, "limit=3&limit=3")


@pytest.mark.parametrize("raw", ["a=1", "a", "limit=20", "%20=", "a=%ff"])
def test_a_route_without_parameters_takes_none(raw):
    """Unknown parameters are refused everywhere."""
    with pytest.raises(RequestError) as caught:
        queries.no_query(raw)

    assert caught.value.code == "invalid_request"
    assert queries.no_query("") is None


def test_a_flood_of_parameters_is_one_complaint():
    """More parameters than any route has are not looked at one by one."""
    raw = "&".join(f"p{i}=1" for i in range(5_000))

    assert complaints(queries.list_orders, raw) == [("", "must have at most 32 entries")]


# -- the two look-ups ---------------------------------------------------------------------------------------------


def test_an_order_is_asked_for_by_one_id_or_both():
    """At least one; whether both name the same order is the controller's question."""
    assert queries.query_order("out_trade_no=x").out_trade_no == "x"
    assert queries.query_order("transaction_id=4200").transaction_id == "4200"
    both = queries.query_order("transaction_id=4200&out_trade_no=%E8%8C%B6")
    assert (both.out_trade_no, both.transaction_id) == ("茶", "4200")
    assert complaints(queries.query_order, "") == [("out_trade_no", "out_trade_no or transaction_id is required")]


def test_an_id_that_cannot_be_is_looked_up_all_the_same():
    """An id of the wrong shape is "not found", not "invalid": only what no number can be is refused."""
    assert queries.query_refund("out_refund_no=*") == "*"
    assert queries.query_order("out_trade_no=a").out_trade_no == "a"
    assert complaints(queries.query_refund, "") == [("out_refund_no", "is required")]
    assert complaints(queries.query_refund, "out_refund_no=") == [("out_refund_no", "must not be empty")]
    assert complaints(queries.query_refund, "out_refund_no=a%00") == [
        ("out_refund_no", "must not contain control characters")
    ]
    [(_, issue)] = complaints(queries.query_refund, "out_refund_no=" + "x" * 129)
    assert issue == "is 129 bytes long in UTF-8, more than the 128 that are allowed"


# -- times --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["2026-11-23T12:00:00Z", "2026-11-23t12:00:00z", "2026-11-23T12:00:00.000000000Z", "2026-11-23T20:00:00+08:00",
     "2026-11-23T20:00:00 08:00", "2026-11-23T04:30:00-07:30"],
)  # fmt: skip
def test_one_moment_has_many_spellings(text):
    """RFC 3339 with any offset, also with a plus that a query string turned into a blank."""
    assert queries.parse_time(text) == NOON


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-11-23", "2026-11-23T12:00:00", "2026-11-23 12:00:00Z", "2026-11-23T12:00Z",
     "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-23T24:00:00Z", "2026-11-23T12:00:60Z",
     "2026-11-23T12:00:00+24:00", "2026-11-23T12:00:00.Z", "2026-11-23T12:00:00+0800", "1763899200",
     "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "２０２６-11-23T12:00:00Z", "2026-11-23T12:00:00Z\n"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text):
    """A time without an offset, or one that no calendar has, is a complaint and nothing else."""
    with pytest.raises(ValueError, match="RFC 3339"):
        queries.parse_time(text)


# -- cursors ------------------------------------------------------------------------------------------------------

KEYS = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)
MOMENTS = st.integers(0, 32_000_000_000_000_000).map(lambda us: queries.EPOCH + timedelta(microseconds=us))


@given(MOMENTS, KEYS)
def test_a_cursor_comes_back_as_it_was(moment, key):
    """Every position survives, to the microsecond, and the text fits a URL as it is."""
    cursor = queries.encode_cursor(Position(moment, key))

    assert Position(moment, key) == queries.decode_cursor(cursor)
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert queries.list_orders(f"cursor={cursor}")[1].after == Position(moment, key)


@given(MOMENTS, KEYS, st.data())
def test_a_changed_cursor_is_refused(moment, key, data):
    """A cut, lengthened or edited cursor is a complaint, never another page."""
    cursor = queries.encode_cursor(Position(moment, key))
    place = data.draw(st.integers(0, len(cursor) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_=!é"))

    for changed in (cursor[:place], cursor + letter, cursor[:place] + letter + cursor[place + 1 :]):
        if changed != cursor:
            with pytest.raises(ValueError, match="cursor"):
                queries.decode_cursor(changed)


@given(st.text(max_size=60))
def test_garbage_is_no_cursor(text):
    """Whatever stands there, the only answer is the complaint."""
    with pytest.raises(ValueError, match="cursor"):
        queries.decode_cursor(text)


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=60), st.sampled_from([*LISTS, queries.query_order]))
def test_nothing_but_a_request_error_comes_out(raw, function):
    """Any request line gives a query or a RequestError with complaints."""
    try:
        function(raw)
    except RequestError as exc:
        refused = exc
    else:
        return

    assert refused.complaints
