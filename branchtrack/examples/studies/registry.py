"""The studies by name; one module of this folder each, with its `STUDY`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from branchtrack.errors import InvalidInput
from branchtrack.examples.studies.study import Study

#: The modules in which studies are, by their names on the command line.
MODULES = {
    "cooldown": "cooldown",
    "human": "human",
    "llm": "llm",
    "live-data": "live_data",
    "search": "search",
}


def get(name: str) -> Study:
    """Return the study of a name.

    Raises:
        InvalidInput: there is none.
    """
    if name not in MODULES:
        raise InvalidInput("study", name, ", ".join(MODULES))
    module = importlib.import_module(f"branchtrack.examples.studies.{MODULES[name]}")
    study: Study = module.STUDY
    return study


def listed() -> Iterator[Study]:
    """Yield all studies."""
    for name in MODULES:
        yield get(name)
