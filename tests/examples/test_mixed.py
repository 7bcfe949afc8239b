"""The second kind of text are the docstrings of modules, of whatever they belong to."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from branchtrack.examples import mixed

SOURCE = '''"""Of the module."""

class A:
    """Of a class."""

    def f(self):
        """Of a method."""

    def g(self):
        pass
'''


def test_docstrings_are_found_and_what_has_none_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.py").write_text(SOURCE)
    (tmp_path / "b.py").write_text("x = 1")
    (tmp_path / "z.py").write_text('"""Not among the modules that are read."""')
    monkeypatch.setattr(ast, "__file__", str(tmp_path / "ast.py"))
    assert mixed.docstrings() == ["Of the module.", "Of a class.", "Of a method."]
