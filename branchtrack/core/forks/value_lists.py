"""Lists of values: which branches ``lr=1e-4,3e-4`` or a grid stands for, and their names.

It knows no run and no node. Values stay text, which the settings validate later.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from branchtrack.core.names import as_name, free_name
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput, shown

#: Branches that one order may create.
MOST_BRANCHES = 64
#: Types whose own values may contain commas.
_WITH_COMMAS = ("str", "arguments", "floats")
#: Where people write decimal commas, this is one number.
_COMMA = re.compile(r"[0-9]+,[0-9]+")


@dataclass(frozen=True)
class Combination:
    """The settings of one branch of a fan-out; ``varying`` are those that tell it from others."""

    settings: dict[str, Any]
    varying: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Return the varying settings as part of a name: ``lr-1e-4``."""
        return "-".join(as_name(f"{name}-{self.settings[name]}", name) for name in self.varying)


def combinations(
    settings: Mapping[str, Any],
    grid: Mapping[str, Sequence[Any]],
    declared: Mapping[str, Setting],
) -> list[Combination]:
    """Return the settings of every branch, the last setting of a grid varying fastest.

    ``settings`` may have one list, text with commas (``1e-4,3e-4``) for a setting whose own values
    have none. ``grid`` has the values of each setting, see `grid_values`.

    Raises:
        InvalidInput: several lists, a value twice, an empty value, a setting in both, a number
            with a decimal comma, or more than `MOST_BRANCHES` branches.
    """
    for name, value in settings.items():
        if name in declared:
            _check_commas(declared[name], value)
    lists = {name: listed(declared.get(name), value) for name, value in settings.items()}
    several = [name for name, values in lists.items() if len(values) > 1]
    if len(several) > 1:
        raise InvalidInput(
            several[1],
            settings[several[1]],
            "one list of values, or a grid of several: "
            + f"--grid {' '.join(f'{name}=...' for name in several)}",
            what=f"{' and '.join(several)} both have a list of values.",
        )
    for name in grid:
        if name in settings:
            raise InvalidInput(name, settings[name], "a value, or its place in the grid, not both")
    axes = {**lists, **grid}
    _check_axes(axes)
    varying = tuple(name for name, values in axes.items() if len(values) > 1)
    return [
        Combination(dict(zip(axes, values, strict=True)), varying)
        for values in itertools.product(*axes.values())
    ]


def grid_values(
    texts: Sequence[tuple[str, str]], declared: Mapping[str, Setting]
) -> dict[str, list[Any]]:
    """Return the values of each setting of a grid, from pairs of a name and a text.

    A text is a list with commas, or one value if the setting's own values may contain commas; a
    name given again adds values.
    """
    grid: dict[str, list[Any]] = {}
    for name, text in texts:
        grid.setdefault(name, []).extend(listed(declared.get(name), text))
    return grid


def grid_lists(grid: Mapping[str, Any], declared: Mapping[str, Setting]) -> dict[str, list[Any]]:
    """Return the values of each setting of a grid that is given as lists, or as texts.

    Raises:
        InvalidInput: a setting has neither.
    """
    values: dict[str, list[Any]] = {}
    for name, listed in grid.items():
        if isinstance(listed, str):
            listed = [listed]
        elif not isinstance(listed, (list, tuple)):
            raise InvalidInput(name, listed, "a list of values")
        for value in listed:
            is_text = isinstance(value, str)
            more = grid_values([(name, value)], declared)[name] if is_text else [value]
            values.setdefault(name, []).extend(more)
        values.setdefault(name, [])
    return values


def check_count(count: int) -> None:
    """Refuse more branches than one order may create.

    Raises:
        InvalidInput: with the number.
    """
    if count > MOST_BRANCHES:
        raise InvalidInput(
            "settings",
            count,
            f"at most {MOST_BRANCHES} branches in one order",
            what=f"That makes {count:,} branches.",
        )


def branch_names(stem: str, labels: Sequence[Sequence[str]], taken: Collection[str]) -> list[str]:
    """Return a free name for each branch: ``stem`` and its labels, joined by hyphens."""
    names: list[str] = []
    for words in labels:
        preferred = as_name("-".join(filter(None, [stem, *words])), "branch")
        names.append(free_name(preferred, {*taken, *names}))
    return names


def listed(setting: Setting | None, value: Any) -> list[Any]:
    """Return the values of a list; a single one for text that has no comma, or may contain one."""
    # An unknown name is refused later, with the names that there are.
    if setting is None:
        return [value]
    if isinstance(value, (list, tuple)):
        is_one = setting.dtype == "floats" and not any(isinstance(v, (list, str)) for v in value)
        return [value] if is_one else list(value)
    if setting.dtype in _WITH_COMMAS or not isinstance(value, str):
        return [value]
    return [text.strip() for text in value.split(",")]


def _check_commas(setting: Setting, value: Any) -> None:
    """Refuse ``1,5``, which may be meant as one number.

    Raises:
        InvalidInput: with both ways to write it.
    """
    if setting.dtype == "float" and isinstance(value, str) and _COMMA.fullmatch(value.strip()):
        point, both = value.replace(",", "."), value.replace(",", ".0, ") + ".0"
        raise InvalidInput(
            setting.name,
            value,
            f"{point} for one number, {both} for two; each {setting.allowed}",
            what=f"{setting.name}: {shown(value)} is not accepted: it may be one number or two.",
        )


def _check_axes(axes: Mapping[str, Sequence[Any]]) -> None:
    count = 1
    for name, values in axes.items():
        count *= len(values)
        if not values or (len(values) > 1 and "" in values):
            raise InvalidInput(name, ",".join(map(str, values)), "values separated by commas")
        if len(set(map(repr, values))) < len(values):
            raise InvalidInput(name, ",".join(map(str, values)), "each value once")
    check_count(count)
