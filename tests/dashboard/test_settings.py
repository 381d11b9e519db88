"""Options over profile over defaults; every complaint at once; the key never where others read it."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dashboard.__main__ import main
from dashboard.settings import PROFILE_KEYS, SettingsError, language_of, read_key, settle

PROFILE = """
[profiles.shop]
url = "https://pay.example:8443/"
key_file = "shop.key"
interval = 5
readonly = true
theme = "payd-cb"
label = "Main shop"
"""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment with a profile file."""
    (tmp_path / "payd").mkdir()
    (tmp_path / "payd" / "dashboard.toml").write_text(PROFILE)
    (tmp_path / "payd" / "shop.key").write_text("secret-key-1\n")
    return {"XDG_CONFIG_HOME": str(tmp_path), "LANG": "zh_CN.UTF-8"}


def test_a_profile_stands_under_the_options(home: dict[str, str]) -> None:
    """What is said on the command line wins; the rest comes from the profile; files are relative to it."""
    settings = settle({"interval": 1.0, "theme": None}, home, "shop")

    assert settings.url == "https://pay.example:8443"
    assert (settings.interval, settings.theme, settings.readonly, settings.lang) == (1.0, "payd-cb", True, "zh")
    assert settings.key_file == str(Path(home["XDG_CONFIG_HOME"]) / "payd" / "shop.key")


def test_without_a_profile_the_defaults_hold() -> None:
    """Loopback, two seconds, English."""
    settings = settle({}, {}, None)

    assert (settings.url, settings.interval, settings.lang) == ("http://127.0.0.1:8080", 2.0, "en")


def test_all_complaints_come_at_once() -> None:
    """A wrong setting does not hide the next."""
    with pytest.raises(SettingsError) as caught:
        settle({"url": "ftp://x", "interval": 0.0, "theme": "pink", "ca_file": "/nowhere"}, {}, None)

    assert [text.partition(":")[0] for text in caught.value.complaints] == ["url", "interval", "theme", "ca_file"]


@pytest.mark.parametrize("url", ["http://user:pw@host", "http://host/?key=1", "host:8080", "http://", "http://h:99999"])
def test_a_url_carries_no_secret_and_is_whole(url: str) -> None:
    """Names and passwords in addresses end up in logs."""
    with pytest.raises(SettingsError):
        settle({"url": url}, {}, None)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("profiles = 1", "no profile"),
        ("[profiles.other]", "known: other"),
        ("[profiles.shop]\nkey = 'x'", "unknown key"),
        ("[profiles.shop]\nreadonly = 'yes'", "must be bool"),
        ("[profiles.shop]\ninterval = true", "must be float"),
        ("not toml", "dashboard.toml"),
    ],
)
def test_a_wrong_profile_is_refused_by_name(home: dict[str, str], text: str, word: str) -> None:
    """The file and the key are named."""
    (Path(home["XDG_CONFIG_HOME"]) / "payd" / "dashboard.toml").write_text(text)

    with pytest.raises(SettingsError, match=word):
        settle({}, home, "shop")


@pytest.mark.parametrize(
    ("environment", "lang"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LC_ALL": "C", "LANG": "zh_CN"}, "en"),
        ({"LC_MESSAGES": "zh_TW"}, "zh"),
    ],
)
def test_the_language_follows_the_locale(environment: dict[str, str], lang: str) -> None:
    """The strongest set variable decides."""
    assert language_of(environment) == lang


def test_the_key_comes_from_its_file_before_the_environment(tmp_path: Path) -> None:
    """And a file that others can read is warned about."""
    path = tmp_path / "key"
    path.write_text(" from-file-1 \n")
    path.chmod(0o644)

    key, warning = read_key(str(path), {"PAYD_DASHBOARD_KEY": "from-environment"})
    from_environment, _ = read_key(None, {"PAYD_DASHBOARD_KEY": "from-environment"})

    assert key is not None
    assert key.header() == {"X-Api-Key": "from-file-1"}
    assert warning is not None
    assert "chmod 600" in warning
    assert from_environment is not None
    assert from_environment.header() == {"X-Api-Key": "from-environment"}
    assert read_key(None, {}) == (None, None)
    path.chmod(0o600)
    assert read_key(str(path), {})[1] is None


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe", b"line\r\nsecond", b"a\x00b"])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """Nothing that could break a header is taken for a key."""
    (tmp_path / "key").write_bytes(content)

    with pytest.raises(SettingsError):
        read_key(str(tmp_path / "key"), {})


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--help"], 0, "--key-file"),
        (["--version"], 0, "payd-dashboard"),
        (["--nonsense"], 2, "No such option"),
        (["--theme", "pink"], 2, "payd-mono"),
        ([], 2, "needs a terminal"),
        (["--record", "a", "--replay", "b"], 2, "exclude each other"),
        (["--snapshot", "x.svg", "--size", "wide"], 2, "COLSxROWS"),
        (["--snapshot", "x.svg", "--url", "ftp://x"], 78, "url"),
        (["--snapshot", "x.svg", "--key-file", "/nowhere/key"], 78, "/nowhere/key"),
        (["--snapshot", "x.svg", "--profile", "none"], 78, "no profile"),
        (["--snapshot", "x.svg", "--replay", "/nowhere/file"], 78, "/nowhere/file"),
        (["--snapshot", "/nowhere/x.svg", "--url", "http://127.0.0.1:1"], 78, "/nowhere/x.svg"),
        (["--snapshot", "x.svg", "--url", "http://127.0.0.1:1"], 75, "connection refused"),
    ],
)
def test_the_command_line_answers_with_the_right_code(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    """0 ok, 2 usage, 75 temporary, 78 configuration; the complaint names its cause."""
    placed = [str(tmp_path / argument) if argument == "x.svg" else argument for argument in arguments]

    # In a thread of its own: the command runs an event loop, and must not disturb the one other tests share.
    with ThreadPoolExecutor(1) as thread:
        environment = {"LANG": "C", "XDG_CONFIG_HOME": str(tmp_path)}
        result = thread.submit(CliRunner().invoke, main, placed, env=environment).result()

    assert result.exit_code == code
    assert words in result.output


def test_help_tells_of_every_setting() -> None:
    """No option without a word, no profile key unmentioned, and no option that takes a key itself."""
    text = CliRunner().invoke(main, ["--help"]).output

    assert [key for key in PROFILE_KEYS if key not in text.replace("-", "_")] == []
    assert {
        option.name for option in main.params if isinstance(option.name, str) and option.name.endswith("key")
    } == set()


async def test_a_snapshot_is_drawn_without_a_terminal_and_holds_no_key(
    daemon: Any, tmp_path: Path, io_loop: Any
) -> None:
    """One frame as SVG from a real process, with exit code 0."""
    key = tmp_path / "key"
    key.write_text(daemon.key)
    key.chmod(0o600)
    picture = tmp_path / "frame.svg"
    command = [sys.executable, "-m", "dashboard", "--url", daemon.url, "--key-file", str(key)]
    command += ["--snapshot", str(picture), "--screen", "orders", "--size", "100x30"]

    done = await io_loop.run_in_executor(
        None,
        lambda: subprocess.run(command, capture_output=True, text=True, timeout=50, env=os.environ | {"LANG": "C"}),
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    svg = picture.read_text("utf-8")
    assert svg.startswith("<svg")
    assert "shop-000003" in svg
    assert daemon.key not in svg
