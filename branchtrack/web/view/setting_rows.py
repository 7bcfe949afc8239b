"""The settings of a branch as the steer page lists them: in groups, with their values.

The group of a setting follows from its own declaration. It makes no query and writes no markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from branchtrack.core.builtin_settings import GROUPS
from branchtrack.core.settings import Setting
from branchtrack.web.view.tree import BranchView

#: The groups of settings that the script declared, and of parts of other settings.
OWN, DETAILS = "The script’s own", "Parameter groups and modules"


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


def _group(setting: Setting) -> str:
    if setting.detail:
        return DETAILS
    return setting.group if setting.group in GROUPS else OWN
