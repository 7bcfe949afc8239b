"""The settings of a branch as the steer page lists them: in groups, with their values.

The group of a setting follows from its own declaration. It makes no query and writes no markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from branchtrack.core.builtin_settings import GROUPS
from branchtrack.core.settings import Setting
from branchtrack.web.view.tree import BranchView

#: The groups of settings that the script declared, and of parts of other settings.
OWN, DETAILS = "The script’s own", "Parameter groups and modules"
#: Settings that stay open where none is frequent.
_FEW = 4
#: Types whose values are long texts.
_LONG = ("str", "arguments")


@dataclass(frozen=True)
class SettingRow:
    """A setting, the process's value for it, and the value that the last update was seen to use.

    ``used_now`` is the value that a schedule had changed that to.
    """

    setting: Setting
    value: Any
    used: Any
    used_now: Any


def grouped(view: BranchView, used: Mapping[str, Any]) -> dict[str, list[SettingRow]]:
    """Return the settings that can be changed now, by group in order of declaration.

    ``used`` is what the last update was seen to use, by name.
    """
    groups: dict[str, list[SettingRow]] = {name: [] for name in (*GROUPS, OWN, DETAILS)}
    current = view.segment.settings if view.segment else {}
    for name, setting in view.settings.items():
        if setting.live:
            row = SettingRow(setting, current.get(name), used.get(name), used.get(f"{name}_now"))
            groups[_group(setting)].append(row)
    return {name: rows for name, rows in groups.items() if rows}


def split(
    groups: Mapping[str, Sequence[SettingRow]],
) -> tuple[list[SettingRow], dict[str, list[SettingRow]]]:
    """Return the rows that stay open, and the others by group.

    Open are the frequent ones and those of the script itself; without any, the first few.
    """
    rows = [row for listed in groups.values() for row in listed]
    chosen = [
        row.setting.name
        for name, listed in groups.items()
        for row in listed
        if (name == OWN and row.setting.dtype not in _LONG)
        or (row.setting.is_frequent and not row.setting.detail)
    ] or [row.setting.name for row in rows[:_FEW]]
    others = {
        name: [row for row in listed if row.setting.name not in chosen]
        for name, listed in groups.items()
    }
    first = [row for row in rows if row.setting.name in chosen]
    return first, {name: listed for name, listed in others.items() if listed}


def _group(setting: Setting) -> str:
    if setting.detail:
        return DETAILS
    return setting.group if setting.group in GROUPS else OWN
