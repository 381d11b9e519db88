"""payd's own header fields say what Tornado's say, for any spelling of a name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from payd.http_headers import Headers

NAMES = st.sampled_from(["A", "X-Two", "Wechatpay-Serial"])
SPELLINGS = st.sampled_from([str.lower, str.upper, str.title, lambda name: name])
LINES = st.lists(st.tuples(NAMES, SPELLINGS, st.text("abc,;=", max_size=5)), max_size=6)


@given(LINES, NAMES, SPELLINGS)
def test_names_are_found_in_any_spelling_and_repeated_ones_are_joined(lines, asked, spelling):
    """RFC 9110, 5.2: a list of values in the order in which they came."""
    ours, tornados = Headers(), HTTPHeaders()
    for name, spelled, value in lines:
        ours.add(spelled(name), value)
        tornados.add(spelled(name), value)

    name = spelling(asked)
    assert ours.get(name) == tornados.get(name)
    assert (name in ours) == (name in tornados)
    assert ours.get(name, "-") == tornados.get(name, "-")
    assert Headers.of({spelling(key): value for key, value in ours.items()}) == ours
