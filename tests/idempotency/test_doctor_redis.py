"""payd doctor: a Redis that is configured but cannot be used is found, with its cause and its cure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from payd.config import Config, load_config
from payd.doctor import examine_redis
from payd.findings import Finding, Level
from payd.system import SystemClock, SystemEntropy
from tests.faults.redis_server import RedisServer


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Config]:
    def make(**redis: Any) -> Config:
        path = tmp_path / "config.json"
        path.write_bytes(orjson.dumps({"mode": "sandbox", "use_redis_idempotency": True, "redis": redis}))
        return load_config(path, {})

    return make


async def examined(config: Config) -> Finding:
    (finding,) = await examine_redis(config, clock=SystemClock(), entropy=SystemEntropy())
    return finding


async def test_a_redis_that_can_be_used_is_said_to_be_well(redis_server: RedisServer, config: Any) -> None:
    """A lock is taken and given back; nothing stays there."""
    finding = await examined(config(url=redis_server.url, timeout_ms=2_000))

    assert (finding.level, finding.check) == (Level.OK, "redis.url")
    assert redis_server.do("DBSIZE") == 0


async def test_a_redis_that_does_not_answer_is_a_problem(redis_server: RedisServer, config: Any) -> None:
    """Nobody listens there."""
    redis_server.kill()

    finding = await examined(config(url=redis_server.url))

    assert (finding.level, finding.check) == (Level.PROBLEM, "redis.url")
    assert finding.cure


async def test_a_redis_that_takes_no_writes_is_a_problem(redis_server: RedisServer, config: Any) -> None:
    """It answers, but not as it should: a lock cannot be taken from a replica."""
    redis_server.do("REPLICAOF", "127.0.0.1", "1")

    finding = await examined(config(url=redis_server.url, timeout_ms=2_000))

    assert finding.level is Level.PROBLEM


async def test_a_url_that_is_none_is_a_problem_and_stays_secret(config: Any) -> None:
    """The password in it is not shown."""
    finding = await examined(config(url="redis://:hush@127.0.0.1:x/0"))

    assert (finding.level, finding.check) == (Level.PROBLEM, "redis.url")
    assert "hush" not in str(finding)


async def test_without_the_setting_redis_is_not_looked_for(tmp_path: Path) -> None:
    """Most have none."""
    path = tmp_path / "config.json"
    path.write_bytes(orjson.dumps({"mode": "sandbox"}))

    assert await examine_redis(load_config(path, {}), clock=SystemClock(), entropy=SystemEntropy()) == []
