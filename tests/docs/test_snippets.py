"""The snippets for other languages: they parse, and where the language is installed they work against payd."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.readme import PAGE
from tests.journeys.house import until

FOLDER = Path(__file__).parent / "snippets"


@dataclass(frozen=True)
class Snippet:
    """A file, the language's own parser, how to run it, and the quotes its strings are written in."""

    name: str
    parse: tuple[str, ...]
    run: tuple[str, ...]
    quotes: str = "\"'`"

    @property
    def path(self) -> Path:
        return FOLDER / self.name

    @property
    def parser(self) -> str | None:
        return shutil.which(self.parse[0])


SNIPPETS = (
    Snippet("payd.php", ("php", "-l"), ("php",), quotes="\"'"),
    Snippet("payd.mjs", ("node", "--check"), ("node",)),
    Snippet("payd.go", ("gofmt", "-e", "-l"), ("go", "run"), quotes='"`'),
    Snippet("Payd.java", ("javac", "-proc:none", "-Xlint:all", "-Werror", "-d"), ("java",), quotes='"'),
)
INSTALLED = [snippet for snippet in SNIPPETS if shutil.which(snippet.run[0]) is not None]
PAIRS = {")": "(", "]": "[", "}": "{"}


def named(snippet: Snippet) -> str:
    return snippet.name


def unbalanced(snippet: Snippet) -> list[str]:
    """Name brackets and quotes that do not close. Far less than parsing: strings and comments are only passed over."""
    text = re.sub(r"/\*.*?\*/", "", snippet.path.read_text(), flags=re.DOTALL)
    for quote in snippet.quotes:
        text = re.sub(rf"{quote}(?:\\.|[^{quote}\\\n])*{quote}", "''", text)
    text = re.sub(r"(?<!:)//[^\n]*|(?<![\w)])/(?!/)[^/\n]+/(?=[,.)])", "", text).replace("''", "")
    wrong, opened = [], []
    for line, row in enumerate(text.splitlines(), 1):
        for char in row:
            if char in PAIRS.values():
                opened.append((char, line))
            elif char in snippet.quotes or (char in PAIRS and (not opened or opened.pop()[0] != PAIRS[char])):
                wrong.append(f"{char} in line {line}")
    return wrong + [f"{char} of line {line}" for char, line in opened]


@pytest.mark.parametrize("snippet", SNIPPETS, ids=named)
def test_brackets_and_quotes_close(snippet):
    """A check of brackets and quotes, no more: it does not show that the file parses."""
    assert unbalanced(snippet) == []


@pytest.mark.parametrize("snippet", [s for s in SNIPPETS if s.parser], ids=named)
def test_the_languages_own_parser_takes_it(snippet, tmp_path):
    """Only for the languages of this machine: php, node, gofmt, javac. The others are not in this test's list."""
    target = [str(tmp_path)] if "-d" in snippet.parse else []

    done = subprocess.run([*snippet.parse, *target, str(snippet.path)], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")


def run(snippet: Snippet, *words: str, secret: str = "", body: bytes = b"", reader) -> subprocess.CompletedProcess:
    environ = {
        **os.environ, "PAYD_URL": f"http://127.0.0.1:{reader.port}", "PAYD_KEY": reader.readme_key,
        "PAYD_WEBHOOK_SECRET": secret,
    }  # fmt: skip
    return subprocess.run(
        [*snippet.run, str(snippet.path), *words], input=body, capture_output=True, env=environ, timeout=60
    )


@pytest.mark.parametrize("snippet", INSTALLED, ids=named)
def test_it_creates_one_order_however_often(snippet, reader):
    """Only for the languages of this machine. The key is the order's number: a repeat is the same order."""
    number = f"SNIPPET-{snippet.path.suffix[1:]}"

    first = run(snippet, "create", number, "300", "Soy milk", reader=reader)
    again = run(snippet, "create", number, "300", "Soy milk", reader=reader)

    assert (first.returncode, first.stderr) == (0, b"")
    assert json.loads(first.stdout)["code_url"].startswith("weixin://")
    assert json.loads(again.stdout) == json.loads(first.stdout)
    assert reader.book(number)["orders"][0]["prepay_count"] == 1


@pytest.mark.parametrize("snippet", INSTALLED, ids=named)
def test_it_says_why_payd_refused(snippet, reader):
    """Only for the languages of this machine. The code and the request's id, and no order."""
    done = run(snippet, "create", f"REFUSED-{snippet.path.suffix[1:]}", "0", "Nothing", reader=reader)

    assert done.returncode != 0
    assert b"invalid_request" in done.stderr


@pytest.mark.parametrize("snippet", INSTALLED, ids=named)
def test_it_verifies_payds_webhooks(snippet, reader, mailbox):
    """Only for the languages of this machine. Genuine passes; another body, an old stamp, a foreign secret do not."""
    number = reader.paid()
    headers, body = until(lambda: mailbox.of(number), "the delivery")
    given = [headers["webhook-id"], headers["webhook-timestamp"], headers["webhook-signature"]]
    old = [given[0], str(int(given[1]) - 301), given[2]]
    foreign = "whsec_" + "A" * 32

    genuine = run(snippet, "verify", *given, secret=reader.secret, body=body, reader=reader)
    refused = [
        run(snippet, "verify", *given, secret=reader.secret, body=body.replace(b"PAID", b"FAIL"), reader=reader),
        run(snippet, "verify", *old, secret=reader.secret, body=body, reader=reader),
        run(snippet, "verify", *given, secret=foreign, body=body, reader=reader),
    ]

    assert (genuine.returncode, genuine.stderr) == (0, b"")
    assert b"order.paid" in genuine.stdout
    assert [done.returncode != 0 and not done.stdout for done in refused] == [True] * 3


def test_the_page_links_to_every_snippet():
    """And there is none besides."""
    linked = set(re.findall(r"tests/docs/snippets/([\w.]+)\)", PAGE))

    assert linked == {snippet.name for snippet in SNIPPETS} == {path.name for path in FOLDER.iterdir()}
