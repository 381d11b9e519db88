"""scripts/demo beside a demo that runs."""

from __future__ import annotations

import importlib.util
import os
import sys

import click
import pytest

from payd.storage.sqlite.connection import WriterLock


@pytest.fixture
def demo(pytestconfig, tmp_path, monkeypatch):
    """The program of scripts/demo, at work in a folder of the test's."""
    spec = importlib.util.spec_from_file_location("demo_show", pytestconfig.rootpath / "scripts" / "demo_show.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "demo_show", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "HOME", tmp_path / "demo")
    return module


def test_a_second_demo_names_the_first_and_touches_nothing(demo):
    """Who holds the books, where it listens, how to end it; the running demo's files stay as they are."""
    demo.HOME.mkdir()
    (demo.HOME / "config.json").write_text('{"server": {"port": 8123}}')
    (demo.HOME / "payd.log").write_text("what the first one says")
    lock = WriterLock(demo.HOME / "payd.db")
    before = {path.name: path.read_bytes() for path in demo.HOME.iterdir()}
    try:
        with pytest.raises(click.ClickException) as refused:
            demo.require_free_books()
    finally:
        lock.release()

    said = refused.value.format_message()
    for words in (f"process {os.getpid()}", "http://127.0.0.1:8123", f"kill {os.getpid()}", "Ctrl-C"):
        assert words in said
    assert {path.name: path.read_bytes() for path in demo.HOME.iterdir()} == before


def test_a_first_demo_is_not_in_its_own_way(demo):
    """Books that nobody holds are free, again and again, and before there are any."""
    demo.require_free_books()
    demo.require_free_books()

    WriterLock(demo.HOME / "payd.db").release()


@pytest.mark.parametrize("content", ["{", "[]", '{"pay": {}}', '{"pay": {"api_keys": []}}', '{"pay": null}'])
def test_a_config_that_no_demo_wrote_is_told_and_left_alone(demo, content):
    """Which file, and what to do; never a traceback. The folder is nobody else's: it holds a key and the books."""
    demo.require_free_books()
    config = demo.HOME / "config.json"
    config.write_text(content)

    with pytest.raises(click.ClickException, match=r"config\.json is not as an earlier demo wrote it") as refused:
        demo.write_config()

    assert "Remove it" in refused.value.format_message()
    assert config.read_text() == content
    assert demo.HOME.stat().st_mode & 0o077 == 0


def test_the_key_of_an_earlier_demo_is_kept(demo):
    """Commands that were copied from it still work."""
    demo.require_free_books()

    first, second = demo.write_config(), demo.write_config()

    assert first["pay"]["api_keys"] == second["pay"]["api_keys"]
