"""What a model's modules are, as text that two processes can compare.

It is torch's own: class and arguments of each module, equal neighbours listed once. It leaves out
what settings change (dropout), locations (devices, addresses) and the order of sets.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from branchtrack.errors import CheckpointMismatch
from branchtrack.training.ranks.models import SHARDED, class_name, is_sharded
from branchtrack.training.settings import modules

#: The name under which a script's record has it.
MODULES = "modules"
_CHILD = re.compile(r"( *)\(([^()\s]+)\): (.*)")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+| \((?:cuda|GPU)[^()]*\)")
_SET = re.compile(r"\{([^{}:]*)\}")
#: Longer ones are kept as a digest, which shows that they differ but not where.
_LONGEST = 100_000
#: Characters of one module that fit in a message.
_LINE = 300


def of(model: torch.nn.Module) -> dict[str, str]:
    """Return the text as a part of a script's record; empty if it is not the same twice."""
    try:
        with _without_dropout(model):
            text, again = repr(model), repr(model)
    except Exception:
        # A module whose repr fails must not end a training.
        return {}
    if text != again:
        return {}
    for name in {type(module).__name__ for module in modules.dropouts(model).values()}:
        text = re.sub(rf"\b{re.escape(name)}\(p=[^,)]*(, )?", f"{name}(", text)
    for kind in {type(module).__name__ for module in model.modules() if is_sharded(module)}:
        text = re.sub(rf"\b{re.escape(kind)}\(", f"{kind.removeprefix(SHARDED)}(", text)
    text = _SET.sub(_sorted, _ADDRESS.sub("", text))
    if len(text) > _LONGEST:
        text = f"modules of digest {hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return {MODULES: text}


def check(current: Mapping[str, Any], recorded: Mapping[str, Any]) -> None:
    """Refuse a model whose modules are not those that the node's script created.

    Records without them, from earlier versions, prove nothing.

    Raises:
        CheckpointMismatch: with the first module that differs, both values and the ways out.
    """
    if MODULES not in current or MODULES not in recorded or current[MODULES] == recorded[MODULES]:
        return
    path, actual, expected = difference(current[MODULES], recorded[MODULES])
    where = f"the model's module {path}" if path else "the model"
    raise CheckpointMismatch(
        f"{where[0].upper()}{where[1:]} is {_words(actual)} in the script and was "
        f"{_words(expected)} in the script that created the node.",
        safe="No training was done.",
        fix=f"Put {where} back to {_words(expected)} in the script, or load only the "
        "weights: --mode weights.",
        field=f"model.{path}" if path else "model",
        expected=expected,
        found=actual,
    )


def summary(model: torch.nn.Module) -> str:
    """Return one line on a model, or on several in a ModuleDict: classes and size."""
    count = sum(parameter.numel() for parameter in model.parameters())
    models = model.values() if isinstance(model, torch.nn.ModuleDict) else [model]
    return f"{' and '.join(map(class_name, models))}, {count:,} parameters"


def difference(current: str, recorded: str) -> tuple[str, str | None, str | None]:
    """Return the path of the first module that differs, and its two texts; None: not there."""
    actual, expected = _by_path(current), _by_path(recorded)
    for path in [*expected, *(path for path in actual if path not in expected)]:
        if actual.get(path) != expected.get(path):
            return path, actual.get(path), expected.get(path)
    return "", current, recorded


def _by_path(text: str) -> dict[str, str]:
    """Return each module's own line by its path; lines of no child belong to the one above."""
    lines: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    path = ""
    for line in text.split("\n"):
        child = _CHILD.fullmatch(line)
        if child is None:
            rest = line.strip()
            # A closing bracket alone is no part of any module.
            if rest != ")":
                lines[path] = f"{lines[path]} {rest}" if path in lines else rest.rstrip("(")
            continue
        indent = len(child[1])
        above = [(depth, name) for depth, name in above if depth < indent]
        above.append((indent, child[2]))
        path = ".".join(name for _depth, name in above)
        lines[path] = child[3].rstrip("(")
    return lines


@contextmanager
def _without_dropout(model: torch.nn.Module) -> Iterator[None]:
    """Within the block all probabilities are equal: torch lists equal neighbours once."""
    dropouts = modules.dropouts(model).values()
    before = [(module, module.p) for module in dropouts]
    try:
        for module in dropouts:
            module.p = 0.0
        yield
    finally:
        for module, p in before:
            module.p = p


def _sorted(match: re.Match[str]) -> str:
    return "{" + ", ".join(sorted(match[1].split(", "))) + "}"


def _words(value: str | None) -> str:
    if value is None:
        return "not there"
    return value if len(value) <= _LINE else f"{value[: _LINE - 1]}…"
