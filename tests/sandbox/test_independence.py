"""The simulator stands alone, and its README knows everything it can do."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import payd.sandbox
from payd.sandbox.commands import sandbox
from payd.sandbox.control_api import ControlApi
from payd.sandbox.envelope import Tampering
from payd.sandbox.faults import APIS, KINDS, TARGETS
from payd.sandbox.fields import Group
from payd.sandbox.refusals import REFUSALS, refusal
from payd.sandbox.request_rules import PREPAY
from payd.sandbox.routes import ROUTES
from payd.sandbox.switches import CHOICES, Switches

PACKAGE = Path(payd.sandbox.__file__).parent
README = (PACKAGE / "README.md").read_text()
MODULES = sorted(PACKAGE.glob("*.py"))


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_simulator_imports_nothing_of_payd_but_itself(path):
    """Two independent witnesses: no code is shared with the client."""
    foreign = [
        name
        for name in _imports(path)
        if (name == "payd" or name.startswith(("payd.", "dashboard"))) and not name.startswith("payd.sandbox")
    ]

    assert foreign == []


def test_every_module_is_used():
    """No dead files: each is imported by another, or is one of the two doors."""
    used = {name for path in MODULES for name in _imports(path)}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "payd.sandbox":
                used |= {f"payd.sandbox.{alias.name}" for alias in node.names}

    names = {f"payd.sandbox.{path.stem}" for path in MODULES}
    assert names - used == {"payd.sandbox.__init__", "payd.sandbox.commands"}


def test_the_command_line_does_not_load_the_server():
    """`payd --help` must not pay for tornado and cryptography."""
    code = "import payd.sandbox.commands, sys; print([m for m in ('tornado', 'cryptography') if m in sys.modules])"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "[]"


def test_public_names_are_what_the_package_promises():
    """Sandbox, Merchant and prepare_directory, and an AttributeError for anything else."""
    assert {name: getattr(payd.sandbox, name).__name__ for name in payd.sandbox.__all__} == {
        "Merchant": "Merchant", "Sandbox": "Sandbox", "prepare_directory": "prepare_directory"}  # fmt: skip
    with pytest.raises(AttributeError):
        payd.sandbox.nonsense  # noqa: B018


@pytest.mark.parametrize("name", sorted(KINDS))
def test_readme_names_every_fault(name):
    """As a row of its table."""
    assert f"\n| `{name}` |" in README


@pytest.mark.parametrize("name", sorted(Switches.__dataclass_fields__))
def test_readme_names_every_switch_with_its_default(name):
    """As a row of its table, with the default as JSON would write it."""
    default = getattr(Switches(), name)
    shown = (
        str(default).lower() if isinstance(default, bool) else f"`{default}`" if isinstance(default, str) else default
    )

    assert f"\n| `{name}` | {shown} |" in README


def test_readme_names_every_endpoint_command_control_call_and_tampering(simulator):
    """Nothing the simulator can do is undocumented."""
    calls = [
        f"`{method} /_sandbox/{path.replace('refunds/{}', 'refunds/{out_refund_no}').replace('{}', '{id}')}"
        for method, path in simulator._control._routes
    ]
    paths = [route.template.replace("/v3/pay/transactions/", "/") if route.api == "prepay" else route.template
             for route in ROUTES]  # fmt: skip
    wanted = [
        *calls, *paths, *(f"payd sandbox {name}" for name in sandbox.commands),
        *(f"`{name}`" for name in Tampering.__dataclass_fields__),
    ]  # fmt: skip

    assert [item for item in wanted if item not in README] == []
    assert isinstance(simulator._control, ControlApi)


def test_tables_are_total():
    """Every target, choice, refusal and kind is well formed."""
    assert {api for apis in TARGETS.values() for api in apis} == {*APIS, "notify"}
    assert {route.api for route in ROUTES} == set(APIS)
    assert set(CHOICES) <= set(Switches.__dataclass_fields__)
    assert all(isinstance(rule, Group) for rule in PREPAY.values())
    for name, kind in KINDS.items():
        assert set(kind.only) <= {*APIS, "notify"}, name
        assert kind.instead is None or kind.instead in REFUSALS, name
    for name, (status, code, message, _) in REFUSALS.items():
        made = refusal(name)
        assert (made.status, made.code, made.message, made.signed) == (status, code, message, status != 401)
