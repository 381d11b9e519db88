"""What the gateway asks of every request before it looks at what is asked (sections 1 and 2)."""

from __future__ import annotations

import re

import pytest

QUERY = "/v3/pay/transactions/out-trade-no/order-000001"
REFUND = "/v3/refund/domestic/refunds/refund-1"


@pytest.mark.parametrize(
    "method, target, status",
    [
        ("GET", "/", 404),
        ("GET", "/v3/pay/transactions", 404),
        ("POST", "/v3/pay/transactions/native/", 404),
        ("POST", "//v3/pay/transactions/native", 404),
        ("GET", "/v3/pay/transactions/native", 405),
        ("POST", "/v3/certificates", 405),
        ("GET", QUERY + "/close", 405),
    ],
)
async def test_unknown_path_and_method_are_answered_before_authentication(merchant, method, target, status):
    """404 and 405 have an empty body and no signature, even for a well-signed request."""
    answer = await merchant.send(method, target)

    assert (status, b"", False) == (answer.status, answer.body, answer.signed)


async def test_accept_is_missed_before_the_signature_outside_of_payments(merchant):
    """Without Accept or User-Agent a refund query is 400, unsigned, whatever its Authorization."""
    for missing in ("Accept", "User-Agent"):
        answer = await merchant.get(REFUND, headers={missing: None, "Authorization": None})

        assert (answer.status, answer.json["code"], answer.signed) == (400, "INVALID_REQUEST", False)
        assert answer.json["message"] == "Http头缺少Accept或User-Agent"


async def test_accept_of_payments_is_missed_only_after_the_signature(merchant):
    """A payment endpoint complains of the signature first and of Accept afterwards, then signed."""
    unsigned = await merchant.query(headers={"Accept": None, "Authorization": None})
    signed = await merchant.query(headers={"Accept": "text/html"})

    assert (unsigned.status, unsigned.json["code"]) == (401, "SIGN_ERROR")
    assert (signed.status, signed.json["code"], signed.signed) == (400, "INVALID_REQUEST", True)


async def test_missing_authorization_has_two_faces(merchant):
    """Payments answer without Request-ID and with another message than the other endpoints."""
    pay = await merchant.query(headers={"Authorization": None})
    refund = await merchant.get(REFUND, headers={"Authorization": None})

    assert (pay.status, pay.json["message"], "Request-ID" in pay.headers) == (401, "签名信息错误，验签失败", False)
    assert (refund.status, refund.json["code"], "Request-ID" in refund.headers) == (401, "SIGN_ERROR", True)


def _mangled(good):
    return {
        "other scheme": good.replace("RSA2048", "RSA4096"),
        "two spaces": good.replace(" ", "  ", 1),
        "spaces after commas": good.replace(",", ", "),
        "four fields": re.sub(r'nonce_str="[^"]*",', "", good),
        "a field twice": good.replace('mchid="', 'serial_no="', 1),
        "timestamp in words": re.sub(r'timestamp="\d+"', 'timestamp="now"', good),
        "timestamp in milliseconds": re.sub(r'timestamp="(\d+)"', r'timestamp="\1000"', good),
        "nonce too long": re.sub(r'nonce_str="[^"]*"', f'nonce_str="{"n" * 33}"', good),
        "no nonce": re.sub(r'nonce_str="[^"]*"', 'nonce_str=""', good),
        "unquoted": good.replace('"', ""),
        "nothing": "",
    }


@pytest.mark.parametrize("what", sorted(_mangled("")))
async def test_authorization_of_another_form_is_refused(merchant, what):
    """Only the documented syntax with exactly its five fields is read."""
    target = f"{QUERY}?mchid={merchant.facts.mchid}"
    good = merchant.authorization("GET", target, b"")

    answer = await merchant.get(target, headers={"Authorization": _mangled(good)[what]})

    assert (answer.status, answer.json["code"], answer.signed) == (401, "SIGN_ERROR", False)


async def test_the_five_fields_may_come_in_any_order(merchant):
    """SDKs use three different orders."""
    target = f"{QUERY}?mchid={merchant.facts.mchid}"
    scheme, _, fields = merchant.authorization("GET", target, b"").partition(" ")
    backwards = scheme + " " + ",".join(reversed(fields.split(",")))

    answer = await merchant.get(target, headers={"Authorization": backwards})

    assert (answer.status, answer.json["code"]) == (404, "ORDER_NOT_EXIST")


