"""scripts/bench: bare Tornado POST, create and notify in one run; ratios as a table and as JSON.

What is measured: payd as it is served (auth, journal, ledger, metrics, JSON logs, synchronous=FULL), over loopback,
with 64 connections from wrk. The upstream of create is nginx answering one pre-signed prepay, so that it is not what
is measured. Every notification is signed, sealed and applied to an order of its own, made by create before: repeats
would be cheaper, and the run fails when one was counted. Only the ratios of one run mean something: machines are noisy,
also from one second to the next, so the three are measured in turn, several times, and medians are told.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from payd.sandbox import Merchant, prepare_directory

KEYS = 16  # API keys in turn: one key may make 500 requests a second
NOTIFY_AT_MOST = 0.8  # of bare: notifications must not run out, a repeat is cheaper than a first one
GOALS = {"notify": 0.5, "create": 0.17}

BARE = """
import asyncio, sys
import tornado.web, tornado.httpserver
class Post(tornado.web.RequestHandler):
    def post(self):
        self.set_status(204)
async def main():
    app = tornado.web.Application([("/", Post)], log_function=lambda handler: None)
    tornado.httpserver.HTTPServer(app).listen(int(sys.argv[1]), "127.0.0.1")
    print("ready", flush=True)
    await asyncio.Event().wait()
try:
    import uvloop
    uvloop.run(main())
except ImportError:
    asyncio.run(main())
"""

NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder}; keepalive_requests 1000000000;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      default_type application/json;
      {headers}
      return 200 '{body}';
    }}
  }}
}}
"""

REPLAY = """
local keys = {{{keys}}}
local n, file = 0, nil
local requests = {{}}
function init(args)
  for line in io.lines("{requests}") do requests[#requests + 1] = line end
end
function request()
  n = n + 1
  local line = requests[((n - 1) % #requests) + 1]
  local stamp, nonce, signature, body = line:match("^(%S+) (%S+) (%S+) (.*)$")
  return wrk.format("POST", "/pay/notify/wechat", {{
    ["Content-Type"] = "application/json", ["Wechatpay-Timestamp"] = stamp, ["Wechatpay-Nonce"] = nonce,
    ["Wechatpay-Signature"] = signature, ["Wechatpay-Serial"] = "{serial}",
    ["Wechatpay-Signature-Type"] = "WECHATPAY2-SHA256-RSA2048"}}, body)
end
"""

CREATE = """
local keys = {{{keys}}}
local n = 0
function request()
  n = n + 1
  return wrk.format("POST", "/pay/create", {{["Content-Type"] = "application/json",
    ["X-Api-Key"] = keys[(n % #keys) + 1]}}, '{{"description": "Tea", "amount": {{"total": 1200}}}}')
end
"""

POST_BARE = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = string.rep("x", 1000)
"""


def free_port() -> int:
    """Take a free port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Signer:
    """Signs and seals as WeChat does, with the throw-away platform key of a simulator directory."""

    def __init__(self, merchant: Merchant, folder: Path) -> None:
        self.merchant = merchant
        key = serialization.load_pem_private_key((folder / "wechat" / "pub_key_private.pem").read_bytes(), None)
        self.key: Any = key
        self.cipher = AESGCM(merchant.api_v3_key.encode())

    def sign(self, body: bytes) -> tuple[str, str, str]:
        """Return timestamp, nonce and signature of one message."""
        stamp, nonce = str(int(time.time())), secrets.token_hex(16)
        text = b"%s\n%s\n%s\n" % (stamp.encode(), nonce.encode(), body)
        signature = self.key.sign(text, padding.PKCS1v15(), hashes.SHA256())
        return stamp, nonce, base64.b64encode(signature).decode()

    def notification(self, out_trade_no: str, total: int) -> str:
        """Write one line for wrk: timestamp, nonce, signature, body."""
        plain = {
            "mchid": self.merchant.mchid, "appid": self.merchant.appid, "out_trade_no": out_trade_no,
            "transaction_id": f"4200{secrets.randbelow(10**24):024d}", "trade_type": "NATIVE",
            "trade_state": "SUCCESS", "trade_state_desc": "支付成功", "bank_type": "OTHERS", "attach": "",
            "success_time": "2026-11-23T13:05:09+08:00", "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
            "amount": {"total": total, "payer_total": total, "currency": "CNY", "payer_currency": "CNY"},
        }  # fmt: skip
        nonce = secrets.token_hex(6)
        sealed = self.cipher.encrypt(nonce.encode(), json.dumps(plain).encode(), b"transaction")
        body = json.dumps({
            "id": secrets.token_hex(16), "create_time": "2026-11-23T13:05:09+08:00",
            "resource_type": "encrypt-resource",
            "event_type": "TRANSACTION.SUCCESS", "summary": "支付成功",
            "resource": {"original_type": "transaction", "algorithm": "AEAD_AES_256_GCM", "nonce": nonce,
                         "associated_data": "transaction", "ciphertext": base64.b64encode(sealed).decode()},
        }, ensure_ascii=False)  # fmt: skip
        return " ".join((*self.sign(body.encode()), body))


