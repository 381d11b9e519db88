"""``payd sandbox``: run alone, and act on a running simulator from the command line."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from functools import partial

import pytest
from click.testing import CliRunner

from payd.sandbox.commands import sandbox


@pytest.fixture
def command(simulator, tmp_path):
    """Run one command in a thread while the simulator serves on the loop."""

    async def run(*arguments, url=True, env=None):
        words = [*arguments, *(["--url", simulator.base_url] if url else [])]
        work = partial(CliRunner().invoke, sandbox, words, env=env)
        return await asyncio.get_running_loop().run_in_executor(None, work)

    return run


async def test_paying_failing_and_refunding(merchant, control, command):
    """One line for each, exit code 0."""
    await merchant.prepay()
    failed = await command("fail", "order-000001")
    paid = await command("pay", "order-000001", "--payer-total", "90")
    await merchant.refund()
    refunded = await command("refund", "refund-1", "ABNORMAL")

    assert [result.exit_code for result in (failed, paid, refunded)] == [0, 0, 0]
    assert failed.output == "order-000001 NOTPAY after 1 failed attempts\n"
    assert re.fullmatch(r"order-000001 SUCCESS \d{28} 90 fen\n", paid.output)
    assert re.fullmatch(r"refund-1 ABNORMAL \d{29} 40 fen\n", refunded.output)


async def test_late_and_silent_money(merchant, control, command):
    """--force pays a closed order, --no-notify says nothing to the merchant."""
    await merchant.prepay()
    await merchant.close_order()

    result = await command("pay", "order-000001", "--force", "--no-notify")

    assert result.exit_code == 0
    book = await control.book()
    assert ([order["trade_state"] for order in book["orders"]], book["notifications"]) == (["SUCCESS"], [])


async def test_what_the_simulator_refuses_is_exit_code_1(command):
    """With its code and message on stderr."""
    result = await command("pay", "nobody-knows")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "payd sandbox: ORDER_NOT_EXIST: no order has out_trade_no nobody-knows\n"


async def test_faults_are_set_listed_and_cleared(merchant, control, command):
    """The list shows every kind with its meaning."""
    set_one = await command("fault", "prepay", "system_error", "--match", "order-000001", "--times", "2")
    set_two = await command("fault", "notify", "late", "--always", "--seconds", "5")
    listed = await command("fault")
    answer = await merchant.prepay()
    cleared = await command("fault", "--clear")
    wrong = await command("fault", "prepay", "nonsense")
    half = await command("fault", "prepay")

    assert [item.exit_code for item in (set_one, set_two, listed, cleared, wrong, half)] == [0, 0, 0, 0, 1, 2]
    assert set_one.output == "#1 prepay system_error, 2 times for order-000001: 500 SYSTEM_ERROR; not executed\n"
    assert "#2 notify late, until cleared" in listed.output
    assert "  pay_after_close" in listed.output
    assert (answer.status, cleared.output) == (500, "2 faults cleared\n")
    assert (await control.book())["faults"] == []


async def test_clock_keys_book_and_resend(merchant, control, command, receiver):
    """Shown and changed; --json prints the whole answer."""
    await merchant.prepay(notify_url=receiver.url)
    await control.pay()
    moved = await command("clock", "60")
    shown = await command("clock")
    keys = await command("keys", "--mode", "certificate", "--rotate")
    book = await command("book", "order-000001")
    whole = await command("book", "--json")
    notice = json.loads(whole.output)["notifications"][0]["id"]
    resent = await command("resend", notice, "--tamper", "amount.total=1", "--tamper", "attach=text", "--stale", "10")

    assert moved.output == "2026-11-23T12:01:00+08:00 (0 things happened on the way)\n"
    assert shown.output == "2026-11-23T12:01:00+08:00\n"
    assert re.search(r"^mode certificate\npublic key PUB_KEY_ID_\d+\n(certificate .+\n){2}$", keys.output)
    assert keys.output.count("(signs)") == 1
    assert "order   order-000001" in book.output
    assert "TRANSACTION.SUCCESS delivered [204]" in book.output
    assert re.fullmatch(r"answered 204 in [\d.]+ ms\n", resent.output)
    assert len(receiver.received) == 2


async def test_the_simulator_is_found_through_the_configuration(simulator, merchant, command, tmp_path):
    """A loopback api_base first, then sandbox.port; a real host is never called."""
    by_base, by_port, real = (tmp_path / name for name in ("base.json", "port.json", "real.json"))
    by_base.write_text(json.dumps({"wechat_pay": {"api_base": simulator.base_url}, "sandbox": {"port": 1}}))
    by_port.write_text(json.dumps({"sandbox": {"port": simulator.port}}))
    settings = {"wechat_pay": {"api_base": "https://api.mch.weixin.qq.com"}, "sandbox": {"port": simulator.port}}
    real.write_text(json.dumps(settings))

    results = [await command("clock", "--config", str(path), url=False) for path in (by_base, by_port, real)]

    assert [result.exit_code for result in results] == [0, 0, 0]


async def test_unreachable_and_wrong_addresses(command, receiver, tmp_path):
    """Nobody there, somebody else there: 75. Not a loopback address, unreadable configuration: 2."""
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    nobody = await command("clock", "--url", "http://127.0.0.1:9", url=False)
    somebody = await command("clock", "--url", receiver.url, url=False)
    foreign = await command("clock", "--url", "https://api.mch.weixin.qq.com", url=False)
    unreadable = await command("clock", "--config", str(broken), url=False)

    assert [item.exit_code for item in (nobody, somebody, foreign, unreadable)] == [75, 75, 2, 2]
    assert "payd sandbox --dir" in nobody.stderr
    assert "not the simulator" in somebody.stderr


async def test_colours_only_where_they_are_wanted(merchant, control, command):
    """Not into a pipe, and not with NO_COLOR."""
    await merchant.prepay()

    piped = await command("book")
    refused = await command("book", env={"NO_COLOR": "1"})

    assert "\x1b" not in piped.output + refused.output


async def test_help_explains_every_command(command):
    """Each command has a sentence and its options have help."""
    for name in ("", *sandbox.commands):
        result = await command(*([name] if name else []), "--help", url=False)

        assert result.exit_code == 0
        assert "Usage:" in result.output


def _start(directory, *options):
    code = "from payd.sandbox.commands import sandbox; sandbox()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "--dir", str(directory), "--port", "0", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_alone_it_says_one_line_and_ends_on_a_signal(tmp_path, number):
    """The line names the address; the exit code is 0 and nothing else is printed."""
    running = _start(tmp_path / "merchant", "--backup-port", "0", "--seed", "3", "--nuisance", "0.1")
    line = running.stdout.readline()
    running.send_signal(number)
    rest, errors = running.communicate(timeout=20)

    assert re.match(r"payd sandbox: .* listening on http://127\.0\.0\.1:\d+ and http://127\.0\.0\.1:\d+", line)
    assert (running.returncode, rest, errors) == (0, "", "")
    assert (tmp_path / "merchant" / "config.json").exists()


def test_alone_it_refuses_what_it_must(tmp_path):
    """Somebody's keys: 78; an address others could reach: 75."""
    (tmp_path / "apiclient_key.pem").write_text("secret")
    keys = _start(tmp_path)
    host = _start(tmp_path / "new", "--host", "0.0.0.0")

    messages = [running.communicate(timeout=20)[1] for running in (keys, host)]

    assert [running.returncode for running in (keys, host)] == [78, 75]
    assert "may be a real merchant's" in messages[0]
    assert "not a loopback address" in messages[1]
