"""Files and functions stay small enough to be read at a sitting."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE_LINES = 500
FUNCTION_LINES = 60


def sources() -> Iterator[tuple[str, str]]:
    """(path from the root, text) of every Python file of ours."""
    for folder in ("branchtrack", "tests", "migrations"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def long_functions(name: str, text: str) -> Iterator[str]:
    """Functions over the limit, as ``path:line function lines``."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{name}:{node.lineno} {node.name} {lines}"


def test_no_file_is_over_500_lines() -> None:
    counted = {name: text.count("\n") for name, text in sources()}
    assert counted
    assert {name: lines for name, lines in counted.items() if lines > FILE_LINES} == {}


def test_no_function_is_over_60_lines() -> None:
    assert [line for name, text in sources() for line in long_functions(name, text)] == []


def test_a_long_function_is_noticed() -> None:
    text = "class A:\n    async def f(self):\n" + "        pass\n" * FUNCTION_LINES
    assert list(long_functions("a.py", text)) == ["a.py:2 f 61"]


def test_scripts_of_ours_stay_under_500_lines_in_all() -> None:
    scripts = (ROOT / "static" / "js").glob("*.js")
    assert sum(path.read_text(encoding="utf-8").count("\n") for path in scripts) < 500
