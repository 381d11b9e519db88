"""Tables line up in a terminal, and nothing from outside can play tricks in it."""

from __future__ import annotations

import click

from payd.commands import output


def test_columns_line_up_with_chinese_text():
    """A Chinese character takes two places, a combining mark none."""
    lines = [click.unstyle(line) for line in output.table(("A", "B"), [("一二", "x"), ("abc", "y"), ("e\u0301", "z")])]

    assert lines == ["A     B", "一二  x", "abc   y", "e\u0301     z"]
    assert [output.width_of(line) for line in lines] == [7, 7, 7, 7]


def test_coloured_words_line_up_too():
    """Colour codes take no place."""
    lines = output.table(("STATUS", "N"), [("ok", 1), ("problem", 2)])

    assert [click.unstyle(line) for line in lines] == ["STATUS   N", "ok       1", "problem  2"]
    assert lines[1] != click.unstyle(lines[1])


def test_control_characters_are_not_printed():
    """Escape codes, new lines and direction marks of a stored text become blanks."""
    assert output.printable("a\x1b[31mb\nc\u202ed") == "a [31mb c d"
    assert output.printable(None) == "-"


def test_fen_are_yuan_exactly():
    """No float comes near money."""
    written = [output.yuan(fen) for fen in (0, 5, 1205, -7, 100_000_000)]

    assert written == ["0.00", "0.05", "12.05", "-0.07", "1000000.00"]


def test_no_color_switches_colours_off(payd, sandbox_config):
    """NO_COLOR wins even where colours would be shown."""
    coloured = payd("check", "--config", sandbox_config, color=True)
    plain = payd("check", "--config", sandbox_config, color=True, env={"NO_COLOR": "1"})

    assert "\x1b[" in coloured.output
    assert "\x1b[" not in plain.output
    assert click.unstyle(coloured.output) == plain.output
