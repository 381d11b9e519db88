"""The command line of payd-dashboard. Exit codes: 0 ok, 2 usage, 75 temporary, 78 configuration."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import Any

import click

from dashboard.settings import KEY_VARIABLE, LANGUAGES, THEMES, Settings, SettingsError, read_key, settle
from dashboard.widgets.nav_bar import SCREENS

OK, TEMPORARY, CONFIGURATION = 0, 75, 78
_SIZE = re.compile(r"(\d{2,3})x(\d{1,3})")


def own_version() -> str:
    """The version of the installed distribution."""
    try:
        return version("payd")
    except PackageNotFoundError:
        return "unknown"


def _size(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(value)
    if match is None or not (20 <= int(match[1]) <= 400 and 5 <= int(match[2]) <= 200):
        raise click.BadParameter("must be COLSxROWS, between 20x5 and 400x200")
    return int(match[1]), int(match[2])


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"The API key comes from --key-file or the variable {KEY_VARIABLE}, never from an argument. Profiles are "
    "[profiles.NAME] tables in $XDG_CONFIG_HOME/payd/dashboard.toml with the keys url, key_file, ca_file, interval, "
    "readonly, theme, lang and label. Exit codes: 0 ok, 2 usage, 75 the daemon did not answer, 78 configuration.",
)
@click.option("--url", metavar="URL", help="Where the daemon listens.  [default: http://127.0.0.1:8080]")
@click.option("--key-file", metavar="FILE", help="File that holds the API key (chmod 600).")
@click.option("--ca-file", metavar="FILE", help="PEM file of the authority to trust for https.")
@click.option("--profile", metavar="NAME", help="Named settings from the configuration file.")
@click.option("--interval", type=float, metavar="SECONDS", help="Seconds between two polls.  [default: 2]")
@click.option("--readonly", is_flag=True, default=None, help="Leave out every key that changes something.")
@click.option("--record", metavar="FILE", help="Also write what is seen into a new file, as JSON lines.")
@click.option("--replay", metavar="FILE", help="Play a recording instead of asking a daemon.")
@click.option("--snapshot", metavar="FILE.svg", help="Draw one frame into a file and leave; needs no terminal.")
@click.option("--screen", type=click.Choice(SCREENS), default="overview", show_default=True, help="For --snapshot.")
@click.option(
    "--size", callback=_size, default="120x40", show_default=True, metavar="COLSxROWS", help="For --snapshot."
)
@click.option("--theme", type=click.Choice(THEMES), help="cb suits colour-blind eyes, mono has no colours.")
@click.option("--lang", type=click.Choice(LANGUAGES), help="Language.  [default: from LANG]")
@click.version_option(own_version(), prog_name="payd-dashboard")
def main(
    profile: str | None, record: str | None, replay: str | None, snapshot: str | None, screen: str,
    size: tuple[int, int], **options: Any,
) -> None:  # fmt: skip
    """A terminal dashboard for a payd daemon: money today, orders, refunds, callbacks, webhooks, health.

    It speaks only HTTP to the daemon and changes nothing without a typed confirmation.
    """
    if record and replay:
        raise click.UsageError("--record and --replay exclude each other")
    if snapshot is None and not (sys.stdout.isatty() and sys.stdin.isatty()):
        raise click.UsageError("this needs a terminal; --snapshot FILE.svg draws without one")
    try:
        settings = settle(options, os.environ, profile)
        sys.exit(_run(settings, record=record, replay=replay, snapshot=snapshot, size=size, screen=screen))
    except SettingsError as exc:
        for complaint in exc.complaints:
            click.echo(f"payd-dashboard: {complaint}", err=True)
        sys.exit(CONFIGURATION)


def _run(
    settings: Settings,
    *,
    record: str | None,
    replay: str | None,
    snapshot: str | None,
    size: tuple[int, int],
    screen: str,
) -> int:
    # Imported here so that --help and --version answer at once.
    from dashboard.api_client import ApiClient
    from dashboard.app import DashboardApp
    from dashboard.headless import render_svg
    from dashboard.recording import Recorder, ReplaySource, read_recording
    from dashboard.replay import ReplayPoller

    key, warning = (None, None) if replay else read_key(settings.key_file, os.environ)
    warnings = tuple(text for text in (warning, _clear_text(settings, key is not None)) if text)
    for text in warnings:
        click.echo(f"payd-dashboard: warning: {text}", err=True)
    frames = _opened(read_recording(Path(replay))) if replay else None
    recorder = Recorder(Path(record)) if record else None
    source = ReplaySource() if replay else ApiClient(settings.url, key, lang=settings.lang, ca_file=settings.ca_file)
    poller = ReplayPoller(frames, post=lambda frame: app.receive(frame)) if frames is not None else None
    app = DashboardApp(settings, source, replay=poller, recorder=recorder, polling=snapshot is None, warnings=warnings)
    try:
        if snapshot is None:
            app.run()
            return app.return_code or OK
        svg = asyncio.run(render_svg(app, size=size, screen=screen))
        _write(Path(snapshot), svg)
    finally:
        source.close()
        if recorder is not None:
            recorder.close()
    if replay is None and app.snapshot.link.state == "lost":
        failure = app.snapshot.link.failure
        click.echo(f"payd-dashboard: {settings.url}: {app.failure_words(failure) if failure else ''}", err=True)
        return TEMPORARY
    return OK


def _opened(frames: Iterator[Any]) -> Iterator[Any]:
    """The same frames; the first is read now, so that a wrong file is refused before the screen is taken."""
    first = next(frames, None)
    if first is None:
        raise SettingsError("replay: the recording is empty")
    return chain([first], frames)


def _write(path: Path, svg: str) -> None:
    try:
        path.write_text(svg, encoding="utf-8")
    except OSError as exc:
        raise SettingsError(f"snapshot: {path}: {exc.strerror}") from exc


def _clear_text(settings: Settings, has_key: bool) -> str | None:
    loopback = re.match(r"http://(127\.|localhost|\[::1\])", settings.url)
    if has_key and settings.url.startswith("http://") and not loopback:
        return f"the API key goes to {settings.url} unencrypted; use https or a tunnel"
    return None


if __name__ == "__main__":
    main()
