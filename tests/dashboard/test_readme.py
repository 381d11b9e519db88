"""The README tells of every option, key, theme and picture there is."""

from __future__ import annotations

import re
from pathlib import Path

import dashboard
from dashboard.__main__ import main
from dashboard.keys import KEYS
from dashboard.settings import PROFILE_KEYS, THEMES

FOLDER = Path(dashboard.__file__).parent
README = (FOLDER / "README.md").read_text("utf-8")


def test_every_option_theme_and_key_is_told() -> None:
    """What the program knows, its page knows."""
    options = [name for parameter in main.params for name in parameter.opts if name.startswith("--")]
    single = {part for key, _, _ in KEYS for part in (key.split("/") if len(key) > 1 else [key])} - {"1-9", ""}

    assert [name for name in (*options, *THEMES) if f"`{name}" not in README] == []
    assert [key for key in single if f"`{key}`" not in README] == []
    assert [key for key in PROFILE_KEYS if key not in README] == []


def test_every_picture_is_there_and_shown() -> None:
    """No dead picture, none unused, none that fetches anything."""
    shown = set(re.findall(r"\(pictures/([\w-]+\.svg)\)", README))

    assert shown == {path.name for path in (FOLDER / "pictures").iterdir()}
    for name in shown:
        urls = re.findall(r"https?://[^\"' <]+", (FOLDER / "pictures" / name).read_text("utf-8"))
        assert {url for url in urls if "w3.org" not in url and "textualize.io" not in url} == set()