@pytest.mark.parametrize("distance, status", [(-301, 401), (-300, 404), (0, 404), (300, 404), (301, 401)])
async def test_timestamp_must_lie_within_five_minutes_on_both_sides(merchant, wall, distance, status):
    """The window is 300 s and is checked before the signature."""
    answer = await merchant.query(timestamp=int(wall()) + distance)

    assert status == answer.status
    if status == 401:
        assert "5分钟" in answer.json["message"]


async def test_window_is_checked_before_serial_and_signature(merchant, wall):
    """An old request with a wrong serial is told about its time."""
    answer = await merchant.query(timestamp=int(wall()) - 1000, serial_no="0" * 40, signature="AA==")

    assert "5分钟" in answer.json["message"]


async def test_serial_must_be_the_merchants_in_upper_case_hex(merchant):
    """Lower case, decimal, the platform's serial and the public key's id are all refused."""
    facts = merchant.facts
    wrong = [
        facts.merchant_serial_no.lower(),
        str(int(facts.merchant_serial_no, 16)),
        facts.platform_serial_no,
        facts.public_key_id,
    ]
    for serial_no in wrong:
        answer = await merchant.query(serial_no=serial_no)

        assert (answer.status, answer.json["message"]) == (401, "商户证书序列号有误。")


async def test_foreign_mchid_in_the_header_is_unknown(merchant):
    """Another merchant has no certificate here."""
    answer = await merchant.query(mchid="1900000001")

    assert (answer.status, answer.json["code"]) == (401, "SIGN_ERROR")


async def test_wrong_signature_tells_what_was_signed(merchant):
    """The 401 carries sign_information to compare with one's own text."""
    target = f"{QUERY}?mchid={merchant.facts.mchid}"

    answer = await merchant.get(target, nonce="n" * 32, signature="A" * 344)

    assert (answer.status, answer.json["code"], answer.signed) == (401, "SIGN_ERROR", False)
    information = answer.json["detail"]["sign_information"]
    assert ("GET", target) == (information["method"], information["url"])
    assert information["truncated_sign_message"].startswith(f"GET\n{target}\n")
    assert information["truncated_sign_message"].endswith("\nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\n\n")


async def test_signature_covers_query_string_and_body_byte_for_byte(merchant):
    """Signing the path without its query, or another serialisation of the same JSON, is refused."""
    target = f"{QUERY}?mchid={merchant.facts.mchid}"
    without_query = merchant.authorization("GET", QUERY, b"")
    body = b'{"mchid": "%s"}' % merchant.facts.mchid.encode()
    compact = merchant.authorization("POST", QUERY + "/close", body.replace(b" ", b""))

    first = await merchant.get(target, headers={"Authorization": without_query})
    second = await merchant.send("POST", QUERY + "/close", raw=body, headers={"Authorization": compact})

    assert (first.status, second.status) == (401, 401)


async def test_body_that_ends_in_a_line_feed_is_signed_with_it(merchant):
    """The body's own LF and the text's LF both count (Go test vector)."""
    body = b'{"mchid": "%s"}\n' % merchant.facts.mchid.encode()

    answer = await merchant.send("POST", QUERY + "/close", raw=body)

    assert answer.status == 204


