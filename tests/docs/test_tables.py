"""README.md says what the program has: nothing missing, nothing that is not there."""

from __future__ import annotations

import re
import subprocess
import sys

import click
import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from payd.cli import main as command_line
from payd.commands import exits
from payd.config import SCOPES, WEBHOOK_EVENTS, Config, WebhookConfig
from tests.docs.readme import PAGE, ROOT, rows, section

PAGES = [ROOT / "README.md", ROOT / "payd" / "README.md"]


def test_the_generated_tables_are_up_to_date():
    """After a change of routes, states, refusals, commands or metrics `scripts/make-readme` must be run."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make-readme"), "--check"], capture_output=True, text=True
    )

    assert (result.returncode, result.stderr) == (0, "")


def settings(model: type[BaseModel], above: str = ""):
    """List (dotted key, default) of every setting."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from settings(inner, f"{above}{name}.")
        else:
            yield above + name, field.get_default(call_default_factory=True)


def shown_default(key: str, value: object) -> str:
    """Write a default as the page does."""
    if value is PydanticUndefined:
        return "must be said"
    if value is None:
        return "-"
    if value == SCOPES:
        return "all"
    if value == ():
        return "`[]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value.get_secret_value() if hasattr(value, 'get_secret_value') else value}`"


def test_every_setting_is_in_the_table_with_its_default():
    """Key by key, in the program's order."""
    table = [row[:2] for row in rows(section("Configuration"))]

    assert table == [[f"`{key}`", shown_default(key, value)] for key, value in settings(Config)]


def test_the_members_of_a_webhook_entry_are_named():
    """The text below the table."""
    below = section("Configuration").split("An entry of `webhooks` has")[1]

    assert set(re.findall(r"`(\w+)`", below)) == set(WebhookConfig.model_fields)


def test_every_webhook_event_is_in_the_table():
    """In the program's order."""
    assert [row[0] for row in rows(section("Webhooks"))] == [f"`{event}`" for event in WEBHOOK_EVENTS]


def test_every_exit_code_is_in_the_table():
    """The documented ones of the command line."""
    told = {int(row[0]) for row in rows(section("Command line")) if row[0].isdigit()}

    assert told == {0, exits.FOUND, exits.USAGE, exits.INTERNAL, exits.TEMPORARY, exits.CONFIG}


def commands_named(text: str) -> set[tuple[str, ...]]:
    """Find ``payd word word --option`` wherever code is shown: in backticks, in fenced blocks."""
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    lines = [line for piece in code for line in piece.splitlines()]
    return {tuple(found[1].split()) for line in lines if (found := re.match(r"(?:\S*/bin/)?payd ([a-z].*)", line))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_every_command_on_the_page_exists(page):
    """Each with the options it is shown with."""
    named = commands_named(page.read_text())

    assert named
    assert [words for words in named if (wrong := _unknown(words)) and wrong] == []


def _unknown(words: tuple[str, ...]) -> str | None:
    command: click.Command = command_line
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        if rest[0] == "..." or "|" in rest[0]:
            break
        inner = command.commands.get(rest[0])
        if inner is None:
            return f"no command {rest[0]}"
        command, rest = inner, rest[1:]
    options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    return next((f"no option {word}" for word in rest if word.startswith("--") and word not in options), None)


def test_every_metric_on_the_page_exists():
    """Also those of the advice on alarms; a name that nobody exports never fires."""
    exported = {row[0].strip("`") for row in rows(section("Metrics"))}
    named = set(re.findall(r"\b((?:payd|pay_auth)_[a-z_]{4,})\b", section("Metrics")))

    assert named - {"pay_auth_"} <= exported


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_every_link_leads_somewhere(page):
    """Files beside the page, and headings on it."""
    text = page.read_text()
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    headings = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("https://")]
    dead = [
        link
        for link in links
        if not (link[1:] in headings if link.startswith("#") else (page.parent / link.partition("#")[0]).exists())
    ]

    assert len(links) >= 3
    assert dead == []


def test_the_demo_has_the_options_that_are_shown():
    """``scripts/demo --once`` and the others."""
    shown = set(re.findall(r"`scripts/demo (--\w+)`", PAGE))
    told = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "demo_show.py"), "--help"], capture_output=True, text=True, check=True
    ).stdout

    assert shown == {"--once", "--traffic"}
    assert [option for option in shown if option not in told] == []


def test_every_decision_has_its_number_once():
    """D1, D2, ... without a gap, and the code cites none that is not there."""
    map_page = (ROOT / "payd" / "README.md").read_text()
    numbers = [int(number) for number in re.findall(r"^\*\*D(\d+)\.", map_page, re.MULTILINE)]
    cited = {
        int(number)
        for path in (ROOT / "payd").rglob("*.py")
        for number in re.findall(r"\(D(\d{1,2})\)", path.read_text())
    }

    assert numbers == list(range(1, len(numbers) + 1))
    assert cited
    assert cited <= set(numbers)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_every_file_named_on_the_page_exists(page):
    """Paths in backticks: of this folder, of payd's, or of the whole tree."""
    named = set(re.findall(r"`((?:[\w-]+/)+[\w.-]*)`", page.read_text()))
    of_readers = {"bills/"}

    missing = {path for path in named - of_readers if not any((base / path).exists() for base in (ROOT, ROOT / "payd"))}

    assert missing == set()
