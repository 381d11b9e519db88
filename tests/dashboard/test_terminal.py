"""The program in a real terminal: tmux, keys sent, screens captured."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

DEADLINE_SECONDS = 40.0


class Terminal:
    """One tmux server of our own, on its own socket."""

    def __init__(self, folder: Path) -> None:
        self._socket = str(folder / "tmux")

    def tmux(self, *arguments: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name not in ("TMUX", "NO_COLOR")}
        environment |= {"LANG": "C.UTF-8", "TERM": "xterm-256color"}
        return subprocess.run(
            self._command(*arguments), capture_output=True, text=True, check=True, timeout=20, env=environment
        ).stdout

    def start(self, command: str, *, columns: int, rows: int) -> None:
        self.tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), command)

    async def shows(self, *words: str, without: str = "\0") -> str:
        """The screen, as soon as all the words are on it; fails with the last screen after the deadline."""
        loop, shown = asyncio.get_running_loop(), ""
        end = loop.time() + DEADLINE_SECONDS
        while loop.time() < end:
            shown = await loop.run_in_executor(None, self.tmux, "capture-pane", "-p")
            if all(word in shown for word in words) and without not in shown:
                return shown
            await asyncio.sleep(0.05)
        raise AssertionError(f"{words} not on screen:\n{shown}")

    async def ended(self) -> None:
        """Wait until the session is over, which it is when its program left."""
        loop = asyncio.get_running_loop()
        await asyncio.wait_for(loop.run_in_executor(None, self._outlive), DEADLINE_SECONDS)

    def _outlive(self) -> None:
        while subprocess.run(self._command("has-session"), capture_output=True, check=False).returncode == 0:
            time.sleep(0.05)

    def kill(self) -> None:
        """End the server, whatever runs in it."""
        subprocess.run(self._command("kill-server"), capture_output=True, check=False)

    def _command(self, *arguments: str) -> list[str]:
        return ["tmux", "-S", self._socket, "-f", "/dev/null", *arguments]

    async def press(self, *keys: str) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.tmux, "send-keys", *keys)


async def test_a_session_in_a_real_terminal(daemon: Any, tmp_path: Path) -> None:
    """Start, look around, filter, lose the daemon, get it back, quit: as an operator sees it in 80 by 24."""
    key, code = tmp_path / "key", tmp_path / "code"
    key.write_text(daemon.key)
    key.chmod(0o600)
    daemon.count(3, paid_fen=98765)
    daemon.lists["orders"][2]["description"] = "\x1b[2J[/red]"
    terminal = Terminal(tmp_path)
    command = (
        f"{sys.executable} -m dashboard --url {daemon.url} --key-file {key} --interval 0.5 --lang en; echo $? > {code}"
    )

    terminal.start(command, columns=80, rows=24)
    try:
        await terminal.shows("SANDBOX", "¥987.65", "linked", "Orders per minute")
        await terminal.press("2")
        await terminal.shows("shop-000003", "✗ FAILED", "◐ PAYING")
        await terminal.press("/")
        await terminal.shows("from:2026-11-01")
        await terminal.press("00000422")
        await terminal.shows("00000422")
        await terminal.press("BSpace", "BSpace")
        await terminal.shows("000004 ")
        await terminal.press("Enter")
        await terminal.shows("shop-000004", "filter: 000004")
        await terminal.press("Enter")
        await terminal.shows("Who said what", "req-1")
        await terminal.press("Escape")
        await terminal.shows("filter: 000004")
        await daemon.stop()
        await terminal.shows("LINK LOST: connection refused", "shop-000004")
        daemon.listen()
        await terminal.shows("● linked")
        await terminal.press("?")
        await terminal.shows("Keys", "Help")
        await terminal.press("Escape")
        await terminal.shows("shop-000004", without="Help")
        await terminal.press("q")
        await terminal.ended()
    finally:
        terminal.kill()

    assert code.read_text().strip() == "0"
