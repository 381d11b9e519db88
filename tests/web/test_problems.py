"""The catalogue of refusals: complete, in both languages, and what every refusal in the code is answered with."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import payd
from payd.errors import Complaint, RequestError
from payd.web.issues import ISSUES, issue, translate_issue
from payd.web.problems import (
    CATALOGUE,
    PROBLEMS,
    STANDARD_MEMBERS,
    catalogue_table,
    language_of,
    problem_document,
)

#: Contract 1.7 and the conflicts of 1.1-1.5, by status.
CONTRACT = {
    400: {"invalid_json", "invalid_request"},
    401: {"missing_api_key", "invalid_api_key"},
    403: {"scope_denied"},
    404: {"not_found", "order_not_found", "refund_not_found"},
    405: {"method_not_allowed"},
    409: {"out_trade_no_used", "order_paid", "out_refund_no_used", "order_not_paid", "refund_window_closed",
          "refund_exceeds_paid", "refund_limit_reached", "refund_too_soon", "idempotency_key_in_use"},
    413: {"body_too_large"},
    415: {"unsupported_media_type"},
    422: {"wechat_refused", "idempotency_key_reused"},
    429: {"rate_limited"},
    500: {"internal_error"},
    503: {"api_key_not_configured", "storage_unavailable", "draining"},
}  # fmt: skip


def raised_in_code():
    """Find every RequestError(...) in the program: its code and the names of its parameters."""
    for path in sorted(Path(payd.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "RequestError":
                yield path.name, node.lineno, node.args[0], {keyword.arg for keyword in node.keywords}


def document(code, language="en", **more):
    return problem_document(RequestError(code, **more), request_id="r1", language=language)


def test_the_catalogue_has_exactly_the_codes_of_the_contract():
    """No code is missing, none is invented, each has its status."""
    found = {}
    for problem in PROBLEMS:
        found.setdefault(problem.status, set()).add(problem.code)

    assert found == CONTRACT
    assert len(CATALOGUE) == len(PROBLEMS)


def test_every_refusal_in_the_code_is_in_the_catalogue():
    """A code that is raised has an entry."""
    raised = [(name, line, code.value) for name, line, code, _ in raised_in_code() if isinstance(code, ast.Constant)]

    assert raised
    assert [place for place in raised if place[2] not in CATALOGUE] == []


def test_a_refusal_in_the_core_fills_its_detail():
    """Where the numbers are known, they are handed over: the parameters of the detail are those that are raised."""
    known = {"complaints", "retry_after", "extra"}
    missing = [
        (name, line, code.value, CATALOGUE[code.value].params - given)
        for name, line, code, given in raised_in_code()
        if isinstance(code, ast.Constant) and code.value.startswith("refund_") and CATALOGUE[code.value].params - given
    ]

    assert missing == []
    assert not known & {param for problem in PROBLEMS for param in problem.params}


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.code)
def test_every_problem_speaks_both_languages(problem):
    """Title and detail exist in both, name the same parameters, and the Chinese is Chinese."""
    values = dict.fromkeys(problem.params, "7")

    english = problem_document(RequestError(problem.code, **values), request_id="r1", language="en")[2]
    chinese = problem_document(RequestError(problem.code, **values), request_id="r1", language="zh")[2]

    assert english["title"].isascii()
    assert english["detail"].isascii()
    assert any("\u4e00" <= char <= "\u9fff" for char in chinese["title"])
    assert any("\u4e00" <= char <= "\u9fff" for char in chinese["detail"])
    assert "{" not in english["detail"] + chinese["detail"]
    for member in set(STANDARD_MEMBERS) - {"title", "detail"}:
        assert english[member] == chinese[member]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.code)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_missing_parameters_never_break_an_answer(problem, language):
    """A refusal that was raised without its numbers says its title twice."""
    status, _, body = document(problem.code, language)

    assert status == problem.status == body["status"]
    assert body["detail"]
    assert not problem.params or body["detail"] == body["title"]


def test_the_document_has_the_members_of_the_contract():
    """All standard members always, further ones beside them, in neither language anything else."""
    status, headers, body = document(
        "refund_exceeds_paid", refund=500, refundable=300, extra={"refundable": 300, "status": 200, "code": "ok"}
    )

    assert status == 409
    assert body == {
        "type": "/docs#problem-refund_exceeds_paid",
        "title": "The refund exceeds what was paid",
        "status": 409,
        "detail": "500 fen were asked for; 300 fen can be refunded.",
        "code": "refund_exceeds_paid",
        "retryable": False,
        "request_id": "r1",
        "errors": [],
        "refundable": 300,
    }
    assert headers["Content-Type"] == "application/problem+json"
    assert "Retry-After" not in headers


def test_headers_follow_the_problem():
    """Retry-After where waiting helps, WWW-Authenticate with 401, Allow with 405, the language always."""
    assert document("refund_too_soon", retry_after=17, seconds=17)[1]["Retry-After"] == "17"
    assert document("rate_limited", retry_after=0)[1]["Retry-After"] == "1"
    assert document("idempotency_key_in_use")[1]["Retry-After"] == "1"
    assert document("invalid_api_key")[1]["WWW-Authenticate"].startswith("Bearer")
    assert document("method_not_allowed", method="PUT", allowed="GET, POST")[1]["Allow"] == "GET, POST"
    assert document("draining", "zh")[1]["Content-Language"] == "zh-CN"
    assert document("draining")[1]["Vary"] == "Accept-Language"


def test_every_retryable_conflict_and_limit_says_when():
    """Whoever may try again is told when."""
    for problem in PROBLEMS:
        if problem.retryable and problem.status != 500:
            assert "Retry-After" in document(problem.code)[1]
        if not problem.retryable:
            assert "Retry-After" not in document(problem.code)[1]


def test_an_unknown_code_is_a_programmers_mistake():
    """It is not answered with anything made up."""
    with pytest.raises(KeyError):
        document("no_such_code")


# -- issues -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ISSUES)
def test_every_issue_is_translated_by_its_text(name):
    """The English text alone is enough to find the Chinese, with the same values in it."""
    english, chinese = ISSUES[name]
    names = {part.split("}")[0] for part in english.split("{")[1:]}
    values = {key: f"v{index}" for index, key in enumerate(sorted(names))}

    text = issue(name, **values)

    assert translate_issue(text, "en") == text
    assert translate_issue(text, "zh") == chinese.format_map(values)
    assert names == {part.split("}")[0] for part in chinese.split("{")[1:]}


def test_a_foreign_issue_stays_as_it_is():
    """A text without an entry is shown, not swallowed."""
    body = document("invalid_request", "zh", complaints=[Complaint("a", "is odd"), Complaint("b", "is required")])[2]

    assert body["errors"] == [{"field": "a", "issue": "is odd"}, {"field": "b", "issue": "必填"}]


# -- the language -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header, language",
    [
        (None, "en"),
        ("", "en"),
        ("en", "en"),
        ("zh", "zh"),
        ("ZH-cn", "zh"),
        ("zh-Hans-CN", "zh"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh-CN;q=0.8", "en"),
        ("en;q=0.5, zh;q=0.6", "zh"),
        ("en, zh", "en"),
        ("zh, en", "zh"),
        ("fr, zh;q=0.1", "zh"),
        ("fr", "en"),
        ("*", "en"),
        ("en;q=0, *", "zh"),
        ("zh;q=0", "en"),
        ("*;q=0.5, zh;q=0.4", "en"),
        ("zh;q=2", "en"),
        ("zh;q=x, en", "en"),
        (";;;,,,q=,zh", "zh"),
        ("zhongwen", "en"),
        ("zh" * 5000, "en"),
    ],
)
def test_the_language_follows_accept_language(header, language):
    """Ranges and q-values decide; what is not well-formed counts for nothing; English otherwise."""
    assert language_of(header) == language


def test_the_table_for_the_readme_has_every_code():
    """One row for each problem, under one head."""
    lines = catalogue_table().splitlines()

    assert len(lines) == 2 + len(PROBLEMS)
    for problem, line in zip(PROBLEMS, lines[2:], strict=True):
        assert line.startswith(f"| {problem.status} | `{problem.code}` |")
