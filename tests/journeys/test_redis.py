"""Redis in front of the database: it may die, hang, forget or lie late; one order each, and nobody refused for ever."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest

from tests.faults.fault_proxy import SOUND, Fault, proxy_before
from tests.faults.redis_server import running_redis
from tests.journeys.house import until


def key():
    return {"Idempotency-Key": secrets.token_hex(8)}


@pytest.fixture
def redis_server():
    with running_redis() as server:
        yield server


@pytest.fixture
def proxy(redis_server):
    with proxy_before(redis_server.port) as made:
        yield made


@pytest.fixture
def locked_house(make_house, tmp_path):
    """Start a house whose lock is the Redis on a port; whatever is running at the end is stopped."""
    made = []

    def start(port, **changes):
        url = f"redis://127.0.0.1:{port}/0"
        made.append(make_house(tmp_path, use_redis_idempotency=True, redis={"url": url}, **changes).start())
        return made[-1]

    yield start
    for house in made:
        assert house.stop() == 0


def redis_up(house):
    """Let the lock be asked once, and see whether that went well."""
    assert house.create(headers=key()).status == 201
    return house.metric("payd_redis_up") == 1


def prepays(house, number):
    return house.book(number)["orders"][0]["prepay_count"]


class Background:
    """A request under way in a thread."""

    def __init__(self, ask):
        self.answer = None
        self._thread = threading.Thread(target=self._run, args=(ask,))
        self._thread.start()

    def _run(self, ask):
        try:
            self.answer = ask()
        except OSError as error:
            self.answer = error

    def end(self):
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.answer


def test_the_lock_is_held_while_a_command_runs_and_given_back(redis_server, locked_house):
    """In Redis while WeChat is being asked, with a lease under 25 s; gone with the answer; a replay asks for none."""
    house = locked_house(redis_server.port)
    headers = key()
    house.fault("prepay", "hang_after")
    first = Background(lambda: house.create(headers=headers))
    held = until(redis_server.locks, "the lock")
    running = house.create(headers=headers)
    ttl = redis_server.do("TTL", held[0])
    unclear = first.end()
    left = redis_server.locks()
    again = house.create(headers=headers)
    redis_server.do("CONFIG", "RESETSTAT")
    replay = house.create(headers=headers)

    assert len(held) == 1
    assert 0 < ttl <= 25
    assert (running.status, running.json["code"]) == (409, "idempotency_key_in_use")
    assert (unclear.status, left) == (202, [])
    assert again.status == 200
    assert again.json["out_trade_no"] == unclear.json["out_trade_no"]
    assert (replay.raw, replay.headers["idempotency-replayed"]) == (again.raw, "true")
    assert "cmdstat_set" not in redis_server.do("INFO", "commandstats")
    assert house.metric("payd_redis_up") == 1


def create_together(house, keys, *, kill, after):
    """Ask for every key at once, forty at a time; ``kill`` is done when ``after`` answers are there."""
    answers = []
    with ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(house.create, headers=headers) for headers in keys]
        for done in as_completed(asked):
            answers.append(done.result())
            if len(answers) == after:
                kill()
    return answers


def test_two_hundred_identical_creates_make_one_order_though_redis_is_killed_half_way(redis_server, locked_house):
    """The one that holds the lock finishes without it; everybody else hears "in use" or gets the replay."""
    house = locked_house(redis_server.port)
    headers = key()
    house.fault("prepay", "delay", seconds=0.7)
    answers = create_together(house, [headers] * 200, kill=redis_server.kill, after=20)
    lock_lost = house.metric("payd_redis_up") == 0
    after = house.create(headers=headers)
    redis_server.start()
    until(lambda: redis_up(house), "the lock's return")

    numbers = {a.json["out_trade_no"] for a in [*answers, after] if a.status == 201}
    codes = {a.json["code"] for a in answers if a.status != 201}
    assert lock_lost
    assert len(numbers) == 1
    assert codes <= {"idempotency_key_in_use", "rate_limited"}  # one key makes 500 requests a second
    assert (after.status, after.headers["idempotency-replayed"]) == (201, "true")
    assert prepays(house, numbers.pop()) == 1


def test_fifty_keys_make_fifty_orders_though_redis_is_killed_half_way(redis_server, locked_house):
    """Some had the lock, some lost it, some never got one: four requests each, one order each."""
    house = locked_house(redis_server.port)
    keys = [key() for _ in range(50)]

    answers = create_together(house, keys * 4, kill=redis_server.kill, after=40)
    lock_lost = house.metric("payd_redis_up") == 0
    afterwards = [house.create(headers=headers) for headers in keys]

    numbers = {a.json["out_trade_no"] for a in afterwards}
    assert lock_lost
    assert {a.status for a in afterwards} == {201}
    assert {a.json["code"] for a in answers if a.status != 201} <= {"idempotency_key_in_use", "rate_limited"}
    assert {a.json["out_trade_no"] for a in answers if a.status == 201} <= numbers
    assert len(numbers) == len(house.book()["orders"]) == 50


def test_dead_at_the_start(redis_server, locked_house):
    """payd starts and works without it, says so in its metrics, and uses it when it comes."""
    redis_server.kill()
    house = locked_house(redis_server.port)
    headers = key()

    first, again = house.create(headers=headers), house.create(headers=headers)
    down = house.metric("payd_redis_up")
    redis_server.start()
    until(lambda: redis_up(house), "the lock's return")

    assert (first.status, again.raw, down) == (201, first.raw, 0)
    assert prepays(house, first.json["out_trade_no"]) == 1


@pytest.mark.parametrize("accident", ["wiped", "restarted", "killed", "frozen"])
def test_an_accident_during_a_command_makes_no_second_order(redis_server, locked_house, accident):
    """The lock is lost while WeChat is being asked: the other one is still refused, the owner goes on, one order."""
    accidents = {
        "wiped": lambda: redis_server.do("FLUSHALL"),
        "restarted": redis_server.restart,
        "killed": redis_server.kill,
        "frozen": redis_server.freeze,
    }
    house = locked_house(redis_server.port)
    headers = key()
    house.fault("prepay", "hang_after")
    first = Background(lambda: house.create(headers=headers))
    until(redis_server.locks, "the lock")

    accidents[accident]()
    running = house.create(headers=headers)
    unclear = first.end()
    again = house.create(headers=headers)
    replay = house.create(headers=headers)

    assert (running.status, running.json["code"]) == (409, "idempotency_key_in_use")
    assert (unclear.status, again.status) == (202, 200)
    assert unclear.json["out_trade_no"] == again.json["out_trade_no"]
    assert replay.raw == again.raw
    assert len(house.book()["orders"]) == 1


@pytest.mark.parametrize(
    "fault",
    [Fault(latency_seconds=60), Fault(hang=True), Fault(drop_replies=True), Fault(cut_after=3), Fault(reset=True)],
    ids=["slow", "hung", "replies lost", "cut", "reset"],
)
def test_behind_a_bad_wire_orders_are_made_and_keys_keep_their_answer(redis_server, proxy, locked_house, fault):
    """Redis cannot be asked: 201, the replay, another body refused, one order each."""
    house = locked_house(proxy.port)
    proxy.set(fault)
    headers = key()

    first = house.create(headers=headers)
    again = house.create(headers=headers)
    other = house.create(amount={"total": 5}, headers=headers)

    assert (first.status, again.status, again.raw) == (201, 201, first.raw)
    assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")
    assert house.metric("payd_redis_up") == 0
    assert prepays(house, first.json["out_trade_no"]) == 1
    assert len(house.book()["orders"]) == 1


def test_the_owner_of_a_lock_whose_reply_was_lost_is_not_refused(redis_server, proxy, locked_house):
    """Redis holds the lock for us without our knowing: the repeat is carried out, not called a duplicate."""
    house = locked_house(proxy.port)
    headers = key()
    proxy.set(Fault(drop_replies=True))
    house.fault("prepay", "hang_after")
    unclear = house.create(headers=headers)
    (stranded,) = redis_server.locks()
    proxy.set(SOUND)
    until(lambda: redis_up(house), "the lock's return")
    still_there = stranded in redis_server.locks()

    again = house.create(headers=headers)

    assert unclear.status == 202
    assert still_there
    assert again.status == 200
    assert again.json["out_trade_no"] == unclear.json["out_trade_no"]
    assert redis_server.locks() == []


def test_the_lock_of_a_killed_daemon_ends_with_its_lease(redis_server, locked_house):
    """kill -9 in the middle: the retry hears "in use" until the lease is over, then goes on with the same order."""
    house = locked_house(redis_server.port, wechat_pay={"timeout_ms": 20000})
    headers = key()
    house.fault("prepay", "hang_after")
    first = Background(lambda: house.create(headers=headers))
    until(lambda: house.book()["orders"], "the prepay")
    (lock,) = redis_server.locks()
    house.process.end(signal.SIGKILL)
    cut_off = first.end()
    house.process = None
    house.start()

    refused = house.create(headers=headers)
    lease_ms = redis_server.do("PTTL", lock)
    redis_server.do("PEXPIRE", lock, 1)
    until(lambda: not redis_server.locks(), "the end of the lease")
    retried = house.create(headers=headers)

    assert isinstance(cut_off, OSError)
    assert (refused.status, refused.json["code"]) == (409, "idempotency_key_in_use")
    assert int(refused.headers["retry-after"]) >= 1
    assert 0 < lease_ms <= 25_000
    assert retried.status in (200, 201)
    assert [order["out_trade_no"] for order in house.book()["orders"]] == [retried.json["out_trade_no"]]


def test_a_url_that_is_none_is_said_at_the_start(make_house, tmp_path):
    """Exit 78 with the key's name, without the password."""
    house = make_house(tmp_path, use_redis_idempotency=True, redis={"url": "redis://:hush@127.0.0.1:x/0"})
    config = tmp_path / "config.json"
    config.write_text(json.dumps(house.config))

    ended = subprocess.run([sys.executable, "-m", "payd", "serve", "--config", str(config)], capture_output=True)

    assert ended.returncode == 78
    assert b"redis.url" in ended.stderr
    assert b"hush" not in ended.stderr + ended.stdout
    assert b"Traceback" not in ended.stderr
