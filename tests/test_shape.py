"""Files, functions, folders and lines stay small enough to read; names say what they hold."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE_LINES = 500
FUNCTION_LINES = 60
TEMPLATE_WIDTH = 160
MODULES = 20
FILLERS = frozenset(
    "found one asked told made given wanted known own mine theirs place part kept".split()
)
FILLERS_PER_1000_LINES = 10
UNFORMATTED = "# fmt: " + "skip"
UNFORMATTED_LINES = 10


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


def ours() -> dict[str, str]:
    """The text of every module of the package, by its path."""
    return {name: text for name, text in sources() if name.startswith("branchtrack/")}


def fillers(text: str) -> int:
    """How often a variable or a parameter has a name that says nothing of what it holds."""
    names = (
        node.id if isinstance(node, ast.Name) else node.arg
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Name | ast.arg)
    )
    return sum(name in FILLERS for name in names)


def unformatted(text: str) -> int:
    """How many lines the formatter is told to leave alone."""
    return text.count(UNFORMATTED)


def wide_lines(name: str, text: str) -> Iterator[str]:
    """Lines of a template over the limit, as ``path:line width``."""
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > TEMPLATE_WIDTH:
            yield f"{name}:{number} {len(line)}"


def crowded_folders(names: Iterable[str]) -> dict[str, int]:
    """Folders with more modules than the limit; the file that makes it a package is none."""
    modules = (Path(name) for name in names)
    counted = Counter(str(path.parent) for path in modules if path.name != "__init__.py")
    return {folder: count for folder, count in counted.items() if count > MODULES}


def untested(names: Iterable[str], tests: Collection[str]) -> list[str]:
    """Modules of the package without a test module of their name at the mirrored place."""
    modules = (Path(name) for name in names)
    test_modules = {
        str(path): str(Path("tests", *path.parts[1:-1], f"test_{path.name}"))
        for path in modules
        if path.name not in ("__init__.py", "__main__.py")
    }
    return [module for module, test in test_modules.items() if test not in tests]


def test_every_module_has_a_test_module_of_its_name() -> None:
    tests = {name for name, text in sources() if "\ndef test_" in text}
    assert untested(ours(), tests) == []


def test_a_module_without_tests_is_noticed() -> None:
    names = ["branchtrack/__init__.py", "branchtrack/a.py", "branchtrack/b/c.py"]
    assert untested(names, {"tests/b/test_c.py", "tests/c/test_a.py"}) == ["branchtrack/a.py"]


def test_names_say_what_they_hold() -> None:
    lines = sum(text.count("\n") for text in ours().values())
    counted = {name: count for name, text in ours().items() if (count := fillers(text))}
    assert sum(counted.values()) <= FILLERS_PER_1000_LINES * lines / 1000, counted


def test_a_filler_is_noticed() -> None:
    assert fillers("def f(found, rows):\n    one = rows[0]\n    return one.place\n") == 3


def test_the_formatter_is_kept_from_few_lines() -> None:
    counted = {name: count for name, text in ours().items() if (count := unformatted(text))}
    assert sum(counted.values()) <= UNFORMATTED_LINES, counted


def test_a_line_that_the_formatter_is_kept_from_is_noticed() -> None:
    assert unformatted(f"a = 1  {UNFORMATTED}\nb = 2\n") == 1


def test_no_folder_has_more_than_20_modules() -> None:
    assert crowded_folders(ours()) == {}


def test_a_crowded_folder_is_noticed() -> None:
    names = ["a/__init__.py", *(f"a/m{number}.py" for number in range(MODULES + 1))]
    assert crowded_folders(names) == {"a": 21} and crowded_folders(names[:-1]) == {}


def test_no_line_of_a_template_is_over_160_characters() -> None:
    templates = sorted((ROOT / "templates").rglob("*.html"))
    assert templates
    texts = ((str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in templates)
    assert [line for name, text in texts for line in wide_lines(name, text)] == []


def test_a_wide_line_of_a_template_is_noticed() -> None:
    text = "<p>\n" + "x" * (TEMPLATE_WIDTH + 1) + "\n" + "x" * TEMPLATE_WIDTH
    assert list(wide_lines("a.html", text)) == ["a.html:2 161"]


def test_scripts_of_ours_stay_under_600_lines_in_all() -> None:
    scripts = (ROOT / "static" / "js").glob("*.js")
    assert sum(path.read_text(encoding="utf-8").count("\n") for path in scripts) < 600
