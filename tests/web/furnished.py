"""A running payd that has something of everything, so that a fuzzer's calls meet orders, refunds and open work."""

from __future__ import annotations

from pathlib import Path

from payd.sandbox import prepare_directory
from tests.journeys.house import House, free_port, until

#: Checks of schemathesis that do not apply, and why.
EXCLUDED_CHECKS = (
    # JSON Schema cannot say some rules: WeChat counts bytes and not characters, 1.0 is no integer to payd, a cursor
    # must have been given out, GET /pay/query needs one of two parameters, an Idempotency-Key belongs to one body.
    "positive_data_acceptance",
)


def furnished_house(folder: Path) -> House:
    """Start payd in a folder of its own: an open and a paid order, a refund, a discrepancy, an undelivered webhook."""
    prepare_directory(folder / "sandbox")
    hook = {
        "url": f"http://127.0.0.1:{free_port()}/nobody-listens",
        "secrets": ["whsec_" + "QUJD" * 8],
        "allow_private_addresses": True,
    }
    house = House(folder, {"webhooks": [hook]}).start()
    assert house.create(out_trade_no="fuzz-open").status == 201
    number = house.paid(out_trade_no="fuzz-paid")
    assert house.refund(number, 1, out_refund_no="fuzz-refund").status == 201
    house.resend(number, tamper={"amount.total": 7})
    for name in ("discrepancies", "deliveries", "notifications"):
        until(lambda name=name: house.call("GET", f"/pay/{name}").json[name], f"an entry in {name}")
    return house
