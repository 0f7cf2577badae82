"""The shape of the package: imports go down the layers, and files and functions stay small."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "python" / "misfired"
FILES = sorted(PACKAGE.rglob("*.py"))

MOST_LINES = 450
MOST_BODY_LINES = 50
#: What a module may take from `misfired/__init__.py`, which names what users import.
FROM_ROOT = {"_core", "__version__"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def body_lines(function: Function) -> int:
    """Lines of a body from its first statement to its end, the docstring not counted."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_imports_go_down_the_layers() -> None:
    pytest.importorskip("importlinter", reason="import-linter is part of the test extra")
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as main; main()",
    ]
    done = subprocess.run(
        [*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_imports_what_the_root_names_for_users() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        if path != PACKAGE / "__init__.py"
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ImportFrom)
        and node.module == "misfired"
        and not {alias.name for alias in node.names} <= FROM_ROOT
    ]
    assert not found


def test_no_file_is_long() -> None:
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in FILES}
    found = [
        f"{path.relative_to(ROOT)}: {n} lines, at most {MOST_LINES}"
        for path, n in lines.items()
        if n > MOST_LINES
    ]
    assert not found


def test_no_function_is_long() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {n} lines, at most {MOST_BODY_LINES}"
        for path in FILES
        for node in ast.walk(parse(path))
        if isinstance(node, Function)
        if (n := body_lines(node)) > MOST_BODY_LINES
    ]
    assert not found