class Wrk:
    """Runs wrk and reads its report."""

    def __init__(self, folder: Path, connections: int, seconds: int) -> None:
        self.folder, self.connections, self.seconds = folder, connections, seconds

    def run(self, url: str, script: str) -> dict[str, float]:
        """Load one URL; returns requests per second, milliseconds at p50/p99, and requests that failed."""
        path = self.folder / "load.lua"
        path.write_text(script)
        command = ["wrk", "-t1", f"-c{self.connections}", f"-d{self.seconds}s", "--latency", "-s", str(path), url]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        return {
            "per_second": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
            "requests": int(re.search(r"(\d+) requests in", text)[1]),
            "p50_ms": _ms(re.search(r"50%\s+([\d.]+\w+)", text)[1]),
            "p99_ms": _ms(re.search(r"99%\s+([\d.]+\w+)", text)[1]),
            "failed": int(failed[1]) if failed else 0,
        }


def _ms(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}[unit]


def start(command: list[str], log: Path, *, ready: bool) -> subprocess.Popen[str]:
    """Start a server; wait for its first line when it prints one."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log.open("w"), text=True)
    if ready and not process.stdout.readline():
        raise click.ClickException(f"{command[0]} did not start:\n{log.read_text()[-2000:]}")
    return process


def stop(process: subprocess.Popen[str]) -> None:
    """End a server."""
    process.send_signal(signal.SIGTERM)
    process.wait(30)


def write_config(folder: Path, merchant: Merchant, upstream: int, port: int, keys: list[str]) -> Path:
    """Write a live configuration whose WeChat is nginx."""
    config = {
        "mode": "live",
        "server": {"port": port},
        "storage": {"path": "payd.db"},
        "wechat_pay": {
            "app_id": merchant.appid, "mch_id": merchant.mchid, "merchant_serial_no": merchant.merchant_serial_no,
            "private_key_path": str(merchant.private_key_path), "api_v3_key": merchant.api_v3_key,
            "public_key_id": merchant.public_key_id, "public_key_path": str(merchant.public_key_path),
            "notify_url": f"http://127.0.0.1:{port}/pay/notify/wechat",
            "api_base": f"http://127.0.0.1:{upstream}", "api_base_backup": None,
        },
        "pay": {"api_keys": keys},
        "reconcile_enabled": False, "bills": {"enabled": False},
    }  # fmt: skip
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


def write_upstream(folder: Path, signer: Signer, port: int) -> Path:
    """Write nginx's configuration: one answer signed now, which is good for five minutes."""
    body = json.dumps({"code_url": "weixin://wxpay/bizpayurl?pr=bench0001"})
    stamp, nonce, signature = signer.sign(body.encode())
    headers = {
        "Wechatpay-Timestamp": stamp, "Wechatpay-Nonce": nonce, "Wechatpay-Signature": signature,
        "Wechatpay-Serial": signer.merchant.public_key_id, "Request-ID": "08BENCH-0",
        "Wechatpay-Signature-Type": "WECHATPAY2-SHA256-RSA2048",
    }  # fmt: skip
    lines = "\n      ".join(f'add_header {name} "{value}" always;' for name, value in headers.items())
    conf = folder / "nginx.conf"
    conf.write_text(NGINX.format(folder=folder, port=port, headers=lines, body=body))
    return conf


