"""Runs the simulator as a program of its own until a signal ends it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from payd.sandbox.server import Sandbox
from payd.sandbox.switches import Switches


def run_alone(
    directory: Path,
    *,
    host: str,
    port: int,
    backup_port: int | None,
    seed: int | None,
    persist: bool,
    switches: dict[str, Any],
    announce: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT, then return. Raises SandboxError when it cannot begin."""
    simulator = Sandbox(
        directory,
        host=host,
        port=port,
        backup_port=backup_port,
        seed=seed,
        persist=persist,
        switches=Switches().changed(switches),
    )
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(simulator, directory, announce))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed; None is asyncio's own loop, which works as well and slower."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(simulator: Sandbox, directory: Path, announce: Callable[[str], None]) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await simulator.start()
    try:
        backup = f" and {simulator.backup_url}" if simulator.has_backup else ""
        announce(
            f"payd sandbox: WeChat Pay v3 simulator for merchant {simulator.merchant.mchid} listening on "
            f"{simulator.base_url}{backup}{_warning(directory, simulator.base_url)}"
        )
        await ended.wait()
    finally:
        await simulator.stop()


def _warning(directory: Path, base_url: str) -> str:
    """What to tell when the ready config.json still points elsewhere; it is never rewritten."""
    try:
        settings = json.loads((directory / "config.json").read_bytes())
        api_base = settings["wechat_pay"]["api_base"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return "" if api_base == base_url else f" (note: {directory / 'config.json'} says {api_base})"
