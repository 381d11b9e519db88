"""What was seen can be seen again: recordings are whole, masked and refuse to lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dashboard.api_client import Action
from dashboard.app import DashboardApp
from dashboard.recording import Recorder, ReplaySource, read_recording
from dashboard.replay import ReplayPoller
from dashboard.settings import Settings, SettingsError

Text = Callable[[Any], str]


async def recorded(bench: Any, path: Path) -> list[Any]:
    """A short session with a loss and a restart, written to `path`; returns its snapshots."""
    recorder, seen = Recorder(path), []
    bench.daemon.lists["orders"][0] |= {"openid": "o-secret", "prepay_id": "wx-secret"}
    async with bench.running(recorder=recorder) as (app, pilot):
        await bench.press(app, pilot, "2")
        for number in (5, 9):
            bench.daemon.count(number, paid_fen=number * 100)
            await bench.tick(app, pilot, seconds=2)
            seen.append(app.snapshot)
        await bench.daemon.stop()
        await bench.tick(app, pilot, seconds=2)
        seen.append(app.snapshot)
        bench.daemon.epoch += 500
        bench.daemon.count(1, paid_fen=100)
        bench.daemon.listen()
        await bench.tick(app, pilot, seconds=2)
        seen.append(app.snapshot)
    recorder.close()
    return seen


async def test_a_recording_gives_back_every_snapshot(bench: Any, tmp_path: Path) -> None:
    """Times, links, failures, metrics and parts come back as they were, secrets masked."""
    seen = await recorded(bench, tmp_path / "day.jsonl")

    again = list(read_recording(tmp_path / "day.jsonl"))[-4:]

    for before, after in zip(seen, again, strict=True):
        assert (before.at, before.interval_seconds) == (after.at, after.interval_seconds)
        assert (before.link.state, before.link.failure, before.link.since) == (
            after.link.state,
            after.link.failure,
            after.link.since,
        )
        assert before.metrics.data.samples == after.metrics.data.samples
        assert (before.metrics.at, before.metrics.failure) == (after.metrics.at, after.metrics.failure)
        assert before.ready.data == after.ready.data
        numbers = [order["out_trade_no"] for order in before.parts["orders"].data["orders"]]
        assert numbers == [order["out_trade_no"] for order in after.parts["orders"].data["orders"]]
    text = (tmp_path / "day.jsonl").read_text()
    assert "o-secret" not in text
    assert "wx-secret" not in text
    assert bench.daemon.key not in text
    assert (tmp_path / "day.jsonl").stat().st_mode & 0o777 == 0o600


async def test_a_replay_shows_the_past_and_changes_nothing(bench: Any, text_of: Text, tmp_path: Path) -> None:
    """The frames stand on screen at their own time; actions are refused."""
    await recorded(bench, tmp_path / "day.jsonl")
    bench.daemon.requests.clear()
    poller = ReplayPoller(read_recording(tmp_path / "day.jsonl"), post=lambda frame: app.receive(frame))
    app = DashboardApp(Settings(), ReplaySource(), replay=poller, polling=False)

    async with app.run_test(size=(110, 30)) as pilot:
        shown = []
        while not poller.finished:
            await poller.poll_once()
            await pilot.pause()
            shown.append(text_of(app))
        outcome = await app.carry_out(Action("/pay/refund", {}, "k"))
        await pilot.press("2")
        await pilot.pause()
        orders = text_of(app)

    assert any("¥9.00" in text for text in shown)
    assert any("LINK LOST: connection refused" in text for text in shown)
    assert "restarted" in shown[-1]
    assert "STALE" not in shown[0]
    assert "shop-000003" in orders
    assert not outcome.accepted
    assert bench.daemon.requests == []


def test_a_recording_never_overwrites(tmp_path: Path) -> None:
    """Yesterday's evidence stays."""
    path = tmp_path / "day.jsonl"
    path.write_text("kept")

    with pytest.raises(SettingsError):
        Recorder(path)

    assert path.read_text() == "kept"


@pytest.mark.parametrize(
    "text",
    ["", "{}\n", "not json\n", '{"payd_dashboard_recording": 2}\n', '{"payd_dashboard_recording": 1}\n{"at": "x"}\n'],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, text: str) -> None:
    """A wrong or damaged file is named, not half played."""
    (tmp_path / "x").write_text(text)

    with pytest.raises(SettingsError):
        list(read_recording(tmp_path / "x"))


def test_a_torn_last_line_ends_the_recording(tmp_path: Path) -> None:
    """The recorder was killed in the middle of a line: what is whole is played."""
    link = {"state": "up", "since": 1.0, "failure": None, "attempts": 0}
    line = json.dumps({"at": 5.0, "interval": 2.0, "link": link, "parts": []})
    (tmp_path / "x").write_text('{"payd_dashboard_recording": 1}\n' + line + "\n" + line[:20])

    assert [snapshot.at for snapshot in read_recording(tmp_path / "x")] == [5.0]