def start_upstream(folder: Path, signer: Signer, port: int) -> subprocess.Popen[str]:
    """Start nginx."""
    conf = write_upstream(folder, signer, port)
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    process = start([nginx, "-c", str(conf)], folder / "nginx.out", ready=False)
    wait_for(port)
    return process


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise click.ClickException(f"nothing listens on port {port}")


def counter(port: int, pattern: str) -> int:
    """Read one of the daemon's own counts; 0 when it has not counted that yet."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        found = re.search(pattern + r" (\S+)", answer.read().decode())
    return int(float(found[1])) if found else 0


class Bench:
    """The servers of one run, and the three loads upon them. All stay up; only one is loaded at a time."""

    def __init__(self, folder: Path, connections: int, *, say: Callable[[str], None]) -> None:
        self.folder, self.connections, self.say = folder, connections, say
        self.merchant = prepare_directory(folder / "keys")
        self.signer = Signer(self.merchant, folder / "keys")
        self.keys = [f"bench-key-{i:02d}-{secrets.token_hex(8)}" for i in range(KEYS)]
        self.names = ", ".join(f'"{key}"' for key in self.keys)
        self.port, self.upstream, self.bare_port = free_port(), free_port(), free_port()
        self._servers: list[subprocess.Popen[str]] = []
        self._created = 0.0  # in the last round
        self._notified = 0

    def __enter__(self) -> Bench:
        folder = self.folder
        config = write_config(folder, self.merchant, self.upstream, self.port, self.keys)
        bare = [sys.executable, "-c", BARE, str(self.bare_port)]
        daemon = [sys.executable, "-m", "payd", "serve", "--config", str(config)]
        self._servers.append(start(bare, folder / "bare.err", ready=True))
        self._servers.append(start_upstream(folder, self.signer, self.upstream))
        self._servers.append(start(daemon, folder / "payd.log", ready=True))
        return self

    def __exit__(self, *_ended: object) -> None:
        for server in reversed(self._servers):
            stop(server)

    def bare(self, seconds: int) -> dict[str, float]:
        """Load Tornado answering a POST with 204."""
        self.say("bare: Tornado answering a POST with 204 ...")
        return self._load(seconds, f"http://127.0.0.1:{self.bare_port}/", POST_BARE)

    def create(self, seconds: int) -> dict[str, float]:
        """Load create: two durable commits and one signed call each."""
        self.say("create: two durable commits, one signed call each ...")
        self._sign_again()
        result = self._load(seconds, f"http://127.0.0.1:{self.port}", CREATE.format(keys=self.names))
        self._created = result["requests"]
        unknown = counter(self.port, r'payd_wechat_requests_total\{operation="prepay",outcome="unknown"\}')
        if unknown:
            raise click.ClickException(f"{unknown} prepays were not believed: another path was measured")
        return result

    def _sign_again(self) -> None:
        """Have nginx answer with a fresh signature: one is good for five minutes."""
        write_upstream(self.folder, self.signer, self.upstream)
        self._servers[1].send_signal(signal.SIGHUP)
        time.sleep(0.5)  # the old worker ends its requests; there are none

    def notify(self, bare_per_second: float) -> dict[str, float]:
        """Load notify with first notifications for the orders of this round, as many as the time allows."""
        seconds = max(1, int(self._created / (NOTIFY_AT_MOST * bare_per_second)))
        numbers = open_orders(self.folder / "payd.db")[: int(self._created)]
        self.say(f"notify: signing a notification for each of the {len(numbers)} orders ...")
        requests = self.folder / "requests.txt"
        with requests.open("w") as file:
            for number in numbers:
                file.write(self.signer.notification(number, 1200) + "\n")
        self.say("notify: verify, decrypt, durable commit, 204 ...")
        script = REPLAY.format(keys=self.names, requests=requests, serial=self.merchant.public_key_id)
        result = self._load(seconds, f"http://127.0.0.1:{self.port}", script)
        self._notified += int(result["requests"])
        counted = counter(self.port, r'payd_notifications_total\{result="applied"\}')
        if counted < self._notified:
            raise click.ClickException(f"only {counted} of {self._notified} notifications were first ones")
        return result

    def _load(self, seconds: int, url: str, script: str) -> dict[str, float]:
        result = Wrk(self.folder, self.connections, seconds).run(url, script)
        if result["failed"]:
            raise click.ClickException(f"{url}: {result['failed']} requests failed; see {self.folder / 'payd.log'}")
        return result


def measure(folder: Path, connections: int, seconds: int, rounds: int, quiet: bool) -> dict[str, Any]:
    """Measure the three in turn, several times; each ratio is taken to the bare ones right before and behind it."""
    say = (lambda text: None) if quiet else (lambda text: click.echo(text, err=True))
    results: dict[str, list[dict[str, float]]] = {"bare": [], "create": [], "notify": []}
    ratios: dict[str, list[float]] = {"notify": [], "create": []}
    with Bench(folder, connections, say=say) as bench:
        before = bench.bare(seconds)
        results["bare"].append(before)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for name in ("create", "notify"):
                result = bench.create(3 * seconds) if name == "create" else bench.notify(before["per_second"])
                behind = bench.bare(seconds)
                base = (before["per_second"] + behind["per_second"]) / 2
                ratios[name].append(round(result["per_second"] / base, 3))
                results[name].append(result)
                results["bare"].append(behind)
                before = behind
    return {
        "connections": connections, "seconds": seconds, "rounds": rounds, "goals": GOALS,
        "ratio_of_bare": {name: round(statistics.median(found), 3) for name, found in ratios.items()},
        "ratios": ratios,
        "results": {name: _middle(found) for name, found in results.items()},
    }  # fmt: skip


def _middle(found: list[dict[str, float]]) -> dict[str, float]:
    """Take the median of each figure."""
    return {name: statistics.median(result[name] for result in found) for name in found[0]}


def open_orders(path: Path) -> list[str]:
    """Read the numbers of the orders that can be paid, newest first: payers pay what they have just ordered."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as books:
        open_ones = "SELECT out_trade_no FROM orders WHERE status = 'PAYING' ORDER BY created_at DESC"
        return [row[0] for row in books.execute(open_ones)]


