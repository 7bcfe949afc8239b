"""The texts of the studies: documentation that comes with Python, and code of its library.

It knows no torch.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

#: The shard that has the documentation.
DOCUMENTATION = "documentation"
#: Modules of the standard library: to train on, and held out.
_MODULES = ("argparse", "ast", "calendar", "configparser", "copy", "csv", "datetime", "difflib")
_HELD_OUT = {"validation": ("heapq", "inspect"), "test": ("pprint", "shlex", "textwrap")}


def documentation(part: str) -> str:
    """Return the topics for ``train``, ``validation`` or ``test``, which have none in common."""
    names = sorted(topics)
    held_out = {"validation": names[::12], "test": names[6::12]}
    taken = {name for chosen in held_out.values() for name in chosen}
    chosen = held_out.get(part, [name for name in names if name not in taken])
    return "\n".join(topics[name] for name in chosen)


def code(part: str) -> str:
    """Return the source of the modules for ``train``, ``validation`` or ``test``."""
    return _source(_HELD_OUT.get(part, _MODULES))


def shards(count: int) -> Iterator[tuple[str, str]]:
    """Yield the documentation, then ``count`` shards of code, each as a name and its text."""
    yield DOCUMENTATION, documentation("train")
    for number in range(count):
        yield f"code-{number + 1}", _source(_MODULES[number::count])


def _source(names: tuple[str, ...]) -> str:
    folder = Path(ast.__file__).parent
    return "\n".join((folder / f"{name}.py").read_text("utf-8") for name in names)
