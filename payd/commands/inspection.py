"""``payd check`` and ``payd doctor``: what is wrong, why, and what to do about it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from payd.commands import output
from payd.commands.exits import CONFIG, FOUND, debugging
from payd.commands.options import config_option, json_option

if TYPE_CHECKING:
    from payd.checkup import Checkup
    from payd.config import Config
    from payd.findings import Finding

#: The order in which findings are printed.
SEVERITY: Final = ("ok", "note", "problem")


@click.command()
@config_option
@json_option
def check(config_path: Path, as_json: bool) -> None:
    """Check configuration and keys, offline.

    Opens keys, certificates and the database file, never the network. Prints the effective values, secrets masked,
    and then everything that is wrong at once: what must be mended stands last, right above the prompt. Changes
    nothing. Exits 78 when payd could not or should not be started like this.
    """
    found = _offline(config_path)
    if as_json:
        output.say_json(_view(found.findings, found.good, found.shown))
    else:
        if found.shown:
            output.say([*output.table(("SETTING", "VALUE"), list(_flat(found.shown))), ""])
        _say(found.findings)
        if found.good:
            output.say(f"\n{config_path}: {_count(found.findings)}")
        else:
            click.echo(f"\n{config_path}: {_count(found.findings)}; payd should not be started like this", err=True)
    if not found.good:
        sys.exit(CONFIG)


@click.command()
@config_option
@json_option
def doctor(config_path: Path, as_json: bool) -> None:
    """Find out what is wrong and how to mend it.

    Each finding has a cause and a cure. Does what `payd check` does; then measures the clock against WeChat, proves
    signing, verification and encryption in a round trip that moves no money, compares the keys, looks at notify_url
    and at the running daemon. In mode sandbox it speaks to the simulator. Exits 1 when something was found, 78 when
    there is no configuration to begin with.
    """
    found = _offline(config_path)
    findings = [*found.findings, *_online(found)]
    good = all(finding.level.value != "problem" for finding in findings)
    if as_json:
        output.say_json(_view(findings, good, found.shown))
    else:
        _say(findings, where=sys.stdout)
        output.say(f"\n{_count(findings)}")
    if not good:
        sys.exit(CONFIG if found.config is None else FOUND)


def _offline(config_path: Path) -> Checkup:
    from payd.checkup import Checkup, check_offline
    from payd.commands.execution import remove_traces
    from payd.logs import configure_logs
    from payd.system import SystemClock

    configure_logs(level="debug" if debugging() else "error", form="console")
    found = check_offline(config_path, os.environ, now=SystemClock().now())
    if found.config is None:
        return found
    remove_traces(found.config.storage.path)
    if found.config.livemode:
        return found
    return Checkup(found.config, [*found.findings, _simulator_folder(found.config)], found.shown)


def _simulator_folder(config: Config) -> Finding:
    """Look at the throw-away merchant of mode sandbox; makes nothing."""
    from payd.findings import ok, problem
    from payd.sandbox.errors import DirectoryRefused
    from payd.sandbox.merchant import MARKER, load_merchant

    folder = config.sandbox.dir
    if not folder.exists() or not any(folder.iterdir()):
        return ok("keys", f"throw-away keys will be made in {folder}")
    if not (folder / MARKER).exists():
        return ok("keys", f"throw-away keys will be made in {folder} unless key files of others are there")
    try:
        merchant = load_merchant(folder)
    except DirectoryRefused as exc:
        return problem("sandbox.dir", str(exc), "name an empty folder in sandbox.dir")
    return ok("keys", f"throw-away merchant {merchant.mchid} in {folder}")


def _online(found: Checkup) -> list[Finding]:
    """Do the online half; a configuration or keys that cannot be used have been reported by the offline half."""
    from payd.commands.execution import reach_gateway, run
    from payd.doctor import examine
    from payd.errors import ConfigError, KeyMaterialError
    from payd.findings import note
    from payd.sandbox.errors import SandboxError
    from payd.system import SystemClock, SystemEntropy

    config = found.config
    skipped = note("online", "not looked at: payd cannot speak to WeChat before the rest is mended")
    if config is None:
        return [skipped]

    async def work() -> list[Finding]:
        async with reach_gateway(config) as gateway:
            return await examine(config, gateway.settings, clock=SystemClock(), entropy=SystemEntropy())

    try:
        return run(work())
    except (ConfigError, KeyMaterialError, SandboxError):
        if found.good:
            raise
        return [skipped]


def _view(findings: list[Finding], good: bool, shown: dict[str, Any]) -> dict[str, Any]:
    return {"ok": good, "findings": [finding.view() for finding in findings], "effective": shown}


def _say(findings: list[Finding], where: Any = None) -> None:
    """Print one line a finding, the cure below; what needs a person most comes last, where the eye is.

    Problems go to standard error unless ``where`` says otherwise.
    """
    width = max(len(finding.check) for finding in findings)
    for finding in sorted(findings, key=lambda finding: SEVERITY.index(finding.level.value)):
        bad = finding.level.value == "problem"
        stream = where or (sys.stderr if bad else sys.stdout)
        mark = output.coloured(finding.level.value) + " " * (7 - len(finding.level.value))
        click.echo(f"{mark}  {finding.check:{width}}  {output.printable(finding.cause)}", file=stream)
        if finding.cure:
            click.echo(f"{'':7}  {'':{width}}  cure: {output.printable(finding.cure)}", file=stream)


def _count(findings: list[Finding]) -> str:
    """Say in a few words what must be mended and what should be known."""
    levels = [finding.level.value for finding in findings]
    parts = [
        f"{number} {word}{'s' if number > 1 else ''}" for word in ("problem", "note") if (number := levels.count(word))
    ]
    return ", ".join(parts if "problem" in levels else ["nothing is wrong", *parts])


def _flat(shown: dict[str, Any], above: str = "") -> Any:
    """Yield (dotted key, value) of nested settings, in the order of the documentation."""
    for name, value in shown.items():
        if isinstance(value, dict) and value and above == "":
            yield from _flat(value, f"{name}.")
        else:
            yield f"{above}{name}", _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        import json

        return json.dumps(value, ensure_ascii=False)
    return "-" if value is None else str(value)
