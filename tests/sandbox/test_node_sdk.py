"""Third-party proof: the npm client ``wechatpay-axios-plugin`` talks to the simulator as to WeChat."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from payd.sandbox import Sandbox

NODE = Path(__file__).parent / "node"


@pytest.fixture(scope="session")
def node_modules():
    """The locked packages; installed the first time they are needed."""
    if not (NODE / "node_modules" / "wechatpay-axios-plugin").is_dir():
        npm = shutil.which("npm")
        assert npm is not None, "Node.js 20 with npm is needed for this proof"
        subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=NODE, check=True, capture_output=True, timeout=300)
    return NODE / "node_modules"


@pytest.fixture
def wall():
    """The real clock, since the SDK cannot be given another."""
    return time.time


@pytest.fixture
def simulator(io_loop, prepared):
    running = Sandbox(prepared, seed=7, persist=False)
    io_loop.run_sync(running.start)
    yield running
    io_loop.run_sync(running.stop)


@pytest.mark.parametrize("mode", ["public_key", "certificate"])
async def test_node_sdk_pays_refunds_closes_and_reads_bills(node_modules, simulator, control, mode):
    """One run through every endpoint; the SDK itself signs, verifies, decrypts and parses."""
    await control("POST", "keys", {"mode": mode})
    facts = simulator.merchant
    argument = {
        "base_url": simulator.base_url, "mode": mode, "out_trade_no": "node-0001", "mchid": facts.mchid,
        "appid": facts.appid, "merchant_serial_no": facts.merchant_serial_no, "api_v3_key": facts.api_v3_key,
        "private_key_path": str(facts.private_key_path), "public_key_id": facts.public_key_id,
        "public_key_path": str(facts.public_key_path), "platform_serial_no": facts.platform_serial_no,
        "platform_cert_path": str(facts.platform_cert_path),
    }  # fmt: skip
    run = partial(
        subprocess.run,
        ["node", "proof.mjs", json.dumps(argument)],
        cwd=NODE,
        capture_output=True,
        text=True,
        timeout=50,
    )

    finished = await asyncio.get_running_loop().run_in_executor(None, run)

    assert finished.returncode == 0, finished.stderr
    heard = json.loads(finished.stdout)
    assert heard["code_url"].startswith("weixin://wxpay/bizpayurl?pr=")
    assert heard["changed"] == {"status": 403, "code": "OUT_TRADE_NO_USED"}
    assert heard["unknown"] == {"status": 404, "code": "ORDER_NOT_EXIST"}
    assert heard["query"] == {"trade_state": "SUCCESS", "out_trade_no": "node-0001"}
    assert (heard["refund"], heard["refund_query"], heard["close"]) == ("PROCESSING", "SUCCESS", 204)
    assert heard["bill"]["rows"] == [["REFUND", "node-0001", "0.00", "0.40"], ["SUCCESS", "node-0001", "1.00", "0.00"]]
    assert heard["bill"]["summary"]["总交易单数"] == "2.0"
    assert heard["bill"]["hash_matches"] is True
    assert heard["forged"]["code"] == "EV3_RES_HEADER_SIGNATURE_DIGEST"
    assert heard["pay_params"] == "SUCCESS"
    if mode == "certificate":
        assert heard["certificate"] == {"serial": facts.platform_serial_no, "same": True}
    else:
        assert heard["certificates"] == {"status": 404, "code": "RESOURCE_NOT_EXISTS"}
