"""What README.md tells a reader to type works as written, against a running sandbox; only ports are others."""

from __future__ import annotations

import contextlib
import json
import re
import select
import shutil
import socket
import subprocess
import sys

from payd.config import load_config
from tests.docs.readme import PAGE, blocks
from tests.journeys.house import DEADLINE_SECONDS, http_call, until

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
#: Members whose value is new in every run, and what it looks like.
FRESH = {
    "code_url": r"weixin://wxpay/bizpayurl\?pr=\w{9}", "transaction_id": r"4200\d{24}",
    "created_at": TIME, "paid_at": TIME,
}  # fmt: skip


def assert_agrees(shown, real, where="answer"):
    """What is shown is in the real answer: every member, every value, and fresh values in their form."""
    if isinstance(shown, dict):
        assert set(shown) <= set(real), where
        for name, value in shown.items():
            if name in FRESH:
                assert re.fullmatch(FRESH[name], value), f"{where}.{name} as shown"
                assert re.fullmatch(FRESH[name], real[name]), f"{where}.{name}"
            else:
                assert_agrees(value, real[name], f"{where}.{name}")
    else:
        assert shown == real, where


def test_the_curl_blocks_do_what_the_page_shows(reader):
    """One after the other, each answer as shown; the payer's block is followed by WeChat's callback."""
    first, *rest = blocks("run: curl")
    compared = 0

    for block in rest:
        done = reader.shell(first.text + block.text)
        assert (done.returncode, done.stderr) == (0, ""), block.text
        if "sandbox pay" in block.text:
            until(lambda: reader.shown("cart-1001")["status"] == "PAID", "the payment")
        elif block.answer is not None:
            assert_agrees(block.answer, json.loads(done.stdout))
            compared += 1
        else:
            assert len(json.loads(done.stdout)["events"]) > 6

    assert compared == 4
    assert reader.shown("cart-1001")["amount"]["total"] == 1200


def test_a_repeat_of_the_curl_create_is_the_same_order(reader):
    """The page's Idempotency-Key makes it safe, as it says."""
    prefix, create = blocks("run: curl")[:2]
    body = prefix.text + create.text.replace("cart-1001", "cart-3003")

    first, again = reader.shell(body), reader.shell(body)

    assert first.stdout == again.stdout
    assert reader.book("cart-3003")["orders"][0]["prepay_count"] == 1


def test_the_python_block_creates_waits_and_refunds(reader):
    """The program runs to its end while the payer pays."""
    program = reader.python(blocks("run: python")[0].text)
    numbers = lambda: [o["out_trade_no"] for o in reader.call("GET", "/pay/orders").json["orders"]]  # noqa: E731

    until(lambda: "cart-2002" in numbers(), "the order")
    until(lambda: reader.book("cart-2002")["orders"], "the order at WeChat")
    reader.act("pay", {"out_trade_no": "cart-2002"})
    out, errors = program.communicate(timeout=DEADLINE_SECONDS)

    assert (program.returncode, errors) == (0, "")
    shown, paid, refunded = out.splitlines()
    assert shown.startswith("show this as a QR code: weixin://wxpay/bizpayurl")
    assert re.fullmatch(r"PAID 4200\d{24}", paid)
    assert re.fullmatch(r"REFUNDING \w+", refunded)


def test_the_receiver_takes_a_genuine_webhook_and_refuses_a_forged_one(reader, mailbox):
    """The page's receiver, with the page's secret, fed by payd itself."""
    receiver = reader.python(blocks("run: receiver")[0].text)
    try:
        until(lambda: _listens(reader.receiver_port), "the receiver")
        number = reader.paid()
        said = _line(receiver)
        headers, body = until(lambda: mailbox.of(number), "the delivery")
        sent = {name: value for name, value in headers.items() if name.startswith("webhook-")}
        forged = http_call(reader.receiver_port, "POST", "/", body.replace(b"PAID", b"FAIL"), sent)
    finally:
        receiver.terminate()
        receiver.communicate(timeout=DEADLINE_SECONDS)

    assert re.fullmatch(rf"msg_\w+ order\.paid {number}\n", said)
    assert forged.status == 401


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _line(program: subprocess.Popen[str]) -> str:
    ready, _, _ = select.select([program.stdout], [], [], DEADLINE_SECONDS)
    assert ready, "the receiver said nothing"
    return program.stdout.readline()


def test_the_shell_block_tells_a_genuine_webhook_from_a_forged_one(reader, mailbox):
    """Three headers and the raw body are enough."""
    number = reader.paid()
    headers, body = until(lambda: mailbox.of(number), "the delivery")
    known = {
        "SECRET": reader.secret, "ID": headers["webhook-id"], "TIMESTAMP": headers["webhook-timestamp"],
        "SIGNATURE": headers["webhook-signature"],
    }  # fmt: skip
    block = blocks("run: verify")[0].text

    (reader.folder / "body.json").write_bytes(body)
    genuine = reader.shell(block, **known)
    (reader.folder / "body.json").write_bytes(body.replace(b"PAID", b"FAIL"))
    forged = reader.shell(block, **known)

    assert (genuine.returncode, genuine.stdout) == (0, "genuine\n")
    assert (forged.returncode, forged.stdout) == (1, "forged\n")


def test_the_live_configuration_passes_the_check(tmp_path, throwaway_keys):
    """The page's config.json beside key files of these names; only the merchant's own numbers are put in."""
    merchant = json.loads((throwaway_keys / "merchant.json").read_text())
    config = json.loads(blocks("config: live")[0].text)
    config["wechat_pay"] |= {
        "app_id": merchant["appid"], "mch_id": merchant["mchid"], "public_key_id": merchant["public_key_id"],
    }  # fmt: skip
    for name in ("apiclient_cert.pem", "apiclient_key.pem", "api_v3_key.txt", "pub_key.pem"):
        shutil.copy(throwaway_keys / name, tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    path.chmod(0o600)

    done = subprocess.run(
        [sys.executable, "-m", "payd", "check", "--config", str(path)], capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert load_config(path, {}).livemode


def test_the_webhook_configuration_is_valid(tmp_path):
    """As shown, without the switch for private addresses."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"mode": "sandbox"} | json.loads(blocks("config: webhooks")[0].text)))

    (endpoint,) = load_config(path, {}).webhooks

    assert endpoint.events == ("order.paid", "refund.succeeded", "refund.failed")
    assert endpoint.allow_private_addresses is False


def test_the_environment_overrides_as_the_page_says(tmp_path):
    """The page's example."""
    path = tmp_path / "config.json"
    path.write_text('{"mode": "sandbox"}')
    name, value = re.search(r"`(PAYD_\w+)=(\d+)`", PAGE).groups()

    assert load_config(path, {name: value}).server.port == int(value)
