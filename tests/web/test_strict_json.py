"""Strict JSON: everything two readers could disagree about is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from payd import limits
from payd.web.strict_json import JsonError, read_json

REFUSED = [
    (b"", "empty"),
    (b"  \n", "empty"),
    (b"{", "property name"),
    (b"{}x", "Extra data"),
    (b"{'a': 1}", "property name"),
    (b'{"a": 1,}', "property name"),
    (b'{"a": 01}', "delimiter"),
    (b'{"a": +1}', "Expecting value"),
    (b'{"a": .5}', "Expecting value"),
    (b'{"a": NaN}', "NaN"),
    (b'{"a": Infinity}', "Infinity"),
    (b'{"a": -Infinity}', "-Infinity"),
    (b'{"a": 1, "a": 1}', "same name"),
    (b'{"b": [{"a": 1, "\\u0061": 2}]}', "same name"),
    (b'\xef\xbb\xbf{"a": 1}', "byte order mark"),
    (b'{"a": "\xff"}', "UTF-8 at byte 7"),
    (b'{"a": "\xed\xa0\x80"}', "UTF-8"),
    (b'{"a": "\\ud800"}', "surrogate"),
    (b'{"\\uDC00": 1}', "surrogate"),
    (b'{"a": "\x00"}', "control character"),
    (b'{"a": "line\nbreak"}', "control character"),
    (b"\xff\xfe{\x00}\x00", "UTF-8"),
    (b"[" * 17 + b"]" * 17, "deeper"),
    (b'{"a":' * 17 + b"1" + b"}" * 17, "deeper"),
    (b"[" * 200_000, "deeper|members"),
    (b"[" + b"1," * 3_000 + b"1]", "members"),
    (b'{"a": "' + b'\\"' * 100_000 + b"[" * 20, "deeper|Unterminated"),
]


@pytest.mark.parametrize("raw, reason", REFUSED, ids=[repr(raw[:24]) for raw, _ in REFUSED])
def test_what_two_readers_read_differently_is_refused(raw, reason):
    """Every text outside strict JSON is refused, and the reason names why."""
    with pytest.raises(JsonError, match=reason):
        read_json(raw)


def test_the_reason_never_quotes_the_text():
    """A body may hold secrets: the reason says where, not what."""
    with pytest.raises(JsonError) as caught:
        read_json(b'{"card": 6222021234567890 oops}')

    assert "6222" not in str(caught.value)
    assert "oops" not in str(caught.value)


def test_brackets_in_strings_do_not_count_as_depth():
    """Text may hold any number of brackets and commas."""
    text = "[{" * 500 + '"\\' + "," * 5_000

    assert {"a": text} == read_json(json.dumps({"a": text}).encode())


def test_the_greatest_depth_is_allowed():
    """Sixteen levels are read, seventeen are not (above)."""
    depth = limits.JSON_DEPTH_MAX

    assert read_json(b"[" * depth + b"]" * depth)
    assert read_json(b'[[],{"a":[{}]},' + b"[[]]," * 20 + b"1]")


def test_an_integer_beyond_64_bits_stays_an_integer_beyond_every_bound():
    """A million digits cost nothing and are refused by the bound of the member, not by the reader."""
    assert read_json(b"9" * 100_000) > limits.INTEGER_MAX
    assert read_json(b"-" + b"9" * 100_000) < -limits.INTEGER_MAX
    assert read_json(str(limits.INTEGER_MAX).encode()) == limits.INTEGER_MAX


def test_a_whole_surrogate_pair_is_a_character():
    """Escaped characters beyond the basic plane are read."""
    assert read_json(b'{"a": "\\ud83d\\ude00"}') == {"a": "😀"}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(alphabet=st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='ab"\\[{,é😀'), inner, max_size=4),
    max_leaves=30,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
@example(-(10**18), True, None)  # nineteen digits and a sign
def test_what_json_writes_is_read_back(value, ascii_only, indent):
    """Every value written by a JSON writer is read as itself, or refused for its depth alone."""
    raw = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()

    try:
        read = read_json(raw)
    except JsonError as exc:
        refused = str(exc)
    else:
        assert value == read
        return

    assert "deeper" in refused


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\u0aD8-1eE.truefalsn \n').map(str.encode))
def test_nothing_but_a_json_error_comes_out(raw):
    """Whatever comes in, the reader answers with a value that can be written again or with JsonError."""
    try:
        value = read_json(raw)
    except JsonError:
        return

    assert json.dumps(value, ensure_ascii=False).encode()