async def test_authentic_answers_carry_every_header_and_verify(merchant):
    """Five Wechatpay-* headers, Request-ID ending in 0, and the rest of section 2.5."""
    answer = await merchant.prepay()

    assert answer.status == 200
    assert merchant.verifies(answer.headers, answer.body)
    assert answer.headers["Wechatpay-Signature-Type"] == "WECHATPAY2-SHA256-RSA2048"
    assert re.fullmatch(r"[0-9A-F]{40,44}-0", answer.headers["Request-ID"])
    assert str(int(merchant.wall())) == answer.headers["Wechatpay-Timestamp"]
    assert answer.headers["Date"] == "Mon, 23 Nov 2026 04:00:00 GMT"
    for name, value in (
        ("Server", "nginx"),
        ("Keep-Alive", "timeout=8"),
        ("Cache-Control", "no-cache, must-revalidate"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Language", "zh-CN"),
        ("Content-Type", "application/json; charset=utf-8"),
    ):
        assert value == answer.headers[name]


async def test_business_errors_of_authentic_requests_are_signed(merchant):
    """A 404 after authentication verifies, and its Request-ID ends in the internal code."""
    answer = await merchant.query("nobody-knows-it")

    assert (answer.status, answer.json["code"]) == (404, "ORDER_NOT_EXIST")
    assert merchant.verifies(answer.headers, answer.body)
    assert answer.headers["Request-ID"].endswith("-268512771")


async def test_empty_answers_are_signed_over_an_empty_body(merchant):
    """A 204 has no body, no Content-Type, and a signature that verifies."""
    await merchant.prepay()

    answer = await merchant.close_order()

    assert (answer.status, answer.body) == (204, b"")
    assert merchant.verifies(answer.headers, b"")
    assert "Content-Type" not in answer.headers


@pytest.mark.parametrize(
    "mode, wanted, signer",
    [
        ("public_key", None, "public_key"),
        ("public_key", "public_key", "public_key"),
        ("public_key", "certificate", None),
        ("certificate", None, "certificate"),
        ("certificate", "certificate", "certificate"),
        ("certificate", "public_key", None),
        ("both", None, "certificate"),
        ("both", "certificate", "certificate"),
        ("both", "public_key", "public_key"),
        ("both", "unknown", None),
        ("public_key", "unknown", None),
        ("certificate", "unknown", None),
    ],
)
async def test_request_header_and_mode_choose_the_signing_key(merchant, control, mode, wanted, signer):
    """The table of section 3.3; a key the merchant does not have is 400, signed by the default key."""
    facts = merchant.facts
    serials = {"public_key": facts.public_key_id, "certificate": facts.platform_serial_no, "unknown": "A" * 40}
    await control("POST", "keys", {"mode": mode})

    answer = await merchant.query(headers={"Wechatpay-Serial": serials.get(wanted)})

    assert merchant.verifies(answer.headers, answer.body)
    if signer is None:
        assert (answer.status, answer.json["message"]) == (400, "平台证书序列号Wechatpay-Serial错误")
    else:
        assert (404, serials[signer]) == (answer.status, answer.headers["Wechatpay-Serial"])


async def test_replayed_nonce_is_accepted_unless_the_switch_is_on(merchant, control):
    """Whether WeChat refuses a used nonce is not documented, so it is a switch."""
    twice = [(await merchant.query(nonce="replayed")).status for _ in range(2)]
    await control.switch(refuse_replays=True)
    again = [(await merchant.query(nonce="replayed")).status for _ in range(2)]

    assert twice == [404, 404]
    assert again == [404, 401]


async def test_query_parameters_are_checked(merchant):
    """mchid must be there once, be the caller's, and be alone."""
    other = await merchant.get(f"{QUERY}?mchid=1900000001")
    missing = await merchant.get(QUERY)
    twice = await merchant.get(f"{QUERY}?mchid={merchant.facts.mchid}&mchid={merchant.facts.mchid}")
    unknown = await merchant.get(f"{QUERY}?mchid={merchant.facts.mchid}&sub_mchid=1")
    refund = await merchant.get(f"{REFUND}?mchid={merchant.facts.mchid}")

    for answer in (other, missing, twice, unknown, refund):
        assert (answer.status, answer.json["code"], answer.signed) == (400, "PARAM_ERROR", True)
    assert "mchid不匹配" in other.json["message"]
    assert "此字段为必填项" in missing.json["message"]


@pytest.mark.parametrize("raw", [b"", b"[]", b"nonsense", b'{"a": NaN}', b'"text"', b"\xff\xfe"])
async def test_body_must_be_a_json_object(merchant, raw, control):
    """Anything else is PARAM_ERROR and nothing is stored."""
    answer = await merchant.send("POST", "/v3/pay/transactions/native", raw=raw)

    assert (answer.status, answer.json["code"]) == (400, "PARAM_ERROR")
    assert (await control.book())["orders"] == []


async def test_body_must_be_declared_as_json(merchant, control):
    """A form content type is refused."""
    answer = await merchant.post(
        "/v3/pay/transactions/native",
        merchant.prepay_body(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )

    assert (answer.status, answer.json["code"]) == (400, "INVALID_REQUEST")
    assert (await control.book())["orders"] == []
