"""Fuzz every operation of a running payd with schemathesis, while a payer pays what the fuzzer orders.

Exit status: schemathesis's own, or 1 when the books do not verify afterwards. A failure is repeated with its seed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from tests.journeys.house import KEY, House
from tests.web.furnished import EXCLUDED_CHECKS, furnished_house

#: In a long run the 301st failed authentication of a minute comes, and payd answers 429 as it promises (contract 1.8);
#: the check takes any answer but 401 and 403 for a hole. The suite's short run keeps it.
EXCLUDED = (*EXCLUDED_CHECKS, "ignored_auth")
DEFAULTS = ("-n", "40", "--continue-on-failure")
PAYER_PAUSE_SECONDS = 0.5


def pay_open_orders(house: House, stop: threading.Event) -> None:
    """Pay orders as they come, so that refunds and late closings meet real money."""
    while not stop.wait(PAYER_PAUSE_SECONDS):
        answer = house.call("GET", "/pay/orders?status=PAYING&limit=10")
        for order in answer.json["orders"] if answer.status == 200 else ():
            try:
                house.act("pay", {"out_trade_no": order["out_trade_no"]})
            except AssertionError:
                continue  # closed or paid between the look and the act


def fuzz(house: House, arguments: list[str]) -> int:
    """Run schemathesis's own command line against the house."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{house.port}/openapi.json",
               "--header", f"X-Api-Key: {KEY}", "--suppress-health-check", "all",
               "--exclude-checks", ",".join(EXCLUDED), *(arguments or DEFAULTS)]  # fmt: skip
    return subprocess.run(command, cwd=house.folder, check=False).returncode


def tally(house: House) -> str:
    """Say what the run left in the books, so that a run that reached nothing is seen."""
    orders = house.call("GET", "/pay/orders?limit=100").json["orders"]
    refunds = house.call("GET", "/pay/refunds?limit=100").json["refunds"]
    states = [row["status"] for row in (*orders, *refunds)]
    return ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))


def main(arguments: list[str]) -> int:
    """Start, fuzz, stop, audit."""
    with tempfile.TemporaryDirectory(prefix="payd-fuzz-") as name:
        house, stop = furnished_house(Path(name)), threading.Event()
        payer = threading.Thread(target=pay_open_orders, args=(house, stop), name="payer")
        payer.start()
        try:
            code = fuzz(house, arguments)
        finally:
            stop.set()
            payer.join()
            print("Newest rows afterwards:", tally(house))
            ended = house.stop()
        audit = subprocess.run(
            [sys.executable, "-m", "payd", "verify", "--config", str(house.folder / "config.json")], check=False
        ).returncode
    return code or int(ended != 0 or audit != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
