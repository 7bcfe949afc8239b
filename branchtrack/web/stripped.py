"""Our own scripts and styles without what is for their authors: comments, indentation, spaces.

Lines are neither joined nor renamed, so that what a browser shows of them can be read.
"""

from __future__ import annotations

import re

_BLOCK = re.compile(r"/\*.*?\*/", re.DOTALL)
_LINE = re.compile(r"^\s*//.*$", re.MULTILINE)
_INDENTATION = re.compile(r"^\s+", re.MULTILINE)
#: A text, which stays, or what means nothing: spaces, and a semicolon after the last declaration.
_TEXT_OR_IDLE = re.compile(r"""("[^"]*")|;? *(?=\})|(?<=[:;,{>]) +| +(?=[{>\n])""")


def script(text: str) -> str:
    """Return a script without indentation, empty lines, and lines that are comments."""
    return _INDENTATION.sub("", _LINE.sub("", text))


def style(text: str) -> str:
    """Return a style sheet without indentation, empty lines, comments, and what is idle."""
    lines = _INDENTATION.sub("", _BLOCK.sub("", text))
    return _TEXT_OR_IDLE.sub(lambda match: match[1] or "", lines)
