"""No dead files, no public name without a word about it, no error that is caught by accident."""

from __future__ import annotations

import ast

import pytest

from payd.web.problems import CATALOGUE

#: Where a program starts, or what another tool calls: imported by nobody.
DOORS = {"payd.__main__", "dashboard.__main__", "dashboard.door"}

#: Who may catch everything, and why.
CATCHES_ALL = {
    "payd/workers/periodic.py": "a worker's failed run is counted and logged, and the next one comes",
    "payd/web/handler.py": "a mistake of ours becomes a 500 in the shape its reader knows, never a traceback",
    "payd/commands/exits.py": "the command line's last place: an error becomes one line and an exit code",
    "payd/operator_socket.py": "a mistake in an operator's command reaches the person who asked, and the daemon lives",
    "payd/wechat/certificates.py": "removes its half-written temporary file and raises on",
    "payd/sandbox/control_api.py": "the simulator's own mistakes answer SIMULATOR_FAILED",
    "payd/sandbox/gateway.py": "the simulator's own mistakes answer 500 and are logged",
}

#: Functions longer than a page, and why.
LONG = {"payd/daemon.py open_parts": "a list: each part is built once, in order, and closed in reverse"}

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@pytest.mark.parametrize("top", ["payd", "dashboard"])
def test_no_module_is_dead(payd_tree, dashboard_modules, top):
    """Each file is reached from a door by imports."""
    modules = {m.name: m for m in (payd_tree if top == "payd" else dashboard_modules)}
    reached: set[str] = set()
    todo = [name for name in modules if name in DOORS]

    while todo:
        name = todo.pop()
        if name in reached or name not in modules:
            continue
        reached.add(name)
        todo += modules[name].imports
        todo += [name.rpartition(".")[0]]  # importing a.b runs a

    assert {name for name in modules if name not in reached} == set()


def test_every_public_name_has_a_docstring(payd_tree):
    """Modules, classes, functions, methods; a bare member of a Protocol or an override is told where it begins."""
    silent = [f"{m.where}:{line} {name}" for m in payd_tree for line, name in _silent(m.tree)]

    assert silent == []


def _silent(tree: ast.Module):
    if not ast.get_docstring(tree):
        yield 1, "the module"
    told = {c.name: c for c in tree.body if isinstance(c, ast.ClassDef)}
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, *FUNCTIONS)) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield node.lineno, node.name
            if isinstance(node, ast.ClassDef):
                yield from _silent_methods(node, told)


def _silent_methods(owner: ast.ClassDef, classes: dict[str, ast.ClassDef]):
    bases = [base.id for base in owner.bases if isinstance(base, ast.Name)]
    inherited = {
        method.name
        for base in bases
        if base in classes
        for method in classes[base].body
        if isinstance(method, FUNCTIONS) and ast.get_docstring(method)
    }
    for method in owner.body:
        if not isinstance(method, FUNCTIONS) or method.name.startswith("_") or ast.get_docstring(method):
            continue
        bare = isinstance(method.body[0], ast.Expr) and getattr(method.body[0].value, "value", None) is ...
        if method.name not in inherited and not ("Protocol" in bases and bare):
            yield method.lineno, f"{owner.name}.{method.name}"


def test_only_the_listed_places_catch_everything(payd_tree):
    """Elsewhere one catches what one can name."""
    found = {
        module.where
        for module in payd_tree
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
    }

    assert found == set(CATCHES_ALL)


def test_every_refusal_is_in_the_catalogue(payd_tree):
    """A code that is raised has a status and a text in both languages."""
    raised = {
        (module.where, argument.value)
        for module in payd_tree
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "RequestError" and node.args
        for argument in ast.walk(node.args[0])
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
        and not _is_no_code(node.args[0], argument)
    }  # fmt: skip

    assert len(raised) > 20
    assert {pair for pair in raised if pair[1] not in CATALOGUE} == set()


def _is_no_code(expression: ast.expr, constant: ast.Constant) -> bool:
    """Tell whether a constant only helps to find the code: a condition, or the name of a member that holds it."""
    helping = [expression.test] if isinstance(expression, ast.IfExp) else []
    helping += [expression.slice] if isinstance(expression, ast.Subscript) else []
    return any(node is constant for part in helping for node in ast.walk(part))


def test_every_code_of_the_catalogue_is_used(payd_tree):
    """A code nobody can be answered with is taken out. Handed over as data counts as used."""
    words = {
        node.value
        for module in payd_tree
        if module.where != "payd/web/problems.py"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }

    assert set(CATALOGUE) - words == set()


def test_no_file_is_named_after_nothing(payd_tree, dashboard_modules):
    """No utils, helpers, common or manager: a file has a purpose one can name."""
    words = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}

    assert [m.where for m in (*payd_tree, *dashboard_modules) if m.path.stem in words] == []


def test_no_function_is_longer_than_a_page(payd_tree):
    """About 35 lines is the aim; beyond 70 a reader loses the beginning."""
    long = {
        f"{module.where} {node.name}"
        for module in payd_tree
        for node in ast.walk(module.tree)
        if isinstance(node, FUNCTIONS) and node.end_lineno - node.lineno + 1 > 70
    }

    assert long == set(LONG)
