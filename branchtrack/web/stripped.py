"""Our own scripts and styles without what is for their authors: comments and indentation.

Lines are neither joined nor renamed, so that what a browser shows of them can be read.
"""

from __future__ import annotations

import re

_BLOCK = re.compile(r"/\*.*?\*/", re.DOTALL)
_LINE = re.compile(r"^\s*//.*$", re.MULTILINE)
_INDENTATION = re.compile(r"^\s+", re.MULTILINE)


def script(text: str) -> str:
    """Return a script without indentation, empty lines, and lines that are comments."""
    return _INDENTATION.sub("", _LINE.sub("", text))


def style(text: str) -> str:
    """Return a style sheet without indentation, empty lines, and comments."""
    return _INDENTATION.sub("", _BLOCK.sub("", text))
