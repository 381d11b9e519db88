"""What is deliberately absent: libraries and knowledge that only one place has (payd/README.md)."""

from __future__ import annotations

import ast
import fnmatch

import pytest

#: Library -> the only places that import it, and why nobody else does.
ONE_PLACE = {
    "redis": ("payd/idempotency/redis_lock.py", "optional, imported only when configured"),
    "sqlite_utils": ("payd/storage/sqlite/*", "the database is behind ports.Storage"),
    "sqlite3": ("payd/storage/sqlite/*", "the same; sqlite-utils chooses the driver"),
    "prometheus_client": ("payd/metrics.py", "every metric is in one file"),
    "pycurl": ("payd/wechat/curl_driver.py", "the only IO towards WeChat"),
    "cryptography": ("payd/wechat/*", "keys and signatures are the wire's business"),
    "standardwebhooks": ("payd/webhook/signature.py", "one place signs"),
    "httptools": ("payd/web/http_connection.py", "one place reads HTTP"),
    "uvloop": ("payd/commands/execution.py", "must run without"),
    "click": ("payd/c[ol]*", "cli.py and commands/"),
}

#: What gives models and core time, chance or the world. ``datetime`` may be imported, but never asked for "now".
IMPURE = {
    "time", "random", "secrets", "uuid", "os", "asyncio", "threading", "socket", "subprocess", "pathlib",
    "tempfile", "logging", "structlog", "tornado", "sqlite_utils", "sqlite3", "redis", "pydantic", "click",
}  # fmt: skip

#: Ways to ask the machine what time it is.
CLOCKS = {
    ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"),
    ("time", "time"), ("time", "monotonic"), ("time", "perf_counter"), ("time", "sleep"),
}  # fmt: skip

#: Who asks it, and why.
READS_THE_CLOCK = {
    ("payd/system.py", "datetime.now"): "the Clock that all others are given",
    ("payd/system.py", "time.monotonic"): "the same",
    ("payd/web/answered.py", "time.perf_counter"): "how long a request took, for the histogram",
    ("payd/web/answered.py", "time.time"): "the Date header of HTTP; nothing is decided by it",
    ("payd/logs.py", "datetime.now"): "when a line was written, as structlog's own stamp; nothing is decided by it",
}


def top_of(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.parametrize("library", ONE_PLACE)
def test_a_library_is_imported_in_its_one_place(payd_modules, library):
    """Who wants what it does asks that place."""
    place, _ = ONE_PLACE[library]

    strangers = {
        module.where
        for module in payd_modules
        if any(top_of(name) == library for name in module.imports) and not fnmatch.fnmatch(module.where, place)
    }

    assert strangers == set()


def test_models_and_core_have_no_chance_and_no_world(payd_modules):
    """Nouns and decisions are pure: what they need is an argument."""
    found = [
        (module.where, name)
        for module in payd_modules
        if module.room in ("models", "core")
        for name in module.imports
        if top_of(name) in IMPURE
    ]

    assert found == []


def test_models_and_core_touch_nothing(payd_modules):
    """``datetime`` is imported for the type; its clock is not used, no file is opened, and nothing awaits."""
    asked = [
        (module.where, node.lineno)
        for module in payd_modules
        if module.room in ("models", "core")
        for node in ast.walk(module.tree)
        if (isinstance(node, ast.Attribute) and (_owner(node), node.attr) in CLOCKS)
        or (isinstance(node, ast.Name) and node.id in ("open", "print", "input"))
        or isinstance(node, ast.AsyncFunctionDef | ast.Await)
    ]

    assert asked == []


def test_the_clock_comes_in_through_the_constructor(payd_modules):
    """Nobody reads the machine's clock but those who are listed with their reason."""
    asked = {
        (module.where, f"{_owner(node)}.{node.attr}")
        for module in payd_modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and (_owner(node), node.attr) in CLOCKS
    }

    assert asked == set(READS_THE_CLOCK)


def _owner(node: ast.Attribute) -> str:
    return node.value.id if isinstance(node.value, ast.Name) else ""


def test_only_the_composition_root_and_the_command_line_know_the_simulator(payd_modules):
    """In mode sandbox payd speaks to it over HTTP, as to WeChat."""
    knowing = {module.where for module in payd_modules for name in module.imports if name.startswith("payd.sandbox")}

    assert {place for place in knowing if not place.startswith("payd/commands/")} == {"payd/daemon.py", "payd/cli.py"}


def test_the_simulator_knows_nothing_of_payd(payd_tree):
    """Two independent witnesses of one protocol share no code."""
    known = [
        (module.where, name)
        for module in payd_tree
        if module.room == "sandbox"
        for name in module.imports
        if top_of(name) in ("payd", "dashboard") and not name.startswith("payd.sandbox")
    ]

    assert known == []


def test_the_dashboard_knows_nothing_of_payd(dashboard_modules):
    """It is an HTTP client like any other."""
    known = [(m.where, name) for m in dashboard_modules for name in m.imports if top_of(name) == "payd"]

    assert known == []


def test_payd_knows_nothing_of_the_dashboard(payd_tree):
    """Nor the other way round."""
    assert [(m.where, name) for m in payd_tree for name in m.imports if top_of(name) == "dashboard"] == []


def test_the_dashboard_parses_metrics_in_one_file(dashboard_modules):
    """Only its parser is used, in one place."""
    found = {(m.where, name) for m in dashboard_modules for name in m.imports if top_of(name) == "prometheus_client"}

    assert found == {("dashboard/metrics.py", "prometheus_client.parser")}