def table(report: dict[str, Any]) -> str:
    """Write the report for people: medians over the rounds, and from where to where the ratios went."""
    lines = [f"{'':<10}{'per second':>12}{'of bare':>9}{'from - to':>15}{'goal':>7}{'p50 ms':>9}{'p99 ms':>9}"]
    for name, result in report["results"].items():
        ratio, goal = report["ratio_of_bare"].get(name, ""), report["goals"].get(name, "")
        found = report["ratios"].get(name)
        spread = f"{min(found):.2f} - {max(found):.2f}" if found else ""
        lines.append(
            f"{name:<10}{result['per_second']:>12.0f}{ratio:>9}{spread:>15}{goal:>7}"
            f"{result['p50_ms']:>9.1f}{result['p99_ms']:>9.1f}"
        )
    return "\n".join(lines)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--connections", default=64, show_default=True)
@click.option("--rounds", default=5, show_default=True, help="Each measures create and notify between bare ones.")
@click.option(
    "--seconds",
    default=3,
    show_default=True,
    help="Length of bare; create takes three times as long, for notify needs its orders.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
@click.option("--keep", type=click.Path(path_type=Path), help="Work in this folder and leave it there.")
def main(connections: int, rounds: int, seconds: int, as_json: bool, keep: Path | None) -> None:
    """Measure bare Tornado, create and notify in one run, durable (synchronous=FULL), and print the ratios."""
    for tool in ("wrk", "nginx"):
        if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin"):
            raise click.ClickException(f"{tool} is missing: apt-get install {tool}")
    folder = keep or Path(tempfile.mkdtemp(prefix="payd-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        report = measure(folder, connections, seconds, rounds, as_json)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    click.echo(json.dumps(report, indent=2) if as_json else table(report) + "\n" + json.dumps(report["ratio_of_bare"]))


if __name__ == "__main__":
    main()
