"""The error table of WeChat's status pages: what each code may settle, for each operation."""

import pytest

from payd.models.wechat import Refused, Unclear
from payd.wechat.answers import ABSENT_CODES
from payd.wechat.error_codes import ALIASES, ERROR_CODES, is_definite, normal_code
from payd.wechat.requests import Operation

NUMBER = "P20261124000000abc"

#: Codes of the documentation's table (fact sheet 10.3), one by one: code, statuses, definite for prepay/close/refund.
DOCUMENTED = [
    ("PARAM_ERROR", 400, "prepay close refund"),
    ("INVALID_REQUEST", 400, "prepay close refund"),
    ("APPID_MCHID_NOT_MATCH", 400, "prepay"),
    ("MCH_NOT_EXISTS", 400, "prepay close refund"),
    ("MCH_NOT_EXISTS", 404, "prepay close refund"),
    ("ORDER_CLOSED", 400, "prepay close"),
    ("ORDERCLOSED", 400, "prepay close"),
    ("ORDER_PAID", 400, "prepay close"),
    ("ORDERPAID", 400, "prepay close"),
    ("NO_STATEMENT_EXIST", 400, ""),
    ("STATEMENT_CREATING", 400, ""),
    ("ALREADY_EXISTS", 400, ""),
    ("RESOURCE_ALREADY_EXISTS", 400, ""),
    ("SIGN_ERROR", 401, ""),
    ("NO_AUTH", 403, "prepay close refund"),
    ("NOAUTH", 403, "prepay close refund"),
    ("OUT_TRADE_NO_USED", 403, "prepay"),
    ("RULE_LIMIT", 403, "prepay close"),
    ("RULELIMIT", 403, "prepay close"),
    ("TRADE_ERROR", 403, "prepay close"),
    ("NOT_ENOUGH", 403, "refund"),
    ("NOTENOUGH", 403, "refund"),
    ("USER_ACCOUNT_ABNORMAL", 403, "refund"),
    ("ACCOUNT_ERROR", 403, "prepay"),
    ("ACCOUNTERROR", 403, "prepay"),
    ("REQUEST_BLOCKED", 403, "prepay"),
    ("ORDER_NOT_EXIST", 404, "close"),
    ("ORDERNOTEXIST", 404, "close"),
    ("RESOURCE_NOT_EXISTS", 404, "refund"),
    ("NOT_FOUND", 404, ""),
    ("USERPAYING", 202, ""),
    ("USERPAYING", 400, ""),
    ("FREQUENCY_LIMITED", 429, ""),
    ("RATELIMIT_EXCEEDED", 429, ""),
    ("FREQUENCY_LIMIT_EXCEED", 429, ""),
    ("FREQUENCY_LIMIT", 429, ""),
    ("RATE_LIMITED", 429, ""),
    ("SYSTEM_ERROR", 500, ""),
    ("SYSTEMERROR", 500, ""),
    ("BANK_ERROR", 500, ""),
    ("BANKERROR", 500, ""),
    ("OPENID_MISMATCH", 500, "prepay"),
    ("INVALID_TRANSACTIONID", 500, ""),
    ("SERVICE_UNAVAILABLE", 502, ""),
    ("SERVICE_UNAVAILABLE", 503, ""),
    ("A_CODE_OF_TOMORROW", 400, ""),
    ("A_CODE_OF_TOMORROW", 403, ""),
]


def caller_of(client, operation):
    """How to make one call."""
    return {
        "prepay": lambda: client.prepay("NATIVE", b'{"a":1}'),
        "query": lambda: client.query_payment(NUMBER),
        "close": lambda: client.close(NUMBER),
        "refund": lambda: client.refund(b'{"a":1}', out_refund_no="R1"),
        "refund_query": lambda: client.query_refund("R1"),
    }[operation]


@pytest.mark.parametrize("operation", ["prepay", "close", "refund"])
async def test_a_signed_code_is_a_refusal_only_where_it_is_listed(operation, client, gateway, reply, clock, calls):
    """Signed and listed: Refused with today's spelling. Everything else: Unclear, nothing may be concluded."""
    for code, status, definite in DOCUMENTED:
        gateway.script(reply(status=status, body={"code": code, "message": "说明", "detail": {"field": "/x"}}))
        clock.advance(11)  # failing refunds are paced

        heard = await caller_of(client, operation)()

        expected = Refused if operation in definite.split() else Unclear
        assert (expected, status, normal_code(code)) == (type(heard), heard.status, heard.code)
        assert heard.request_id is not None
        assert (operation, "refused" if expected is Refused else "unknown") == calls[-1]
        if status == 429:
            assert heard.reason == "rate_limited"


@pytest.mark.parametrize("operation", ["prepay", "query", "close", "refund", "refund_query"])
async def test_an_unsigned_error_never_settles_anything(operation, client, gateway, reply, clock):
    """Whoever stands in between can write any 4xx: without WeChat's signature it is Unclear, the code is kept."""
    for row in ERROR_CODES:
        for signed, reason in ((False, "unsigned"), ("wrong", "signature"), ("stranger", "key_refresh")):
            gateway.script(reply(status=row.statuses[0], body={"code": row.code, "message": "x"}, signed=signed))
            clock.advance(11)

            heard = await caller_of(client, operation)()

            assert (Unclear, row.code) == (type(heard), heard.code)
            assert heard.reason in (reason, "code", "status", "rate_limited")


def test_the_table_is_total_and_without_doubles():
    """Every documented code has one row; aliases lead to rows."""
    codes = [row.code for row in ERROR_CODES]

    assert len(codes) == len(set(codes))
    assert {normal_code(code) for code, _, _ in DOCUMENTED} - {"A_CODE_OF_TOMORROW"} == set(codes)
    assert all(normal_code(alias) in codes for alias in ALIASES)
    assert all(row.meaning and row.caller and row.statuses for row in ERROR_CODES)


@pytest.mark.parametrize("status", [401, 405, 429])
def test_some_statuses_are_never_an_answer_of_the_business(status):
    """Authentication, routing and rate limits settle nothing, whatever code stands in them."""
    assert not any(is_definite(operation, status, row.code) for row in ERROR_CODES for operation in Operation)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_is_definite_only_for_a_wrong_openid(status):
    """OPENID_MISMATCH is the one documented refusal with status 500."""
    definite = {(row.code, operation) for row in ERROR_CODES for operation in Operation
                if is_definite(operation, status, row.code)}  # fmt: skip

    assert ({("OPENID_MISMATCH", Operation.PREPAY)} if status == 500 else set()) == definite


def test_absence_is_read_only_from_queries():
    """A create or close never proves that a number does not exist."""
    assert {Operation.QUERY: "ORDER_NOT_EXIST", Operation.REFUND_QUERY: "RESOURCE_NOT_EXISTS"} == ABSENT_CODES


@pytest.mark.parametrize("value", [None, 1, True, [], {}, "", "x y", "x" * 65, "ÖRDER"])
def test_what_is_no_code_is_none(value):
    """A code is a short word; nothing else reaches logs or metrics."""
    assert normal_code(value) is None
